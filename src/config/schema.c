#include "config/schema.h"
#include "base/memory.h"
#include "base/nearest.h"
#include <string.h>

int schema_size(const config_schema *s) {
    int size = 0;
    for (int p = 0; p < s->part_count; p++) size += s->parts[p].section->count;
    return size;
}

config_key schema_key(const config_schema *s, int index) {
    const config_part *part = s->parts;
    while (index >= part->section->count) index -= part++->section->count;
    config_key key = {.section = part->section, .field = part->section->fields[index]};
    key.field.offset += part->offset;
    return key;
}

static bool is_name_of(const config_key *key, const char *name) {
    const size_t section = strlen(key->section->name);
    if (strncmp(name, key->section->name, section) == 0 && name[section] == '.') name += section + 1;
    return strcmp(name, key->field.key) == 0;
}

int schema_find(const config_schema *s, const char *name) {
    for (int i = 0; i < schema_size(s); i++) {
        const config_key key = schema_key(s, i);
        if (is_name_of(&key, name)) return i;
    }
    return -1;
}

int schema_find_section(const config_schema *s, const char *name) {
    for (int p = 0; p < s->part_count; p++)
        if (strcmp(s->parts[p].section->name, name) == 0) return p;
    return -1;
}

void schema_free(const config_schema *s, void *c) {
    for (int p = 0; p < s->part_count; p++) section_free(s->parts[p].section, (char *)c + s->parts[p].offset);
}

/* ---- what may be meant ---- */

static const foreign_key *find_foreign(const config_schema *s, const char *word) {
    const foreign_key *found = NULL;
    for (int p = 0; p < s->part_count && !found; p++) found = section_foreign(s->parts[p].section, word);
    return found;
}

static char *describe_foreign(const char *name, const foreign_key *f) {
    if (!f->key) return xasprintf("unknown key %.60s: %s", name, f->remark);
    if (!f->remark) return xasprintf("unknown key %.60s: moec calls it %s", name, f->key);
    return xasprintf("unknown key %.60s: moec calls it %s (%s)", name, f->key, f->remark);
}

char *schema_unknown_key(const config_schema *s, const char *name) {
    const char *dot = strrchr(name, '.'), *word = dot ? dot + 1 : name;
    const foreign_key *foreign = find_foreign(s, word);
    if (foreign) return describe_foreign(name, foreign);
    nearest n = {.word = word};
    for (int i = 0; i < schema_size(s); i++) nearest_offer(&n, schema_key(s, i).field.key);
    const config_key key = schema_key(s, schema_find(s, n.name));
    return xasprintf("unknown key %.60s; the nearest is %s in section %s", name, key.field.key, key.section->name);
}

char *schema_unknown_section(const config_schema *s, const char *name) {
    const foreign_key *foreign = find_foreign(s, name);
    if (foreign) return describe_foreign(name, foreign);
    nearest n = {.word = name};
    for (int p = 0; p < s->part_count; p++) nearest_offer(&n, s->parts[p].section->name);
    return xasprintf("unknown section %.60s; the nearest is %s", name, n.name);
}
