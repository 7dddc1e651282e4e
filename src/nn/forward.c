/* The forward pass, as calls of ops, and what is run with it. */
#include "nn/forward.h"
#include "nn/plan.h"

#include <math.h>

/* ---- a block ---- */

/* Remember the last token's first channels for the next call's SmearGate. */
static void keep_carry(model *m, const var *x, const layout *l, int64_t width, void *carry) {
    size_t act = dtype_bytes(m->k->act), row = (size_t)tensor_cols(&x->value) * act;
    for (int64_t b = 0; b < l->batch; b++)
        m->k->copy((char *)carry + (size_t)(b * width) * act,
                   (const char *)x->value.data + (size_t)((b + 1) * l->length - 1) * row, (size_t)width * act);
}

var *model_smear(model *m, var *x, param *w, const layout *l, void *carry) {
    if (!x || !w) return x;
    var *smeared = op_smear(m->tape, x, w, l, l->offset > 0 ? carry : NULL);
    if (carry) keep_carry(m, x, l, param_count(w), carry);
    return smeared;
}

/* The block's input: mixed with the embedding, and smeared over the previous token. */
static var *block_input(model *m, const block *p, var *x, var *x0, const layout *l, pass_cache *cache) {
    var *mixed = op_mix(m->tape, x, x0, p->resid_mix);
    return model_smear(m, mixed, p->smear_w, l, cache ? cache->carry : NULL);
}

static var *attention(model *m, const block *p, var *n, const layout *l, pass_cache *cache) {
    const model_config *c = &m->config;
    tape *t = m->tape;
    layout within = *l;
    if (!c->attention.within_document) within.first = NULL;
    int rotated = c->rotary.dims > 0 ? c->rotary.dims : c->model_dim / c->attention.heads;
    var *q = op_linear(t, n, p->c_q), *k = op_linear(t, n, p->c_k), *v = op_linear(t, n, p->c_v);
    q = op_head_norm_rope(t, q, p->q_gain, l, c->attention.heads, rotated, c->rotary.base);
    k = op_head_norm_rope(t, k, NULL, l, c->attention.kv_heads, rotated, c->rotary.base);
    var *y =
        op_attention(t, q, k, v, &within, c->attention.heads, c->attention.kv_heads, cache ? &cache->attention : NULL);
    if (c->attention.xsa) y = op_xsa(t, y, v, c->attention.heads, c->attention.kv_heads);
    return op_linear(t, y, p->proj);
}

static var *run_block(model *m, int layer, var *x, var *x0, const layout *l, pass_cache *cache,
                      const routing_pass *pass) {
    const model_config *c = &m->config;
    const block *p = &m->scratch->blocks[layer];
    tape *t = m->tape;
    float scale = c->norm.depth_scaled ? 1 / sqrtf((float)layer + 1) : 1;
    var *x_in = block_input(m, p, x, x0, l, cache);
    var *n = op_rms_norm(t, x_in, scale);
    var *x_mid = op_scale_add(t, x_in, attention(m, p, n, l, cache), p->attn_scale);
    /* Parallel: the MLP reads the attention's input; both norms are the same, so it is taken once. */
    if (layer < c->residual.parallel_start_layer) n = op_rms_norm(t, x_mid, scale);
    return op_scale_add(t, x_mid, model_mlp(m, layer, n, pass), p->mlp_scale);
}

/* ---- router losses and noise ---- */

/* A looped layer's router losses count once, in its last pass (as the script's do, which keeps only the newest). */
static bool is_last_pass(const forward_path *path, int i) {
    for (int j = i + 1; j < path->length; j++)
        if (path->layer[j] == path->layer[i]) return false;
    return true;
}

/* 1 for each mixture layer, or 1 / their number where the mean counts. */
static float layer_weight(const model_config *c) {
    int layers = 0;
    for (int layer = 0; layer < c->num_layers; layer++) layers += model_config_is_moe(c, layer);
    return c->moe.aux_mean && layers > 0 ? 1 / (float)layers : 1;
}

/* Noise is a function of the tokens (FNV-1a): a resumed run draws the same without any state to keep. */
static uint64_t noise_seed(const pass_input *in) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (int64_t n = 0; n < in->batch * in->length; n++) hash = (hash ^ (uint32_t)in->ids[n]) * 0x100000001b3u;
    return hash;
}

/* ---- the whole ---- */

static var *add_hash(model *m, var *x, const hash_embedding *h, int64_t N) {
    if (!h->table) return x;
    var *z = op_embed(m->tape, h->table, h->ids, N);
    if (h->proj) z = op_linear(m->tape, z, h->proj);
    return h->scale ? op_scalar_add(m->tape, x, z, h->scale) : op_add(m->tape, x, z);
}

/* rms_norm(embedding + hashes), smeared */
static var *stem(model *m, const pass_input *in, const layout *l) {
    struct model_scratch *s = m->scratch;
    int64_t N = in->batch * in->length;
    var *x = op_embed(m->tape, s->tok_emb, s->ids, N);
    x = add_hash(m, x, &s->bigram, N);
    x = add_hash(m, x, &s->trigram, N);
    x = op_rms_norm(m->tape, x, 1);
    return model_smear(m, x, s->smear_gate, l, in->stem ? in->stem->carry : NULL);
}

static var *run_path(model *m, const pass_input *in, const layout *l, var *x0) {
    struct model_scratch *s = m->scratch;
    tape *t = m->tape;
    forward_path path = model_path(&m->config);
    var *skips[MODEL_MAX_PATH], *x = x0;
    int pushed = 0;
    float weight = in->loss_weight * layer_weight(&m->config);
    uint64_t seed = m->config.moe.noise_std > 0 ? noise_seed(in) : 0;
    for (int i = 0; i < path.length; i++) {
        int64_t mark = tape_mark(t);
        routing_pass pass = {.loss_weight = is_last_pass(&path, i) ? weight : 0, .noise_seed = seed + (uint64_t)i};
        if (path.skip[i] >= 0) x = op_skip(t, x, skips[--pushed], s->skip_weights, s->skip_gates, path.skip[i]);
        x = run_block(m, path.layer[i], x, x0, l, in->passes ? &in->passes[i] : NULL, &pass);
        if (path.skip[i] == PATH_PUSH) skips[pushed++] = x;
        tape_release_since(t, mark, x);
    }
    return x;
}

var *model_forward(model *m, const pass_input *in) {
    status ready = model_upload_tokens(m, in);
    if (ready != STATUS_OK) {
        tape_fail(m->tape, ready);
        return NULL;
    }
    layout l = {
        .batch = in->batch, .length = in->length, .offset = in->offset, .first = in->first ? m->scratch->first : NULL};
    m->routing_count = 0;
    m->aux = 0;
    var *x = run_path(m, in, &l, stem(m, in, &l));
    if (in->loss_weight > 0) m->aux /= (double)in->loss_weight;
    return op_rms_norm(m->tape, x, 1);
}

static pass_input input_of(const batch *b, float loss_weight) {
    return (pass_input){
        .batch = b->batch, .length = b->length, .ids = b->input_ids, .first = b->first, .loss_weight = loss_weight};
}

static status forward_and_loss(model *m, const batch *b, float loss_weight, model_loss *loss, float *nll) {
    pass_input in = input_of(b, loss_weight);
    var *x = model_forward(m, &in);
    TRY(tape_status(m->tape));
    m->k->upload(m->scratch->targets, b->target_ids, (size_t)(b->batch * b->length) * sizeof(int32_t));
    TRY(op_cross_entropy(m->tape, x, m->scratch->head, m->scratch->targets, m->config.head.softcap, loss_weight,
                         &loss->ce, nll));
    loss->aux = m->aux;
    return tape_status(m->tape);
}

status model_train_step(model *m, const batch *b, float loss_weight, model_loss *loss) {
    tape_reset(m->tape, true);
    TRY(forward_and_loss(m, b, loss_weight, loss, NULL));
    tape_backward(m->tape);
    return tape_status(m->tape);
}

status model_evaluate(model *m, const batch *b, model_loss *loss, float *nll) {
    tape_reset(m->tape, false);
    return forward_and_loss(m, b, 1, loss, nll);
}

status model_logits(model *m, const batch *b, float *logits) {
    tape_reset(m->tape, false);
    pass_input in = input_of(b, 1);
    var *x = model_forward(m, &in);
    TRY(tape_status(m->tape));
    return op_logits(m->tape, x, m->scratch->head, m->config.head.softcap, logits);
}

/* Hidden states go through the head as well, so that it is observed like every other product. */
status model_observe(model *m, const batch *b, tape_observer observer, void *context) {
    tape_reset(m->tape, false);
    tape_observe(m->tape, observer, context);
    pass_input in = input_of(b, 1);
    var *x = model_forward(m, &in);
    if (x) tape_notify(m->tape, m->scratch->head, x->value.data, tensor_rows(&x->value), tensor_cols(&x->value));
    tape_observe(m->tape, NULL, NULL);
    return tape_status(m->tape);
}
