/* Any bytes as a recipe: no crash, what is refused says why, and what was understood asks for nothing that quantisers refuse. */
#include "store/pack_recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static model *small_model(void) {
    static model *m;
    if (m) return m;
    model_config c = model_config_default();
    c.vocab_size = 64;
    c.num_layers = 3;
    c.residual.parallel_start_layer = 3;
    c.model_dim = 16;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.mlp.mult = 2;
    c.rotary.dims = 4;
    c.loop.extra_passes = 0;
    c.stem.bigram_buckets = 0;
    c.moe.layers[1] = true;
    if (model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_VALUES) != STATUS_OK) {
        fprintf(stderr, "%s\n", error_message());
        abort();
    }
    return m;
}

static void check(const tensor_plan *t, const param *p) {
    if (t->given_rate > 0 && t->given_bits > 0) abort();
    if (t->given_rate != 0 && !(t->given_rate >= RATE_LEAST && t->given_rate <= RATE_MOST)) abort();
    if (t->given_bits != 0 && !(t->given_bits >= RATE_LEAST && t->given_bits <= RATE_MOST)) abort();
    if (t->quantizer < 0 || t->quantizer >= QUANTIZERS) abort();
    if (t->most_rank < 0 || t->most_rank > 1024 || t->rank_bits < 2 || t->rank_bits > 8) abort();
    if (t->floats || !p->is_matrix) return;
    if ((t->group || t->asymmetric) && !quantizer_has_groups(t->quantizer)) abort();
    if (t->group && (t->group < 2 || tensor_cols(&p->value) % t->group != 0)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    const model *m = small_model();
    pack_plan plan = pack_plan_create(m, QUANTIZER_TRELLIS, 64);
    if (pack_recipe_apply(&plan, m, "fuzz", (const char *)bytes, count) == STATUS_OK) {
        for (int i = 0; i < plan.count; i++) check(&plan.tensors[i], m->params[i]);
    } else if (!strstr(error_message(), "fuzz")) {
        abort();
    }
    pack_plan_free(&plan);
    return 0;
}
