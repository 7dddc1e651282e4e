#include "text/json_fields.h"

#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static status malformed(const char *where, const char *what) {
    return fail("%s: expected %s to be a JSON object, within %d levels, found none", where, what, JSON_SCAN_DEPTH);
}

/* The field of that name; a name that no field has is read past. *field NULL: none. */
static bool scan_key(json_scan *s, json_field *fields, int count, json_field **field) {
    char short_key[64];
    *field = NULL;
    if (json_scan_peek(s) != '"') return false;
    json_scan key = *s; /* behind white space, which is no part of it */
    if (!json_scan_string(s, NULL)) return false;
    if ((size_t)(s->next - key.next) >= sizeof short_key) return true;
    if (!json_scan_string(&key, short_key)) return false;
    for (int i = 0; i < count; i++)
        if (strcmp(fields[i].key, short_key) == 0) *field = &fields[i];
    return true;
}

status json_fields(json_scan object, json_field *fields, int count, const char *where, const char *what) {
    json_scan s = object;
    if (!json_scan_take(&s, '{')) return malformed(where, what);
    if (json_scan_take(&s, '}')) return STATUS_OK;
    do {
        json_field *field;
        if (!scan_key(&s, fields, count, &field) || !json_scan_take(&s, ':')) return malformed(where, what);
        json_scan_peek(&s);
        json_scan value = {.next = s.next};
        if (!json_scan_skip(&s)) return malformed(where, what);
        value.end = s.next;
        if (field && field->value.next)
            return fail("%s: expected %s once in %s, found it twice", where, field->key, what);
        if (field) field->value = value;
    } while (json_scan_take(&s, ','));
    return json_scan_take(&s, '}') ? STATUS_OK : malformed(where, what);
}

static size_t size_of(const json_field *f) {
    return (size_t)(f->value.end - f->value.next);
}

bool json_is_absent(const json_field *f) {
    return !f->value.next || (size_of(f) == 4 && memcmp(f->value.next, "null", 4) == 0);
}

json_shown json_show(json_scan at) {
    json_shown shown = {"none"};
    if (!at.next) return shown;
    snprintf(shown.text, sizeof shown.text, "%.*s", (int)(at.end - at.next < 20 ? at.end - at.next : 20), at.next);
    return shown;
}

status json_field_tree(const json_field *f, cJSON **tree, const char *where) {
    *tree = NULL;
    if (json_is_absent(f)) return STATUS_OK;
    if (size_of(f) > JSON_TREE_BYTES)
        return fail("%s: expected %s to have at most %d bytes, found %zu", where, f->key, JSON_TREE_BYTES, size_of(f));
    *tree = cJSON_ParseWithLength(f->value.next, size_of(f));
    return *tree ? STATUS_OK : fail("%s: expected %s to be JSON, found none", where, f->key);
}

status json_field_bool(const json_field *f, bool *value, const char *where) {
    if (json_is_absent(f)) return STATUS_OK;
    if (*f->value.next != 't' && *f->value.next != 'f')
        return fail("%s: expected %s to be true or false, found %s", where, f->key, json_show(f->value).text);
    *value = *f->value.next == 't';
    return STATUS_OK;
}

status json_field_string(const json_field *f, char **value, const char *where) {
    *value = NULL;
    if (json_is_absent(f)) return STATUS_OK;
    json_scan s = f->value;
    *value = xmalloc(size_of(f) + 1);
    if (json_scan_string(&s, *value)) return STATUS_OK;
    free(*value);
    *value = NULL;
    return fail("%s: expected %s to be a string, found %s", where, f->key, json_show(f->value).text);
}
