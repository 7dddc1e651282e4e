#include "nn/model.h"

/* Floating-point operations (2 a multiply-add) of one token's forward pass, averaged over a sequence of T tokens: a causal
 * query sees (T + 1) / 2 keys on average. */
double model_forward_flops(const model_config *c, int64_t T) {
    double d = c->model_dim, h = model_config_hidden(c), kv = d / c->num_heads * c->num_kv_heads;
    double attention = 2 * d * (d + 2 * kv + d) + 2 * 2 * d * ((double)T + 1) / 2;
    double mlp = 2 * d * h * (c->activation == ACTIVATION_SWIGLU ? 3 : 2);
    double total = 2 * d * c->vocab_size;
    if (c->bigram_buckets > 0) total += 2 * d * c->bigram_dim;
    forward_path path = model_config_path(c);
    for (int i = 0; i < path.length; i++) {
        bool moe = c->moe_layers[path.layer[i]];
        total += attention + (moe ? c->moe_top_k * mlp + 2 * d * c->moe_num_experts : mlp);
    }
    return total;
}
