#include "config/records.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include "config/read.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_FIELDS = 32 }; /* bits of record_kind's members */

const char *record_kind_name(const record_list *l, int kind) {
    return l->fields[l->tag].choices[kind];
}

int records_count(const record_list *l, const void *list) {
    return *(const int *)((const char *)list + l->count_offset);
}

static const void *record_at(const record_list *l, const void *list, int i) {
    return (const char *)list + (size_t)i * l->bytes;
}

static int kind_of(const record_list *l, const void *record) {
    return *(const int *)((const char *)record + l->fields[l->tag].offset);
}

static unsigned keys_of(const record_list *l, int kind) {
    const record_kind *k = &l->kinds[kind];
    return 1u << l->tag | k->one_of | k->needs | k->may;
}

static bool is_fresh(const record_list *l, int field, const void *record) {
    char *value = field_text(&l->fields[field], record), *fresh = field_text(&l->fields[field], l->fresh);
    const bool same = strcmp(value ? value : "", fresh ? fresh : "") == 0;
    free(value);
    free(fresh);
    return same;
}

/* The keys that a record is written with: of one_of only the one that counts. */
static unsigned used_keys(const record_list *l, const void *record) {
    const int kind = kind_of(l, record);
    const unsigned one_of = l->kinds[kind].one_of;
    int chosen = -1;
    for (int i = 0; i < l->field_count; i++)
        if (one_of >> i & 1 && (chosen < 0 || !is_fresh(l, i, record))) chosen = i;
    return (keys_of(l, kind) & ~one_of) | (chosen >= 0 ? 1u << chosen : 0);
}

/* ---- reading ---- */

/* "at or below_lr" */
static char *key_names(const record_list *l, unsigned keys) {
    char *text = xstrdup("");
    for (int i = 0; i < l->field_count; i++) {
        if (!(keys >> i & 1)) continue;
        char *longer = xasprintf("%s%s%s", text, *text ? " or " : "", l->fields[i].key);
        free(text);
        text = longer;
    }
    return text;
}

static status check_one_of(const record_list *l, const yaml_document *d, const yaml_node *node, unsigned one_of,
                           unsigned given) {
    const int found = __builtin_popcount(one_of & given), possible = __builtin_popcount(one_of);
    if (found == 1 || possible == 0) return STATUS_OK;
    char *names = key_names(l, one_of);
    status s = yaml_fail(d, node, "%s: expected %s%s, found %s", l->one, possible > 1 ? "either " : "", names,
                         found == 0  ? "none"
                         : found > 2 ? "several"
                                     : "both");
    free(names);
    return s;
}

/* What a record's keys must be together. */
static status check_keys(const record_list *l, const yaml_document *d, const yaml_node *node, const void *record,
                         unsigned given) {
    const config_field *tag = &l->fields[l->tag];
    if (!(given >> l->tag & 1)) {
        char *kinds = field_expected(tag);
        status s = yaml_fail(d, node, "%s: expected %s, %s, found none", l->one, tag->key, kinds);
        free(kinds);
        return s;
    }
    const int kind = kind_of(l, record);
    const unsigned missing = l->kinds[kind].needs & ~given;
    for (int i = 0; i < l->field_count; i++)
        if (given >> i & 1 && !(keys_of(l, kind) >> i & 1))
            return yaml_fail(d, node, "%s: %s is no key of %s", l->one, l->fields[i].key, record_kind_name(l, kind));
    TRY(check_one_of(l, d, node, l->kinds[kind].one_of, given));
    if (!missing) return STATUS_OK;
    return yaml_fail(d, node, "%s: %s expected %s, found none", l->one, record_kind_name(l, kind),
                     l->fields[__builtin_ctz(missing)].key);
}

static status read_record(const record_list *l, const yaml_document *d, const yaml_node *node, void *record) {
    char what[64];
    int lines[MOST_FIELDS] = {0};
    unsigned given = 0;
    snprintf(what, sizeof what, "%s %s", strchr("aeiou", *l->one) ? "an" : "a", l->one);
    memcpy(record, l->fresh, l->bytes);
    TRY(read_mapping(d, node, what, l->fields, l->field_count, record, lines));
    for (int i = 0; i < l->field_count; i++) given |= lines[i] ? 1u << i : 0;
    return check_keys(l, d, node, record, given);
}

static status read_list(const record_list *l, const yaml_document *d, const yaml_node *value, const char *key,
                        char *records, int *count) {
    for (const yaml_node *item = value->first; item; item = item->next) {
        if (*count == l->most) return yaml_fail(d, item, "%s: expected at most %d", key, l->most);
        if (item->kind != YAML_MAPPING) return yaml_fail(d, item, "%s: expected mappings such as %s", key, l->example);
        TRY(read_record(l, d, item, records + (size_t)(*count)++ * l->bytes));
    }
    return STATUS_OK;
}

status records_read(const record_list *l, const yaml_document *d, const yaml_node *value, const char *key, void *list) {
    char *records = xcalloc((size_t)l->most, l->bytes);
    int count = 0;
    status s = read_list(l, d, value, key, records, &count);
    if (s == STATUS_OK) {
        memcpy(list, records, (size_t)count * l->bytes);
        *(int *)((char *)list + l->count_offset) = count;
    }
    free(records);
    return s;
}

/* ---- checking ---- */

/* One of the keys that exclude each other in some kind, given to a kind that does not have it: it would be ignored. */
static status check_strays(const record_list *l, const void *record) {
    const int kind = kind_of(l, record);
    unsigned elsewhere = 0;
    for (int k = 0; l->fields[l->tag].choices[k]; k++) elsewhere |= l->kinds[k].one_of;
    elsewhere &= ~keys_of(l, kind);
    for (int i = 0; i < l->field_count; i++)
        if (elsewhere >> i & 1 && !is_fresh(l, i, record))
            return fail_usage("%s: is no key of %s", l->fields[i].key, record_kind_name(l, kind));
    return STATUS_OK;
}

static status check_record(const record_list *l, const void *record) {
    TRY(field_check(&l->fields[l->tag], record));
    const unsigned used = used_keys(l, record);
    for (int i = 0; i < l->field_count; i++)
        if (used >> i & 1) TRY(field_check(&l->fields[i], record));
    return check_strays(l, record);
}

status records_check(const record_list *l, const char *key, const void *list) {
    const int count = records_count(l, list);
    if (count < 0 || count > l->most) return fail_usage("%s: expected 0 to %d, found %d", key, l->most, count);
    for (int i = 0; i < count; i++) {
        const status s = check_record(l, record_at(l, list, i));
        if (s != STATUS_OK) return fail_usage("%s[%d].%s", key, i, error_message());
    }
    return STATUS_OK;
}

/* ---- writing ---- */

static void write_record(const record_list *l, FILE *out, const void *record) {
    const unsigned used = used_keys(l, record);
    const char *separator = "{";
    for (int i = 0; i < l->field_count; i++) {
        if (!(used >> i & 1)) continue;
        char *text = field_text(&l->fields[i], record);
        fprintf(out, "%s%s: %s", separator, l->fields[i].key, text);
        free(text);
        separator = ", ";
    }
    fputs("}", out);
}

void records_write(const record_list *l, FILE *out, const void *list) {
    for (int n = 0; n < records_count(l, list); n++) {
        fputs("  - ", out);
        write_record(l, out, record_at(l, list, n));
        fputc('\n', out);
    }
}

char *records_text(const record_list *l, const void *list) {
    text_stream t;
    FILE *out = text_stream_begin(&t);
    fputc('[', out);
    for (int n = 0; n < records_count(l, list); n++) {
        if (n > 0) fputs(", ", out);
        write_record(l, out, record_at(l, list, n));
    }
    fputc(']', out);
    return text_stream_end(&t);
}

void records_describe(const record_list *l, const char *key, FILE *out) {
    fprintf(out, "\n%s: a list of %s; their keys:\n", key, l->forms);
    for (int i = 0; i < l->field_count; i++) {
        char *expected = field_expected(&l->fields[i]);
        fprintf(out, "  %-10s %s (%s)\n", l->fields[i].key, l->fields[i].meaning, expected);
        free(expected);
    }
}
