/* `moec`: {"top_k", "top_k_per_layer", "omit_experts", "force_experts", "secretary"}. */
#include "base/nearest.h"
#include "nn/expert_names.h"
#include "serve/request_parts.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const keys[] = {"top_k", "top_k_per_layer", "omit_experts", "force_experts", "secretary"};
enum { KEYS = sizeof keys / sizeof *keys };

static status check_keys(const members *m) {
    const cJSON *item;
    cJSON_ArrayForEach(item, m->object) {
        nearest n = {.word = item->string};
        for (int i = 0; i < KEYS; i++) nearest_offer(&n, keys[i]);
        if (n.distance != 0)
            return api_refuse(m->e, HTTP_BAD_REQUEST, "moec", "unknown key %.60s; the nearest is %s", item->string,
                              n.name);
    }
    return STATUS_OK;
}

/* {"4": 1}: a member is named by its layer. */
static status read_layer(expert_request *x, const members *m, const cJSON *item, const model_config *c) {
    char path[WAY_BYTES], *end;
    errno = 0;
    const long layer = strtol(item->string, &end, 10);
    if (end == item->string || *end || errno || layer < 0 || layer >= c->num_layers ||
        !model_config_is_moe(c, (int)layer))
        return api_refuse(m->e, HTTP_BAD_REQUEST, "moec.top_k_per_layer",
                          "expected layers with experts, found \"%.40s\"", item->string);
    (void)way_to(path, "moec.top_k_per_layer.%ld", layer);
    if (!value_is_integer(item, 1, c->moe.experts))
        return value_refuse(m->e, path, item, "a whole number from 1 to %d", c->moe.experts);
    x->layer_top_k[layer] = (int)item->valuedouble;
    x->by_layer = true;
    return STATUS_OK;
}

/* A name, or a number from 0. */
static int find(const cJSON *item, const moe_config *c) {
    if (cJSON_IsString(item)) return expert_find(c, item->valuestring, strlen(item->valuestring));
    return value_is_integer(item, 0, c->experts - 1) ? (int)item->valuedouble : -1;
}

/* Sets marked [E] to `mark` for each that the list has. */
static status read_list(const members *m, const char *key, const moe_config *c, bool *marked, bool mark) {
    const cJSON *list = NULL, *item;
    int i = 0;
    TRY(member_array(m, key, &list));
    cJSON_ArrayForEach(item, list) {
        const int expert = find(item, c);
        if (expert < 0) {
            char path[WAY_BYTES], names[120];
            (void)way_to(path, "moec.%s[%d]", key, i);
            return value_refuse(m->e, path, item, "one of %s", expert_list(c, NULL, names, sizeof names));
        }
        marked[expert] = mark;
        i++;
    }
    return STATUS_OK;
}

static status read_allowed(expert_request *x, const members *m, const moe_config *c) {
    const cJSON *forced = member(m, "force_experts"), *omitted = member(m, "omit_experts");
    const bool some_forced = cJSON_GetArraySize(forced) > 0;
    x->restricted = some_forced || cJSON_GetArraySize(omitted) > 0;
    for (int e = 0; e < c->experts; e++) x->allowed[e] = !some_forced;
    TRY(read_list(m, "force_experts", c, x->allowed, true));
    TRY(read_list(m, "omit_experts", c, x->allowed, false));
    int left = 0;
    for (int e = 0; e < c->experts; e++) left += x->allowed[e];
    if (left == 0)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "moec", "expected at least one expert that is left, found none");
    return STATUS_OK;
}

status experts_request_read(expert_request *x, const members *outer, const model_config *c) {
    const cJSON *object = NULL, *layers = NULL, *item;
    int64_t top_k = 0;
    TRY(member_object(outer, "moec", &object));
    if (!object) return STATUS_OK;
    const members m = {.object = object, .where = "moec", .e = outer->e};
    TRY(check_keys(&m));
    const bool mixture = model_config_has_moe(c);
    for (int i = 0; i < KEYS && !mixture; i++) {
        const cJSON *value = member(&m, keys[i]);
        if (value && !cJSON_IsFalse(value) && (cJSON_IsBool(value) || cJSON_IsNumber(value) || value->child))
            return api_refuse(m.e, HTTP_BAD_REQUEST, "moec", "%s: expected a model with experts, and this one is dense",
                              keys[i]);
    }
    if (!mixture) return STATUS_OK;
    TRY(member_integer(&m, "top_k", 1, c->moe.experts, &top_k));
    x->top_k = (int)top_k;
    TRY(member_object(&m, "top_k_per_layer", &layers));
    cJSON_ArrayForEach(item, layers) TRY(read_layer(x, &m, item, c));
    TRY(member_bool(&m, "secretary", &x->secretary));
    return read_allowed(x, &m, &c->moe);
}
