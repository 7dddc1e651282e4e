#include "base/memory.h"
#include "nn/config_fields.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *layers_to_json(const bool *layers) {
    cJSON *list = cJSON_CreateArray();
    for (int layer = 0; layer < MODEL_MAX_LAYERS; layer++)
        if (layers[layer]) cJSON_AddItemToArray(list, cJSON_CreateNumber(layer));
    return list;
}

/* What older files do not have: no names are as good as no key, and so is this switch where it is off. */
static bool is_switch(const config_field *f) {
    return f->offset == offsetof(model_config, loop.scales);
}

static bool may_be_absent(const config_field *f) {
    return f->type == FIELD_LABELS || is_switch(f);
}

cJSON *model_config_to_json(const model_config *c) {
    cJSON *json = cJSON_CreateObject();
    for (int i = 0; i < model_section.count; i++) {
        const config_field *f = &model_section.fields[i];
        const void *source = (const char *)c + f->offset;
        if (f->type == FIELD_SET) {
            cJSON_AddItemToObject(json, f->key, layers_to_json(source));
            continue;
        }
        if (f->type == FIELD_LABELS) {
            const label_list *labels = source;
            if (labels->count > 0) cJSON_AddItemToObject(json, f->key, labels_to_json(labels));
            continue;
        }
        if (is_switch(f) && !*(const bool *)source) continue;
        char *text = field_text(f, c);
        if (f->type == FIELD_BOOL)
            cJSON_AddBoolToObject(json, f->key, *(const bool *)source);
        else if (f->type == FIELD_CHOICE)
            cJSON_AddStringToObject(json, f->key, text);
        else /* through the shortest text, so that 0.005f is written 0.005 and not 0.00499999988824129 */
            cJSON_AddNumberToObject(json, f->key, strtod(text, NULL));
        free(text);
    }
    return json;
}

static bool layers_from_json(bool *layers, const cJSON *list) {
    if (!cJSON_IsArray(list)) return false;
    bool read[MODEL_MAX_LAYERS] = {false};
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        bool is_layer = cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < MODEL_MAX_LAYERS &&
                        item->valuedouble == floor(item->valuedouble);
        if (!is_layer) return false;
        read[(int)item->valuedouble] = true;
    }
    memcpy(layers, read, sizeof read);
    return true;
}

static bool value_from_json(const config_field *f, model_config *c, const cJSON *item) {
    switch (f->type) {
    case FIELD_SET:
        return layers_from_json((bool *)((char *)c + f->offset), item);
    case FIELD_LABELS:
        return labels_from_json((label_list *)((char *)c + f->offset), item);
    case FIELD_BOOL:
        return cJSON_IsBool(item) && field_parse(f, c, cJSON_IsTrue(item) ? "true" : "false");
    case FIELD_CHOICE:
        return cJSON_IsString(item) && field_parse(f, c, item->valuestring);
    default: {
        if (!cJSON_IsNumber(item)) return false;
        char text[64];
        /* An integer must look like one, so 1e5 is 100000; anything else keeps every digit. */
        bool whole = fabs(item->valuedouble) < 1e15 && item->valuedouble == floor(item->valuedouble);
        snprintf(text, sizeof text, whole ? "%.0f" : "%.17g", item->valuedouble);
        return field_parse(f, c, text);
    }
    }
}

/* Every member of the object; seen[i] becomes true for each key. */
static status members_from_json(model_config *c, const cJSON *json, const char *where, bool *seen) {
    const cJSON *item;
    cJSON_ArrayForEach(item, json) {
        const int key = section_find(&model_section, item->string);
        if (key < 0)
            return fail("%s: unknown key %s; the nearest is %s", where, item->string,
                        section_nearest(&model_section, item->string));
        const config_field *f = &model_section.fields[key];
        if (seen[key]) return fail("%s: key %s is given twice", where, f->key);
        seen[key] = true;
        if (value_from_json(f, c, item)) continue;
        char *found = cJSON_PrintUnformatted(item), *expected = field_expected(f);
        status s = fail("%s: %s: expected %s, found %s", where, f->key, expected, found ? found : "nothing");
        cJSON_free(found);
        free(expected);
        return s;
    }
    return STATUS_OK;
}

status model_config_from_json(model_config *c, const cJSON *json, const char *where) {
    if (!cJSON_IsObject(json)) return fail("%s: expected a JSON object of model_config's keys", where);
    *c = model_config_default();
    bool *seen = xcalloc((size_t)model_section.count, sizeof *seen);
    status s = members_from_json(c, json, where, seen);
    for (int i = 0; i < model_section.count && s == STATUS_OK; i++)
        if (!seen[i] && !may_be_absent(&model_section.fields[i]))
            s = fail("%s: key %s is missing", where, model_section.fields[i].key);
    free(seen);
    TRY(s);
    if (model_config_check(c) != STATUS_OK) return fail_in(STATUS_FAILED, "%s", where);
    return STATUS_OK;
}
