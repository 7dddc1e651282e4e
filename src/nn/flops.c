#include "nn/model.h"
#include "nn/plan.h"

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

/* Floating-point operations (2 a multiply-add) of one token's forward pass, averaged over a sequence of T tokens. */
double model_forward_flops(const model_config *c, int64_t T) {
    int64_t d = c->model_dim;
    double total = (double)d * c->vocab_size;
    if (c->stem.bigram_buckets > 0) total += (double)d * c->stem.bigram_dim;
    if (c->stem.trigram_buckets > 0) total += (double)d * c->stem.trigram_dim;
    forward_path path = model_path(c);
    for (int i = 0; i < path.length; i++) {
        layer_plan p = model_plan(c, path.layer[i]);
        total += attention_products(&p.attention, d, T) + layer_products(&p.mlp, d);
    }
    return 2 * total;
}
