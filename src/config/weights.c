#include "config/weights.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include "config/read.h"
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static bool has(const weight_list *list, const char *name) {
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0) return true;
    return false;
}

/* The number is read as that of any key. */
static status read_number(const config_field *f, const yaml_document *d, const yaml_node *key, double *weight) {
    const config_field number = {.key = key->text, .type = FIELD_DOUBLE, .least = f->least, .most = f->most};
    return read_value(d, key->value, &number, weight);
}

static status read_item(const config_field *f, const yaml_document *d, const yaml_node *key, weight_list *list) {
    double weight;
    const size_t length = strlen(key->text);
    if (length == 0 || length > WEIGHTS_MAX_NAME)
        return yaml_fail(d, key, "%s: expected names of 1 to %d bytes, found one of %zu", f->key, WEIGHTS_MAX_NAME,
                         length);
    if (has(list, key->text)) return yaml_fail(d, key, "%s: %.60s is given twice", f->key, key->text);
    if (list->count == WEIGHTS_MOST) return yaml_fail(d, key, "%s: expected at most %d names", f->key, WEIGHTS_MOST);
    TRY(read_number(f, d, key, &weight));
    list->items[list->count++] = (named_weight){.name = xstrdup(key->text), .weight = weight};
    return STATUS_OK;
}

status weights_read(const config_field *f, const yaml_document *d, const yaml_node *value, weight_list *list) {
    weight_list read = {.items = xcalloc(WEIGHTS_MOST, sizeof *read.items)};
    for (const yaml_node *key = value->first; key; key = key->next) {
        const status s = read_item(f, d, key, &read);
        if (s == STATUS_OK) continue;
        weights_free(&read);
        return s;
    }
    weights_free(list);
    *list = read;
    return STATUS_OK;
}

/* ---- writing ---- */

char *weights_text(const weight_list *list) {
    static const config_field number = {.key = "weight", .type = FIELD_DOUBLE};
    text_stream t;
    FILE *out = text_stream_begin(&t);
    fputc('{', out);
    for (int i = 0; i < list->count; i++) {
        const named_weight *w = &list->items[i];
        char *value = field_text(&number, &w->weight);
        if (i > 0) fputs(", ", out);
        yaml_write_name(out, w->name);
        fprintf(out, ": %s", value);
        free(value);
    }
    fputc('}', out);
    return text_stream_end(&t);
}

/* ---- the rest ---- */

bool weights_in_range(const config_field *f, const weight_list *list) {
    for (int i = 0; i < list->count; i++)
        if (!(list->items[i].weight >= f->least && list->items[i].weight <= f->most)) return false;
    return true;
}

weight_list weights_copy(const weight_list *list) {
    weight_list copy = {.items = xcalloc((size_t)list->count + 1, sizeof *copy.items), .count = list->count};
    for (int i = 0; i < list->count; i++)
        copy.items[i] = (named_weight){.name = xstrdup(list->items[i].name), .weight = list->items[i].weight};
    return copy;
}

void weights_free(weight_list *list) {
    for (int i = 0; i < list->count; i++) free(list->items[i].name);
    free(list->items);
    *list = (weight_list){0};
}
