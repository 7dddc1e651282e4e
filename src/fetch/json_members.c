#include "fetch/json_members.h"

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
