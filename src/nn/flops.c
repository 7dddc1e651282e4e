#include "nn/model.h"
#include "nn/plan.h"

/* Multiply-adds of one token's MLP of this width. */
static double mlp_products(const model_config *c, int hidden) {
    return (double)c->model_dim * hidden * (c->mlp.activation == ACTIVATION_SWIGLU ? 3 : 2);
}

static double layer_products(const model_config *c, int layer) {
    double d = c->model_dim;
    if (model_config_is_moe(c, layer))
        return model_config_active_experts(c) * mlp_products(c, model_config_expert_hidden(c)) +
               mlp_products(c, model_config_shared_hidden(c)) + d * c->moe.experts;
    double dense = mlp_products(c, model_config_hidden(c));
    if (!c->random_up.layers[layer]) return dense;
    double router = c->random_up.experts > 1 ? d * c->random_up.experts : 0;
    return dense + router + (d + model_config_hidden(c)) * c->random_up.rank;
}

/* Floating-point operations (2 a multiply-add) of one token's forward pass, averaged over a sequence of T tokens: a causal
 * query sees (T + 1) / 2 keys on average. */
double model_forward_flops(const model_config *c, int64_t T) {
    double d = c->model_dim, kv = d / c->attention.heads * c->attention.kv_heads;
    double attention = d * (d + 2 * kv + d) + 2 * d * ((double)T + 1) / 2;
    double total = d * c->vocab_size;
    if (c->stem.bigram_buckets > 0) total += d * c->stem.bigram_dim;
    if (c->stem.trigram_buckets > 0) total += d * c->stem.trigram_dim;
    forward_path path = model_path(c);
    for (int i = 0; i < path.length; i++) total += attention + layer_products(c, path.layer[i]);
    return 2 * total;
}
