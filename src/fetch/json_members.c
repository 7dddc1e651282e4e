#include "fetch/json_members.h"
#include "base/memory.h"
#include <stdlib.h>

enum { EXCERPT_BYTES = 4096 };

status json_malformed(const json_members *p, const char *expected) {
    return fail("%s: expected %s%s, found something else", p->where, expected, p->what);
}

status json_next_key(json_members *p, bool *first, bool *more) {
    *more = false;
    if (json_scan_take(&p->scan, '}')) return STATUS_OK;
    if (!*first && !json_scan_take(&p->scan, ',')) return json_malformed(p, "',' or '}'");
    *first = false;
    if (!json_scan_string(&p->scan, p->text) || !json_scan_take(&p->scan, ':')) return json_malformed(p, "a key");
    *more = true;
    return STATUS_OK;
}

status json_take_members(json_members *p, const char *what, json_member_taker take, void *context) {
    bool first = true, more;
    if (!json_scan_take(&p->scan, '{')) return json_malformed(p, what);
    for (;;) {
        TRY(json_next_key(p, &first, &more));
        if (!more) return STATUS_OK;
        bool taken = true;
        TRY(take(p, context, &taken));
        if (!taken && !json_scan_skip(&p->scan)) return json_malformed(p, "a value");
    }
}

bool json_take_null(json_members *p) {
    return json_scan_peek(&p->scan) == 'n' && json_scan_skip(&p->scan);
}

status json_take_text(json_members *p, char **text, const char *what) {
    if (json_take_null(p)) return STATUS_OK;
    if (!json_scan_string(&p->scan, p->text)) return json_malformed(p, what);
    free(*text);
    *text = xstrdup(p->text);
    return STATUS_OK;
}

status json_take_whole(json_members *p, json_member_taker take, void *context) {
    if (json_scan_peek(&p->scan) == '<')
        return fail("%s: expected JSON, found HTML or XML; does a server of OpenAI's API answer there?", p->where);
    TRY(json_take_members(p, "JSON, an object", take, context));
    return json_scan_at_end(&p->scan) ? STATUS_OK : json_malformed(p, "the end");
}

status json_take_excerpt(json_members *p, char **text, const char *what) {
    if (json_take_null(p)) return STATUS_OK;
    json_scan_peek(&p->scan);
    const char *begin = p->scan.next;
    if (!json_scan_skip(&p->scan)) return json_malformed(p, what);
    const size_t bytes = (size_t)(p->scan.next - begin);
    free(*text);
    *text = xasprintf("%.*s", (int)(bytes < EXCERPT_BYTES ? bytes : EXCERPT_BYTES), begin);
    return STATUS_OK;
}
