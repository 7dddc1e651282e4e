#include "fetch/url.h"
#include "base/memory.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

char *text_shown(const char *text, int most) {
    char *shown = xasprintf("%.*s%s", most, text, strlen(text) > (size_t)most ? "..." : "");
    for (char *c = shown; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return shown;
}

char *url_shown(const char *url) {
    char *bare = xstrdup(url), *shown;
    bare[strcspn(bare, "?#")] = '\0';
    shown = text_shown(bare, 200);
    free(bare);
    return shown;
}

/* NULL where it has none, or is no URL; curl_free() it. */
static char *part_of(const char *url, CURLUPart part, unsigned flags) {
    char *text = NULL;
    CURLU *parsed = curl_url();
    if (!parsed) memory_out(1);
    if (curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        curl_url_get(parsed, part, &text, flags) != CURLUE_OK)
        text = NULL;
    curl_url_cleanup(parsed);
    return text;
}

static bool has_part(const char *url, CURLUPart part) {
    char *text = part_of(url, part, 0);
    curl_free(text);
    return text != NULL;
}

status url_check(const char *what, const char *url) {
    const bool begins = strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
    char *scheme = part_of(url, CURLUPART_SCHEME, 0), *shown = url_shown(url);
    status s = STATUS_OK;
    if (strlen(url) > URL_MAX_BYTES)
        s = fail("%s: expected a URL of at most %d bytes, found %zu", what, URL_MAX_BYTES, strlen(url));
    else if (!begins) /* curl takes http:/host too */
        s = fail("%s: expected a URL that begins with http:// or https://, found %s", what, shown);
    else if (!scheme || !has_part(url, CURLUPART_HOST))
        s = fail("%s: expected a URL with a host, and a port up to 65535 where it has one, found %s", what, shown);
    else if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
        s = fail("%s: expected a URL without a user name and a password in it", what);
    curl_free(scheme);
    free(shown);
    return s;
}

static bool same_part(const char *a, const char *b, CURLUPart part) {
    char *of_a = part_of(a, part, CURLU_DEFAULT_PORT), *of_b = part_of(b, part, CURLU_DEFAULT_PORT);
    bool same = of_a && of_b && strcasecmp(of_a, of_b) == 0;
    curl_free(of_a);
    curl_free(of_b);
    return same;
}

bool url_same_origin(const char *a, const char *b) {
    return same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) && same_part(a, b, CURLUPART_PORT);
}

bool url_is_https(const char *url) {
    return strncasecmp(url, "https:", 6) == 0;
}

char *url_escape(const char *text, const char *keep) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char *escaped = xmalloc(3 * strlen(text) + 1), *out = escaped;
    for (; *text; text++)
        if (strchr(plain, *text) || strchr(keep, *text))
            *out++ = *text;
        else
            out += sprintf(out, "%%%02X", (unsigned char)*text);
    *out = '\0';
    return escaped;
}
