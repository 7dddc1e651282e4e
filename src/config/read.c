#include "config/read.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "config/curve.h"
#include "config/labels.h"
#include "config/names.h"
#include "config/records.h"
#include "config/weights.h"
#include <stdlib.h>
#include <string.h>

status read_wrong(const yaml_document *d, const yaml_node *value, const char *key, const char *expected) {
    if (value->kind == YAML_SCALAR)
        return yaml_fail(d, value, "%s: expected %s, found `%.60s`", key, expected, value->text);
    return yaml_fail(d, value, "%s: expected %s, found a %s", key, expected,
                     value->kind == YAML_LIST ? "list" : "mapping");
}

static bool read_set(const yaml_node *value, const config_field *f, void *base) {
    const int count = (int)f->most + 1;
    bool *read = xcalloc((size_t)count, sizeof *read);
    bool good = value->kind == YAML_LIST;
    for (const yaml_node *item = value->first; item && good; item = item->next)
        good = item->kind == YAML_SCALAR && set_add(read, count, item->text);
    if (good) memcpy((char *)base + f->offset, read, (size_t)count * sizeof *read);
    free(read);
    return good;
}

static bool read_scalar(const yaml_node *value, const config_field *f, void *base) {
    if (value->kind != YAML_SCALAR) return false;
    /* A quoted number is a text, as JSON has to write 16M, and YAML's null is the empty text. */
    const bool takes_text = f->type == FIELD_STRING || f->type == FIELD_CHOICE || f->type == FIELD_BYTES;
    if (value->quoted && !takes_text) return false;
    const bool nothing = f->type == FIELD_STRING && yaml_is_null(value);
    return field_parse(f, base, nothing ? "" : value->text);
}

status read_value(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    if (f->type == FIELD_OWN) return f->read(d, value, f, base);
    if (f->type == FIELD_RECORDS && value->kind == YAML_LIST)
        return records_read(f->records, d, value, f->key, (char *)base + f->offset);
    if (f->type == FIELD_WEIGHTS && value->kind == YAML_MAPPING)
        return weights_read(f, d, value, (weight_list *)((char *)base + f->offset));
    if (f->type == FIELD_NAMES && value->kind == YAML_LIST)
        return names_read(f, d, value, (name_list *)((char *)base + f->offset));
    if (f->type == FIELD_CURVE && value->kind == YAML_MAPPING)
        return curve_read(f, d, value, (curve *)((char *)base + f->offset));
    if (f->type == FIELD_LABELS && value->kind == YAML_LIST)
        return labels_read(f, d, value, (label_list *)((char *)base + f->offset));
    if (f->type == FIELD_STRING && value->kind == YAML_SCALAR && strlen(value->text) > READ_MAX_TEXT)
        return yaml_fail(d, value, "%s: expected a text of at most %d bytes, found %zu", f->key, READ_MAX_TEXT,
                         strlen(value->text));
    if (f->type == FIELD_SET ? read_set(value, f, base) : read_scalar(value, f, base)) return STATUS_OK;
    char *expected = field_expected(f);
    status s = read_wrong(d, value, f->key, expected);
    free(expected);
    return s;
}

status read_mapping(const yaml_document *d, const yaml_node *mapping, const char *what, const config_field *fields,
                    int count, void *base, int *lines) {
    if (mapping->kind != YAML_MAPPING) return read_wrong(d, mapping, what, "keys and values");
    for (const yaml_node *key = mapping->first; key; key = key->next) {
        nearest n = {.word = key->text};
        int i = 0;
        for (; i < count && strcmp(fields[i].key, key->text) != 0; i++) nearest_offer(&n, fields[i].key);
        if (i == count) return yaml_fail(d, key, "unknown key %.60s of %s; the nearest is %s", key->text, what, n.name);
        if (lines[i]) return yaml_fail(d, key, "%s is given twice, first on line %d", fields[i].key, lines[i]);
        lines[i] = key->line;
        TRY(read_value(d, key->value, &fields[i], base));
    }
    return STATUS_OK;
}
