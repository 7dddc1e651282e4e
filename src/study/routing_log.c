#include "study/routing_log.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

/* Where the pass is or belongs. */
static int place(const routing_sums *s, int layer, int pass) {
    int at = 0;
    while (at < s->count &&
           (s->passes[at].layer < layer || (s->passes[at].layer == layer && s->passes[at].pass < pass)))
        at++;
    return at;
}

static routed_pass *find(const routing_sums *s, int layer, int pass) {
    const int at = place(s, layer, pass);
    routed_pass *p = at < s->count ? &s->passes[at] : NULL;
    return p && p->layer == layer && p->pass == pass ? p : NULL;
}

const routed_pass *routing_sums_find(const routing_sums *s, int layer, int pass) {
    return find(s, layer, pass);
}

static routed_pass *insert(routing_sums *s, int layer, int pass) {
    const int at = place(s, layer, pass);
    s->passes = xrealloc(s->passes, (size_t)(s->count + 1) * sizeof *s->passes);
    memmove(s->passes + at + 1, s->passes + at, (size_t)(s->count - at) * sizeof *s->passes);
    s->passes[at] = (routed_pass){.layer = layer, .pass = pass};
    s->count++;
    return &s->passes[at];
}

static void add_pass(routed_pass *p, const cJSON *entry) {
    const cJSON *shares = cJSON_GetObjectItemCaseSensitive(entry, "share"), *share;
    const cJSON *entropy = cJSON_GetObjectItemCaseSensitive(entry, "entropy");
    const int experts = cJSON_GetArraySize(shares);
    if (experts > p->experts) {
        p->share = xrealloc(p->share, (size_t)experts * sizeof *p->share);
        for (int e = p->experts; e < experts; e++) p->share[e] = 0;
        p->experts = experts;
    }
    int e = 0;
    cJSON_ArrayForEach(share, shares) p->share[e++] += share->valuedouble;
    p->entropy += cJSON_IsNumber(entropy) ? entropy->valuedouble : 0;
    p->steps++;
}

/* How many of the entries before this one are of the same layer, and one. */
static int pass_number(const cJSON *experts, const cJSON *entry, int layer) {
    int number = 1;
    for (const cJSON *e = experts->child; e != entry; e = e->next) {
        const cJSON *other = cJSON_GetObjectItemCaseSensitive(e, "layer");
        number += cJSON_IsNumber(other) && other->valueint == layer;
    }
    return number;
}

void routing_sums_add(routing_sums *s, const cJSON *experts) {
    const cJSON *entry;
    if (!cJSON_IsArray(experts)) return;
    cJSON_ArrayForEach(entry, experts) {
        const cJSON *layer = cJSON_GetObjectItemCaseSensitive(entry, "layer");
        if (!cJSON_IsNumber(layer)) continue;
        const int pass = pass_number(experts, entry, layer->valueint);
        routed_pass *p = find(s, layer->valueint, pass);
        add_pass(p ? p : insert(s, layer->valueint, pass), entry);
    }
}

void routing_sums_free(routing_sums *s) {
    for (int i = 0; i < s->count; i++) free(s->passes[i].share);
    free(s->passes);
    *s = (routing_sums){0};
}
