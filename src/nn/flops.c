#include "nn/model.h"
#include "nn/plan.h"
#include <math.h>

/* Multiply-adds of one token's MLP. */
static double mlp_products(int64_t d, activation f, int64_t hidden) {
    return (double)d * (double)(fc_rows(f, hidden) + hidden);
}

static double layer_products(const mlp_plan *p, int64_t d) {
    double one = mlp_products(d, p->activation, p->hidden);
    switch (p->kind) {
    case MLP_EXPERTS:
        return p->active * one + mlp_products(d, p->activation, p->shared_hidden) + (double)d * p->experts;
    case MLP_RANDOM_UP:
        return one + (p->chunks > 1 ? (double)d * p->chunks : 0) + (double)((d + p->hidden) * p->rank);
    default:
        return one;
    }
}

/* A causal query sees (T + 1) / 2 keys on average. */
static double attention_products(const attention_plan *p, int64_t d, int64_t T) {
    return (double)d * (double)(2 * p->q_width + 2 * p->kv_width) + 2 * (double)p->q_width * ((double)T + 1) / 2;
}

layer_flops model_layer_flops(const model_config *c, int layer, int64_t T) {
    const layer_plan p = model_plan(c, layer);
    return (layer_flops){.attention = 2 * attention_products(&p.attention, c->model_dim, T),
                         .mlp = 2 * layer_products(&p.mlp, c->model_dim)};
}

/* Gram–Schmidt of d columns, each against half of them on average, twice (random_up.c). */
double model_derive_flops(const model_config *c) {
    const double d = c->model_dim, h = model_config_hidden(c), E = c->random_up.experts;
    double total = 0;
    for (int layer = 0; layer < c->num_layers; layer++)
        if (c->random_up.layers[layer]) total += E * 4 * d * d * fmax(d, h / E);
    return total;
}

double model_ends_flops(const model_config *c) {
    double total = (double)c->model_dim * c->vocab_size;
    if (model_config_hash_is_projected(c, c->stem.bigram_buckets, c->stem.bigram_dim))
        total += (double)c->model_dim * c->stem.bigram_dim;
    if (model_config_hash_is_projected(c, c->stem.trigram_buckets, c->stem.trigram_dim))
        total += (double)c->model_dim * c->stem.trigram_dim;
    return 2 * total;
}

double model_forward_flops(const model_config *c, int64_t T) {
    double total = model_ends_flops(c);
    const forward_path path = model_path(c);
    for (int i = 0; i < path.length; i++) {
        const layer_flops f = model_layer_flops(c, path.layer[i], T);
        total += f.attention + f.mlp;
    }
    return total;
}
