#include "serve/policy.h"

#include "base/memory.h"
#include "base/text_stream.h"
#include "serve/base64.h"
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Writes " 'sha256-…'" for each <name …>…</name>. */
static void put_hashes(FILE *out, const char *html, size_t bytes, const char *name) {
    char *opening = xasprintf("<%s", name), *closing = xasprintf("</%s>", name);
    const char *at = html, *end = html + bytes;
    while ((at = memmem(at, (size_t)(end - at), opening, strlen(opening)))) {
        const char *begin = memchr(at, '>', (size_t)(end - at));
        const char *stop = begin ? memmem(begin, (size_t)(end - begin), closing, strlen(closing)) : NULL;
        if (!stop) break;
        unsigned char hash[SHA256_DIGEST_LENGTH];
        SHA256((const unsigned char *)begin + 1, (size_t)(stop - begin - 1), hash);
        char *text = base64_encode(hash, sizeof hash);
        fprintf(out, " 'sha256-%s'", text);
        free(text);
        at = stop;
    }
    free(opening);
    free(closing);
}

char *page_policy_text(const char *html, size_t bytes) {
    text_stream t;
    FILE *out = text_stream_begin(&t);
    fputs("default-src 'none'; script-src", out);
    put_hashes(out, html, bytes, "script");
    fputs("; style-src", out);
    put_hashes(out, html, bytes, "style");
    fputs("; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", out);
    return text_stream_end(&t);
}
