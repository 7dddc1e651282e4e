#include "nn/model.h"

/* Multiply-adds of one token's MLP of this width. */
static double mlp_products(const model_config *c, int hidden) {
    return (double)c->model_dim * hidden * (c->activation == ACTIVATION_SWIGLU ? 3 : 2);
}

static double layer_products(const model_config *c, int layer) {
    double d = c->model_dim;
    if (model_config_is_moe(c, layer))
        return model_config_active_experts(c) * mlp_products(c, model_config_expert_hidden(c)) +
               mlp_products(c, model_config_shared_hidden(c)) + d * c->moe_num_experts;
    double dense = mlp_products(c, model_config_hidden(c));
    if (!c->random_up_layers[layer]) return dense;
    double router = c->random_up_experts > 1 ? d * c->random_up_experts : 0;
    return dense + router + (d + model_config_hidden(c)) * c->random_up_rank;
}

/* Floating-point operations (2 a multiply-add) of one token's forward pass, averaged over a sequence of T tokens: a causal
 * query sees (T + 1) / 2 keys on average. */
double model_forward_flops(const model_config *c, int64_t T) {
    double d = c->model_dim, kv = d / c->num_heads * c->num_kv_heads;
    double attention = d * (d + 2 * kv + d) + 2 * d * ((double)T + 1) / 2;
    double total = d * c->vocab_size;
    if (c->bigram_buckets > 0) total += d * c->bigram_dim;
    if (c->trigram_buckets > 0) total += d * c->trigram_dim;
    forward_path path = model_config_path(c);
    for (int i = 0; i < path.length; i++) total += attention + layer_products(c, path.layer[i]);
    return 2 * total;
}
