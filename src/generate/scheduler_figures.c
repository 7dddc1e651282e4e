/* What a scheduler counts: latencies, and which experts tokens go to. */
#include "generate/scheduler_state.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const double latency_bounds[LATENCY_BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, INFINITY};

void latency_add(latency_histogram *h, double seconds) {
    int bucket = 0;
    while (bucket < LATENCY_BUCKETS - 1 && seconds > latency_bounds[bucket]) bucket++;
    h->counts[bucket]++;
    h->total++;
    h->sum += seconds;
}

/* ---- which layers have routers ---- */

static void find_routers(scheduler *s) {
    const model_config *config = &s->m->config;
    const forward_path path = model_path(config);
    for (int i = 0; i < config->num_layers; i++) {
        s->route_layers[i] = -1;
        if (model_plan(config, i).mlp.kind != MLP_EXPERTS) continue;
        s->route_layers[i] = s->traffic.layers;
        s->traffic.layer[s->traffic.layers++] = i;
    }
    for (int i = 0; i < path.length; i++) s->path_routed += s->route_layers[path.layer[i]] >= 0;
    s->traffic.experts = s->traffic.layers > 0 ? config->moe.experts : 0;
}

static size_t traffic_cells(const scheduler *s) {
    return (size_t)(s->traffic.layers * s->traffic.experts);
}

status figures_create(scheduler *s) {
    find_routers(s);
    const size_t rows = s->drafts ? 1 + DRAFT_MOST : 1;
    const size_t routes = rows * (size_t)s->path_routed, pairs = routes * (size_t)s->traffic.experts;
    s->traffic.counts = xcalloc(traffic_cells(s) + 1, sizeof *s->traffic.counts);
    s->step_counts = xcalloc(traffic_cells(s) + 1, sizeof *s->step_counts);
    s->figures = (scheduler_statistics){.slots = s->o.slots, .queue = s->o.queue};
    for (int i = 0; i < s->o.slots && routes > 0; i++) {
        s->slots[i].routes = xcalloc(routes, sizeof *s->slots[i].routes);
        s->slots[i].experts = xmalloc(pairs * sizeof *s->slots[i].experts);
        s->slots[i].gates = xmalloc(pairs * sizeof *s->slots[i].gates);
    }
    return STATUS_OK;
}

void figures_free(scheduler *s) {
    for (int i = 0; s->slots && i < s->o.slots; i++) {
        free(s->slots[i].routes);
        free(s->slots[i].experts);
        free(s->slots[i].gates);
    }
    free(s->traffic.counts);
    free(s->step_counts);
}

/* ---- what a pass shows ---- */

/* The choice of row n becomes the next route of the slot's row. */
static void keep_route(const scheduler *s, slot *one, int64_t row, int layer, int pass, const moe_choice *c,
                       int64_t n) {
    const int64_t place = row * s->path_routed + one->route_count;
    const size_t at = (size_t)(place * s->traffic.experts);
    token_route *r = &one->routes[place];
    *r = (token_route){.layer = layer, .pass = pass, .experts = one->experts + at, .gates = one->gates + at};
    for (int j = 0; j < c->k; j++) {
        if (c->chosen[n * c->k + j] < 0) continue;
        one->experts[at + (size_t)r->count] = c->chosen[n * c->k + j];
        one->gates[at + (size_t)r->count++] = c->gates[n * c->k + j];
    }
}

static void count_choices(scheduler *s, int layer, const moe_choice *choice, int64_t from, int64_t to) {
    int64_t *counts = s->step_counts + s->route_layers[layer] * s->traffic.experts;
    for (int64_t i = from * choice->k; i < to * choice->k; i++)
        if (choice->chosen[i] >= 0) counts[choice->chosen[i]]++;
}

void figures_see_routing(void *context, int layer, int pass, const moe_choice *choice) {
    scheduler *s = context;
    for (int64_t i = 0; i < s->step.count; i++) {
        slot *one = &s->slots[s->step.spans[i].sequence];
        const int64_t end = s->step.starts[i + 1], logits = s->step.spans[i].logits, first = end - logits;
        /* what is proposed counts when it is drawn */
        count_choices(s, layer, choice, s->step.starts[i] + s->step.counted[i], logits > 0 ? first + 1 : end);
        for (int64_t row = 0; row < logits; row++)
            if (row > 0 || one->j->r.routing) keep_route(s, one, row, layer, pass, choice, first + row);
        one->route_count += logits > 0;
    }
}

void figures_see_cache(scheduler *s) {
    const kv_cache_blocks blocks = kv_cache_count(s->cache);
    cache_figures *f = &s->figures.cache;
    f->block_tokens = blocks.tokens;
    f->blocks = blocks.all;
    f->free = blocks.free;
    f->shared = blocks.shared;
    f->used = kv_cache_held(s->cache, 0, s->o.slots);
    f->kept = f->blocks - f->free - f->used;
}

void figures_add_step(scheduler *s, double seconds) {
    for (size_t i = 0; i < traffic_cells(s); i++) s->traffic.counts[i] += s->step_counts[i];
    memset(s->step_counts, 0, traffic_cells(s) * sizeof *s->step_counts);
    s->traffic.tokens += s->step.starts[s->step.count] - s->step.proposed;
    for (int64_t i = 0; i < s->step.count; i++) s->traffic.tokens -= s->step.counted[i];
    s->figures.drafts.proposed += s->step.proposed;
    s->figures.steps++;
    s->figures.busy_seconds += seconds;
}

void figures_add_proposed(scheduler *s, const slot *one, int row) {
    const token_route *routes = one->routes + (ptrdiff_t)row * s->path_routed;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < one->route_count; i++) {
        int64_t *counts = s->traffic.counts + s->route_layers[routes[i].layer] * s->traffic.experts;
        for (int j = 0; j < routes[i].count; j++) counts[routes[i].experts[j]]++;
    }
    s->traffic.tokens++;
    s->figures.drafts.accepted++;
    pthread_mutex_unlock(&s->lock);
}

/* ---- who asks ---- */

void scheduler_read(scheduler *s, scheduler_statistics *out) {
    pthread_mutex_lock(&s->lock);
    *out = s->figures;
    out->waiting = s->waiting;
    pthread_mutex_unlock(&s->lock);
}

void scheduler_traffic_read(scheduler *s, scheduler_traffic *out) {
    int64_t *counts = xmalloc((traffic_cells(s) + 1) * sizeof *counts);
    pthread_mutex_lock(&s->lock);
    *out = s->traffic;
    memcpy(counts, s->traffic.counts, traffic_cells(s) * sizeof *counts);
    pthread_mutex_unlock(&s->lock);
    out->counts = counts;
}

void scheduler_traffic_reset(scheduler *s) {
    pthread_mutex_lock(&s->lock);
    memset(s->traffic.counts, 0, traffic_cells(s) * sizeof *s->traffic.counts);
    s->traffic.tokens = 0;
    pthread_mutex_unlock(&s->lock);
}

status scheduler_traffic_add(scheduler *s, const scheduler_traffic *before) {
    bool same = before->layers == s->traffic.layers && before->experts == s->traffic.experts;
    for (int i = 0; i < s->traffic.layers && same; i++) same = before->layer[i] == s->traffic.layer[i];
    if (!same)
        return fail("traffic: expected counts of %d layers with %d experts, found %d with %d, or other layers",
                    s->traffic.layers, s->traffic.experts, before->layers, before->experts);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < traffic_cells(s); i++) s->traffic.counts[i] += before->counts[i];
    s->traffic.tokens += before->tokens;
    pthread_mutex_unlock(&s->lock);
    return STATUS_OK;
}
