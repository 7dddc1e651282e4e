#include "config/section.h"
#include "base/nearest.h"
#include "config/records.h"
#include <ctype.h>
#include <string.h>

int section_find(const config_section *s, const char *key) {
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->fields[i].key, key) == 0) return i;
    return -1;
}

const char *section_nearest(const config_section *s, const char *key) {
    nearest n = {.word = key};
    for (int i = 0; i < s->count; i++) nearest_offer(&n, s->fields[i].key);
    return n.name;
}

static bool is_foreign(const char *key, const char *name) {
    for (; *name && *name != '*'; key++, name++)
        if ((*key == '-' ? '_' : tolower((unsigned char)*key)) != *name) return false;
    return *name == '*' || *key == '\0';
}

const foreign_key *section_foreign(const config_section *s, const char *key) {
    key += strspn(key, "-"); /* as on a command line */
    for (int i = 0; i < s->foreign_count; i++)
        if (is_foreign(key, s->foreign[i].name)) return &s->foreign[i];
    return NULL;
}

status section_check(const config_section *s, const void *base) {
    for (int i = 0; i < s->count; i++) {
        const config_field *f = &s->fields[i];
        if (f->type == FIELD_RECORDS)
            TRY(records_check(f->records, f->key, (const char *)base + f->offset));
        else
            TRY(field_check(f, base));
    }
    return STATUS_OK;
}

void section_free(const config_section *s, void *base) {
    for (int i = 0; i < s->count; i++) field_free(&s->fields[i], base);
}
