/* Whether two configurations compute the same: by a form in which what means nothing has one value. */
#include "formats/family.h"

static gate_kind canonical_gate(const moe_config *m) {
    if (m->gate == GATE_RENORMALIZED && m->top_k > 1) return GATE_NORMALIZED;
    if (m->gate == GATE_RENORMALIZED || m->gate == GATE_SOFT) return GATE_PROBABILITY;
    if (m->gate == GATE_STRAIGHT_THROUGH) return GATE_NORMALIZED;
    return m->gate;
}

/* Nothing of mixtures means anything where there are none. */
static void canonical_mixture(model_config *to, const model_config *from) {
    const model_config base = family_base();
    to->moe = base.moe;
    if (!model_config_has_moe(from)) return;
    to->moe.experts = from->moe.experts;
    to->moe.top_k = model_config_active_experts(from);
    to->moe.gate = canonical_gate(&from->moe);
    to->moe.expert_hidden = model_config_expert_hidden(from);
    to->moe.shared_hidden = model_config_shared_hidden(from);
    to->moe.shared_gate = from->moe.shared_gate && to->moe.shared_hidden > 0;
    for (int i = 0; i < from->num_layers; i++) to->moe.layers[i] = model_config_is_moe(from, i);
}

/* Only what the scaling reads means anything. */
static void canonical_rotary(rotary_config *to, const rotary_config *base) {
    const bool low_high = to->scaling == ROTARY_LLAMA3, betas = to->scaling == ROTARY_YARN;
    if (to->scaling == ROTARY_UNSCALED) to->factor = base->factor;
    if (!low_high && !betas) to->original_context = base->original_context;
    if (!low_high) {
        to->low_freq_factor = base->low_freq_factor;
        to->high_freq_factor = base->high_freq_factor;
    }
    if (!betas) {
        to->beta_fast = base->beta_fast;
        to->beta_slow = base->beta_slow;
        to->attention_factor = base->attention_factor;
    }
}

/* Nor anything of hashes. */
static void canonical_stem(stem_config *to, const stem_config *base) {
    if (to->bigram_buckets == 0) to->bigram_dim = base->bigram_dim;
    if (to->bigram_buckets == 0) to->bigram_hash = base->bigram_hash;
    if (to->trigram_buckets == 0) to->trigram_dim = base->trigram_dim;
    if (to->bigram_buckets > 0 || to->trigram_buckets > 0) return;
    to->hash_projection = base->hash_projection;
    to->hash_scale = base->hash_scale;
}

static bool has_dense_layers(const model_config *c) {
    for (int i = 0; i < c->num_layers; i++)
        if (!model_config_is_moe(c, i) && !c->random_up.layers[i]) return true;
    return false;
}

model_config config_canonical(const model_config *c) {
    const model_config base = family_base();
    model_config to = *c;
    to.attention.head_dim = model_config_head_dim(c);
    to.attention.within_document = base.attention.within_document;
    to.rotary.dims = c->rotary.dims ? c->rotary.dims : to.attention.head_dim;
    to.rotary.style = base.rotary.style;
    canonical_stem(&to.stem, &base.stem);
    canonical_rotary(&to.rotary, &base.rotary);
    to.mlp.mult = base.mlp.mult;
    to.mlp.hidden = has_dense_layers(c) ? model_config_hidden(c) : 0;
    to.init = base.init;
    canonical_mixture(&to, c);
    if (c->loop.extra_passes == 0 || !c->loop.on) to.loop = base.loop;
    if (c->residual.parallel_start_layer >= c->num_layers) to.residual.parallel_start_layer = c->num_layers;
    if (!c->residual.unet) to.residual.gated_skips = base.residual.gated_skips;
    return to;
}

status config_same(const model_config *wanted, const model_config *found, const char *what) {
    const model_config a = config_canonical(wanted), b = config_canonical(found);
    cJSON *x = model_config_to_json(&a), *y = model_config_to_json(&b);
    status s = STATUS_OK;
    for (const cJSON *i = x->child, *j = y->child; i && j && s == STATUS_OK; i = i->next, j = j->next) {
        if (cJSON_Compare(i, j, true)) continue;
        char *expected = cJSON_PrintUnformatted(j), *is = cJSON_PrintUnformatted(i);
        s = fail("%s: %s: expected %s, found %s", what, i->string, expected, is);
        cJSON_free(expected);
        cJSON_free(is);
    }
    cJSON_Delete(x);
    cJSON_Delete(y);
    return s;
}
