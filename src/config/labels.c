#include "config/labels.h"
#include "config/names.h"
#include "config/read.h"
#include <string.h>

int labels_find(const label_list *list, const char *label) {
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->label[i], label) == 0) return i;
    return -1;
}

bool labels_add(label_list *list, const char *label) {
    const size_t bytes = strlen(label);
    if (bytes == 0 || bytes >= LABEL_BYTES || list->count == LABELS_MOST || labels_find(list, label) >= 0) return false;
    memcpy(list->label[list->count++], label, bytes + 1);
    return true;
}

status labels_read(const config_field *f, const yaml_document *d, const yaml_node *value, label_list *list) {
    label_list read = {0};
    for (const yaml_node *item = value->first; item; item = item->next) {
        if (item->kind != YAML_SCALAR) return read_wrong(d, item, f->key, "a list of names");
        if (!labels_add(&read, item->text))
            return yaml_fail(d, item, "%s: expected at most %d different names of 1 to %d bytes, found `%.60s`", f->key,
                             LABELS_MOST, LABEL_BYTES - 1, item->text);
    }
    *list = read;
    return STATUS_OK;
}

/* As a list of names that only points at these. */
char *labels_text(const label_list *list) {
    char *names[LABELS_MOST];
    for (int i = 0; i < list->count; i++) names[i] = (char *)list->label[i];
    return names_text(&(name_list){.names = names, .count = list->count});
}

bool labels_from_json(label_list *labels, const cJSON *list) {
    if (!cJSON_IsArray(list)) return false;
    label_list read = {0};
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item) || !labels_add(&read, item->valuestring)) return false;
    }
    *labels = read;
    return true;
}

cJSON *labels_to_json(const label_list *labels) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < labels->count; i++) cJSON_AddItemToArray(list, cJSON_CreateString(labels->label[i]));
    return list;
}
