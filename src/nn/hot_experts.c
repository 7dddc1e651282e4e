#include "nn/hot_experts.h"

#include "base/memory.h"
#include "kernel/weight_room.h"
#include "nn/packed.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { MATRICES = 2, BLOCK_BYTES = 1 << 16 /* what is larger, as matrices are, has a block of its own */ };

/* Room for one expert. */
typedef struct hot_slot {
    weight_room *room;
    int expert; /* that is there; −1: none */
    bool whole; /* all of it */
    uint64_t used;
} hot_slot;

typedef struct hot_layer {
    hot_experts *all;
    expert_residency residency;
    param *(*matrices)[MATRICES]; /* [E]; NULL: a layer without experts */
    hot_slot *slots;              /* [most] */
} hot_layer;

struct hot_experts {
    const kernels *k;
    model_use use;
    weight_source source;
    int most, experts, layer_count;
    hot_layer *layers;
    pthread_mutex_t lock; /* of all that follows, and of the experts' matrices */
    uint64_t now;
    atomic_llong hits, misses;
    void *owner;
    void (*close)(void *owner);
};

/* ---- coming and going ---- */

static int slot_of(const hot_layer *l, int expert) {
    for (int i = 0; i < l->all->most; i++)
        if (l->slots[i].expert == expert) return i;
    return -1;
}

/* An empty one, or the one whose expert is not wanted and was not for the longest time. */
static hot_slot *free_slot(const hot_layer *l, const bool *wanted) {
    hot_slot *best = NULL;
    for (int i = 0; i < l->all->most; i++) {
        hot_slot *s = &l->slots[i];
        if (s->expert >= 0 && wanted[s->expert]) continue;
        if (!best || s->expert < 0 || (best->expert >= 0 && s->used < best->used)) best = s;
    }
    return best;
}

static void empty(hot_layer *l, hot_slot *s) {
    for (int i = 0; s->expert >= 0 && i < MATRICES; i++) {
        param *p = l->matrices[s->expert][i];
        const int64_t rows = p->value.shape[0], cols = p->value.shape[1];
        l->all->k->weight_destroy(&p->matrix);
        p->matrix = (weight){.rows = rows, .cols = cols};
        p->room = NULL;
    }
    s->expert = -1;
    weight_room_empty(s->room);
}

static status load(hot_layer *l, hot_slot *s, int expert) {
    const hot_experts *h = l->all;
    status result = STATUS_OK;
    empty(l, s);
    s->expert = expert;
    s->whole = false;
    for (int i = 0; i < MATRICES && result == STATUS_OK; i++) {
        param *p = l->matrices[expert][i];
        p->room = s->room;
        result = model_use_packs(h->use) ? packed_fill(&h->source, p, h->k, h->use)
                                         : weight_source_fill_param(&h->source, p, h->k);
    }
    s->whole = result == STATUS_OK;
    if (result != STATUS_OK) empty(l, s);
    return result;
}

typedef struct bringing {
    hot_layer *l;
    const bool *wanted;
    void (*products)(void *job);
    void *job;
} bringing;

static status bring(const bringing *b) {
    hot_layer *l = b->l;
    const bool *wanted = b->wanted;
    hot_experts *h = l->all;
    h->now++;
    for (int e = 0; e < h->experts; e++) {
        if (!wanted[e]) continue;
        const int found = slot_of(l, e);
        hot_slot *s = found >= 0 ? &l->slots[found] : free_slot(l, wanted);
        atomic_fetch_add(found >= 0 ? &h->hits : &h->misses, 1);
        if (found < 0) TRY(load(l, s, e));
        s->used = h->now;
    }
    return STATUS_OK;
}

static status bring_and_run(void *context) {
    const bringing *b = context;
    TRY(bring(b));
    b->products(b->job);
    return STATUS_OK;
}

/* Who gives up for want of memory leaves neither the lock nor a part of an expert. */
static status with(void *context, const bool *wanted, void (*products)(void *job), void *job) {
    hot_layer *l = context;
    bringing b = {l, wanted, products, job};
    pthread_mutex_lock(&l->all->lock);
    const status s = memory_guarded(bring_and_run, &b);
    for (int i = 0; s != STATUS_OK && i < l->all->most; i++)
        if (l->slots[i].expert >= 0 && !l->slots[i].whole) empty(l, &l->slots[i]);
    pthread_mutex_unlock(&l->all->lock);
    return s;
}

/* ---- life ---- */

static void find_matrices(hot_layer *l, const model *m, int layer) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->layer != layer || p->expert < 0 || !p->is_matrix) continue;
        if (!l->matrices) l->matrices = xcalloc((size_t)l->all->experts, sizeof *l->matrices);
        l->matrices[p->expert][p->role == ROLE_EXPERT_PROJ] = p;
    }
}

static status create_layer(hot_layer *l, hot_experts *h, const model *m, int layer) {
    *l = (hot_layer){.all = h, .residency = {.most = h->most, .with = with, .context = l}};
    find_matrices(l, m, layer);
    if (!l->matrices) return STATUS_OK;
    l->slots = xcalloc((size_t)h->most, sizeof *l->slots);
    for (int i = 0; i < h->most; i++) {
        l->slots[i].expert = -1;
        TRY(weight_room_create(&l->slots[i].room, h->k, BLOCK_BYTES, true));
    }
    return STATUS_OK;
}

static status create(model *m, const weight_source *source, int most) {
    hot_experts *h = m->hot = xcalloc(1, sizeof *h);
    const int experts = m->config.moe.experts;
    h->k = m->k;
    h->use = m->use;
    h->source = *source;
    h->experts = experts;
    h->most = most < experts ? most : experts;
    h->layer_count = m->config.num_layers;
    h->layers = xcalloc((size_t)h->layer_count, sizeof *h->layers);
    pthread_mutex_init(&h->lock, NULL);
    for (int i = 0; i < h->layer_count; i++) TRY(create_layer(&h->layers[i], h, m, i));
    return STATUS_OK;
}

status model_create_hot(model **out, const weight_source *source, const kernels *k, model_use use, int most) {
    model *m;
    if (!model_config_has_moe(&source->config)) return fail("expected a model with experts, found a dense one");
    TRY(model_create(&m, &source->config, k, use));
    status s = create(m, source, most);
    if (s == STATUS_OK) s = weight_source_fill(source, m);
    if (s == STATUS_OK)
        *out = m;
    else
        model_destroy(m);
    return s;
}

void hot_experts_keep(model *m, void *owner, void (*close)(void *owner)) {
    m->hot->owner = owner;
    m->hot->close = close;
}

void hot_experts_destroy(hot_experts *h) {
    if (!h) return;
    for (int i = 0; i < h->layer_count; i++) {
        hot_layer *l = &h->layers[i];
        for (int j = 0; l->slots && j < h->most; j++) {
            if (l->slots[j].room) empty(l, &l->slots[j]);
            weight_room_destroy(l->slots[j].room);
        }
        free(l->slots);
        free(l->matrices);
    }
    if (h->close) h->close(h->owner);
    pthread_mutex_destroy(&h->lock);
    free(h->layers);
    free(h);
}

/* ---- asking ---- */

void hot_experts_read(const model *m, hot_experts_statistics *out) {
    *out = (hot_experts_statistics){0};
    if (m->hot)
        *out = (hot_experts_statistics){
            .most = m->hot->most, .hits = atomic_load(&m->hot->hits), .misses = atomic_load(&m->hot->misses)};
}

const expert_residency *hot_experts_of(const model *m, int layer) {
    return m->hot && m->hot->layers[layer].matrices ? &m->hot->layers[layer].residency : NULL;
}

bool hot_experts_has(const model *m, const param *p) {
    return m->hot && p->expert >= 0 && p->is_matrix;
}
