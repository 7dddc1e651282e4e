#include "serve/traffic.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct traffic {
    served *s;
    char *path;
    pthread_mutex_t lock; /* of since, and of writing the file */
    int64_t since;
};

static cJSON *counts_json(const scheduler_traffic *n, int row) {
    cJSON *layer = cJSON_CreateObject(), *counts;
    cJSON_AddNumberToObject(layer, "layer", n->layer[row]);
    counts = cJSON_AddArrayToObject(layer, "counts");
    for (int e = 0; e < n->experts; e++)
        cJSON_AddItemToArray(counts, cJSON_CreateNumber((double)n->counts[row * n->experts + e]));
    return layer;
}

cJSON *traffic_json(traffic *t) {
    const label_list *names = &t->s->m->config.moe.names;
    scheduler_traffic n;
    scheduler_traffic_read(t->s->scheduler, &n);
    const int experts = n.layers > 0 ? n.experts : 0;
    pthread_mutex_lock(&t->lock);
    const int64_t since = t->since;
    pthread_mutex_unlock(&t->lock);
    cJSON *json = cJSON_CreateObject(), *layers;
    cJSON_AddNumberToObject(json, "since", (double)since);
    cJSON_AddNumberToObject(json, "tokens", (double)n.tokens);
    cJSON_AddNumberToObject(json, "experts", experts);
    cJSON_AddItemToObject(json, "expert_names",
                          experts > 0 && names->count > 0 ? labels_to_json(names) : cJSON_CreateNull());
    layers = cJSON_AddArrayToObject(json, "layers");
    for (int i = 0; i < n.layers; i++) cJSON_AddItemToArray(layers, counts_json(&n, i));
    free(n.counts);
    return json;
}

void traffic_reset(traffic *t) {
    scheduler_traffic_reset(t->s->scheduler);
    pthread_mutex_lock(&t->lock);
    t->since = (int64_t)time_of_day();
    pthread_mutex_unlock(&t->lock);
}

status traffic_write(traffic *t) {
    if (!t->path) return STATUS_OK;
    cJSON *json = traffic_json(t);
    pthread_mutex_lock(&t->lock);
    const status s = json_write_file(t->path, json);
    pthread_mutex_unlock(&t->lock);
    cJSON_Delete(json);
    return s;
}

/* ---- the file ---- */

/* {"layer", "counts": [E]} */
static status read_layer(const char *path, const cJSON *layer, scheduler_traffic *n) {
    const cJSON *counts = cJSON_GetObjectItemCaseSensitive(layer, "counts"), *count;
    int64_t index, e = 0;
    TRY(json_get_int(layer, path, "layer", &index));
    if (index < 0 || index >= MODEL_MAX_LAYERS || cJSON_GetArraySize(counts) != n->experts)
        return fail("%s: layers: expected counts of %d experts, found %d of layer %lld", path, n->experts,
                    cJSON_GetArraySize(counts), (long long)index);
    cJSON_ArrayForEach(count, counts) {
        if (!cJSON_IsNumber(count) || !(count->valuedouble >= 0 && count->valuedouble <= 1e15))
            return fail("%s: layers: expected counts from 0, found something else in layer %lld", path,
                        (long long)index);
        n->counts[n->layers * n->experts + e++] = (int64_t)count->valuedouble;
    }
    n->layer[n->layers++] = (int)index;
    return STATUS_OK;
}

static status read_counts(traffic *t, const cJSON *json) {
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(json, "layers"), *layer;
    int64_t experts, tokens, since;
    TRY(json_get_int(json, t->path, "experts", &experts));
    TRY(json_get_int(json, t->path, "tokens", &tokens));
    TRY(json_get_int(json, t->path, "since", &since));
    if (experts < 0 || experts > MODEL_MAX_EXPERTS || tokens < 0 || !cJSON_IsArray(layers) ||
        cJSON_GetArraySize(layers) > MODEL_MAX_LAYERS)
        return fail("%s: expected the counts of a model's experts, found something else", t->path);
    scheduler_traffic n = {.tokens = tokens, .experts = (int)experts};
    n.counts = xcalloc((size_t)experts * (size_t)cJSON_GetArraySize(layers) + 1, sizeof *n.counts);
    status s = STATUS_OK;
    cJSON_ArrayForEach(layer, layers) {
        if (s == STATUS_OK) s = read_layer(t->path, layer, &n);
    }
    if (s == STATUS_OK && n.layers > 0) s = fail_in(scheduler_traffic_add(t->s->scheduler, &n), "%s", t->path);
    if (s == STATUS_OK) t->since = since;
    free(n.counts);
    return s;
}

static status read_file(traffic *t) {
    path_kind kind;
    cJSON *json;
    TRY(path_look(t->path, &kind));
    if (kind == PATH_ABSENT) return traffic_write(t); /* that it can be written is better known now than at the end */
    TRY(json_read_file(t->path, &json));
    const status s = read_counts(t, json);
    cJSON_Delete(json);
    return s;
}

status traffic_open(traffic **out, served *s, const char *path) {
    traffic *t = xcalloc(1, sizeof *t);
    *t = (traffic){.s = s, .path = path ? xstrdup(path) : NULL, .since = (int64_t)time_of_day()};
    pthread_mutex_init(&t->lock, NULL);
    const status outcome = path ? read_file(t) : STATUS_OK;
    if (outcome == STATUS_OK)
        *out = t;
    else
        traffic_close(t);
    return outcome;
}

void traffic_close(traffic *t) {
    if (!t) return;
    pthread_mutex_destroy(&t->lock);
    free(t->path);
    free(t);
}
