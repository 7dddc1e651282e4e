#include "config/parse.h"
#include "base/memory.h"
#include "config/load.h"
#include "config/read.h"
#include <stdlib.h>
#include <string.h>

/* ---- documents ---- */

/* A text that is being read into a configuration, and where its keys and sections stood. */
typedef struct reader {
    const config_schema *schema;
    void *config;
    const yaml_document *d;
    bool has_base;
    int *key_line;     /* of each key; 0: it is not given */
    int *section_line; /* of each section */
} reader;

static status read_key(const reader *r, const yaml_node *key, const char *name) {
    const int index = schema_find(r->schema, name);
    if (index < 0) {
        const bool section = key->value->kind == YAML_MAPPING && !strchr(name, '.');
        char *unknown = section ? schema_unknown_section(r->schema, name) : schema_unknown_key(r->schema, name);
        const status s = yaml_fail(r->d, key, "%s", unknown);
        free(unknown);
        return s;
    }
    const config_field f = schema_key(r->schema, index).field;
    if (r->key_line[index])
        return yaml_fail(r->d, key, "%s is given twice, first on line %d", f.key, r->key_line[index]);
    r->key_line[index] = key->line;
    return read_value(r->d, key->value, &f, r->config);
}

static status read_section(const reader *r, const yaml_node *mapping, const config_section *section) {
    for (const yaml_node *key = mapping->first; key; key = key->next) {
        char *name = xasprintf("%s.%s", section->name, key->text);
        const status s = read_key(r, key, name);
        free(name);
        TRY(s);
    }
    return STATUS_OK;
}

/* A mapping under a section's name is the section, `data: {data: corpus}`, and nothing is one that is all comments; anything
 * else is a key. */
static status read_entry(const reader *r, const yaml_node *key) {
    const int part = schema_find_section(r->schema, key->text);
    if (part < 0) return read_key(r, key, key->text);
    if (r->section_line[part])
        return yaml_fail(r->d, key, "%s is given twice, first on line %d", key->text, r->section_line[part]);
    r->section_line[part] = key->line;
    if (key->value->kind == YAML_MAPPING) return read_section(r, key->value, r->schema->parts[part].section);
    if (yaml_is_null(key->value) && schema_find(r->schema, key->text) < 0) return STATUS_OK;
    return read_key(r, key, key->text);
}

static status read_root(const reader *r) {
    const yaml_node *root = r->d->root;
    if (!root || yaml_is_null(root)) return STATUS_OK;
    if (root->kind != YAML_MAPPING)
        return yaml_fail(r->d, root, "expected keys and values, found a %s",
                         root->kind == YAML_LIST ? "list" : "single value");
    for (const yaml_node *key = root->first; key; key = key->next)
        if (!r->has_base || strcmp(key->text, CONFIG_BASE_KEY) != 0) TRY(read_entry(r, key));
    return STATUS_OK;
}

status config_read_document(const config_schema *s, void *c, const yaml_document *d, bool has_base, int *texts,
                            int number) {
    const int size = schema_size(s);
    reader r = {.schema = s, .config = c, .d = d, .has_base = has_base};
    r.key_line = xcalloc((size_t)(size + s->part_count), sizeof *r.key_line);
    r.section_line = r.key_line + size;
    status result = read_root(&r);
    bool given = has_base;
    for (int i = 0; i < size; i++) {
        given |= r.key_line[i] > 0;
        if (texts && r.key_line[i]) texts[i] = number;
    }
    free(r.key_line);
    if (result == STATUS_OK && !given) result = fail_usage("%s: expected keys and values, found none", d->where);
    return result;
}

status config_parse(const config_schema *s, void *c, const char *where, const char *yaml, size_t bytes) {
    yaml_document d;
    status result = yaml_read(&d, where, true, yaml, bytes);
    if (result == STATUS_OK) result = config_read_document(s, c, &d, false, NULL, 0);
    yaml_close(&d);
    return result;
}

/* ---- overrides ---- */

/* A text is taken as it stands, so that a path needs no quotes for YAML's sake; anything else is a document. */
static status override_value(const config_field *f, void *c, const char *where, const char *text) {
    yaml_document d = {.where = where};
    const yaml_node as_it_stands = {.text = (char *)text, .quoted = true};
    if (f->type == FIELD_STRING) return read_value(&d, &as_it_stands, f, c);
    status s = yaml_read(&d, where, false, text, strlen(text));
    if (s == STATUS_OK && d.root) s = read_value(&d, d.root, f, c);
    if (s == STATUS_OK && !d.root) {
        char *expected = field_expected(f);
        s = fail_usage("%s: %s: expected %s, found nothing", where, f->key, expected);
        free(expected);
    }
    yaml_close(&d);
    return s;
}

static status override_key(const config_schema *s, void *c, const char *where, const char *key, const char *value,
                           int *texts, int number) {
    const int index = schema_find(s, key);
    if (index < 0) {
        char *unknown = schema_unknown_key(s, key);
        const status result = fail_usage("%s: %s", where, unknown);
        free(unknown);
        return result;
    }
    if (texts) texts[index] = number;
    const config_field f = schema_key(s, index).field;
    return override_value(&f, c, where, value);
}

status config_apply_override(const config_schema *s, void *c, const char *override, int *texts, int number) {
    const char *equals = strchr(override, '=');
    if (!equals && schema_find(s, override) >= 0)
        return fail_usage("override %.60s: expected key=value, with nothing between: %.60s=VALUE", override, override);
    if (!equals || equals == override) return fail_usage("override %.60s: expected key=value", override);
    char *where = xasprintf("override %.80s", override), *key = xstrdup(override);
    key[equals - override] = '\0';
    const status result = override_key(s, c, where, key, equals + 1, texts, number);
    free(where);
    free(key);
    return result;
}

status config_override(const config_schema *s, void *c, const char *override) {
    return config_apply_override(s, c, override, NULL, 0);
}
