#include "config/names.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include "config/read.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static status read_item(const config_field *f, const yaml_document *d, const yaml_node *item, name_list *list) {
    if (item->kind != YAML_SCALAR) return read_wrong(d, item, f->key, "a list of texts");
    const size_t length = strlen(item->text);
    if (length == 0 || length > NAMES_MAX_NAME)
        return yaml_fail(d, item, "%s: expected texts of 1 to %d bytes, found one of %zu", f->key, NAMES_MAX_NAME,
                         length);
    if (list->count == NAMES_MOST) return yaml_fail(d, item, "%s: expected at most %d texts", f->key, NAMES_MOST);
    list->names[list->count++] = xstrdup(item->text);
    return STATUS_OK;
}

status names_read(const config_field *f, const yaml_document *d, const yaml_node *value, name_list *list) {
    name_list read = {.names = xcalloc(NAMES_MOST, sizeof *read.names)};
    for (const yaml_node *item = value->first; item; item = item->next) {
        const status s = read_item(f, d, item, &read);
        if (s == STATUS_OK) continue;
        names_free(&read);
        return s;
    }
    names_free(list);
    *list = read;
    return STATUS_OK;
}

char *names_text(const name_list *list) {
    text_stream t;
    FILE *out = text_stream_begin(&t);
    fputc('[', out);
    for (int i = 0; i < list->count; i++) {
        if (i > 0) fputs(", ", out);
        yaml_write_name(out, list->names[i]);
    }
    fputc(']', out);
    return text_stream_end(&t);
}

name_list names_copy(const name_list *list) {
    name_list copy = {.names = xcalloc((size_t)list->count + 1, sizeof *copy.names), .count = list->count};
    for (int i = 0; i < list->count; i++) copy.names[i] = xstrdup(list->names[i]);
    return copy;
}

void names_free(name_list *list) {
    for (int i = 0; i < list->count; i++) free(list->names[i]);
    free(list->names);
    *list = (name_list){0};
}
