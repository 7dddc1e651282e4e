#include "fetch/json_members.h"
#include "base/memory.h"
#include <stdlib.h>

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
