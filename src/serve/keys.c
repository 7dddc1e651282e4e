#include "serve/keys.h"

#include "base/file.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FILE_BYTES = KEYS_MOST * (KEY_BYTES + 1) };

static status add_key(api_keys *k, const char *path, int line, const char *text, size_t bytes) {
    while (bytes > 0 && (text[bytes - 1] == '\r' || text[bytes - 1] == ' ')) bytes--;
    if (bytes == 0 || *text == '#') return STATUS_OK;
    if (bytes >= KEY_BYTES)
        return fail("%s:%d: expected a key of less than %d bytes, found %zu", path, line, KEY_BYTES, bytes);
    for (size_t i = 0; i < bytes; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return fail("%s:%d: expected a key of visible ASCII characters, found another at byte %zu", path, line,
                        i + 1);
    if (k->count == KEYS_MOST) return fail("%s: expected at most %d keys, found more", path, KEYS_MOST);
    memcpy(k->keys[k->count++], text, bytes);
    return STATUS_OK;
}

status api_keys_read(api_keys *k, const char *path) {
    uint8_t *bytes;
    size_t count;
    *k = (api_keys){0};
    TRY(file_read(path, FILE_BYTES, &bytes, &count));
    k->keys = xcalloc(KEYS_MOST, sizeof *k->keys);
    status s = STATUS_OK;
    int line = 0;
    for (const char *at = (const char *)bytes, *end = at + count; at < end && s == STATUS_OK;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        s = add_key(k, path, ++line, at, (size_t)(stop - at));
        at = stop + 1;
    }
    explicit_bzero(bytes, count);
    free(bytes);
    if (s == STATUS_OK && k->count == 0) s = fail("%s: expected a key a line, found none", path);
    if (s != STATUS_OK) api_keys_free(k);
    return s;
}

void api_keys_free(api_keys *k) {
    if (k->keys) explicit_bzero(k->keys, KEYS_MOST * sizeof *k->keys);
    free(k->keys);
    *k = (api_keys){0};
}

/* All of both, whatever is in them. */
static bool same(const char *a, const char *b) {
    volatile unsigned char difference = 0;
    for (int i = 0; i < KEY_BYTES; i++) difference |= (unsigned char)(a[i] ^ b[i]);
    return difference == 0;
}

bool api_keys_know(const api_keys *k, const char *authorization) {
    static const char scheme[] = "Bearer ";
    char shown[KEY_BYTES] = {0};
    bool known = false;
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) return false;
    const char *key = authorization + sizeof scheme - 1;
    if (!*key || strlen(key) >= KEY_BYTES) return false;
    memcpy(shown, key, strlen(key));
    for (int i = 0; i < k->count; i++) known |= same(k->keys[i], shown);
    explicit_bzero(shown, sizeof shown);
    return known;
}
