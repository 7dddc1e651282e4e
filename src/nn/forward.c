/* The forward pass of #2102's backbone, as calls of ops, and what is run with it. */
#include "nn/forward.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

/* ---- tokens to the device ---- */

static status reserve(model *m, int64_t count) {
    struct model_scratch *s = m->scratch;
    if (count <= s->capacity) return STATUS_OK;
    int32_t **arrays[] = {&s->ids, &s->bigram_ids, &s->targets, &s->first};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        m->k->release(*arrays[i]);
        *arrays[i] = NULL;
        TRY(m->k->alloc((void **)arrays[i], (size_t)count * sizeof(int32_t)));
    }
    s->host = xrealloc(s->host, (size_t)count * sizeof(int32_t));
    s->capacity = count;
    return STATUS_OK;
}

/* BigramHash (#2102): (31 · previous + current) mod buckets; a document's first token has previous 0. */
static void hash_bigrams(int32_t *out, const pass_input *in, int buckets) {
    for (int64_t b = 0; b < in->batch; b++) {
        for (int64_t t = 0; t < in->length; t++) {
            int64_t n = b * in->length + t;
            bool starts = in->first && in->first[n] == t;
            int64_t previous = t > 0 ? in->ids[n - 1] : in->previous ? in->previous[b] : 0;
            out[n] = (int32_t)((31 * (starts ? 0 : previous) + in->ids[n]) % buckets);
        }
    }
}

static status upload_ids(model *m, const pass_input *in) {
    struct model_scratch *s = m->scratch;
    int64_t N = in->batch * in->length;
    size_t bytes = (size_t)N * sizeof(int32_t);
    TRY(reserve(m, N));
    for (int64_t n = 0; n < N; n++)
        if (in->ids[n] < 0 || in->ids[n] >= m->config.vocab_size)
            return fail("token %lld of the batch: id %d is beyond the vocabulary of %d", (long long)n, in->ids[n],
                        m->config.vocab_size);
    m->k->upload(s->ids, in->ids, bytes);
    if (in->first) m->k->upload(s->first, in->first, bytes);
    if (m->config.bigram_buckets > 0) {
        hash_bigrams(s->host, in, m->config.bigram_buckets);
        m->k->upload(s->bigram_ids, s->host, bytes);
    }
    return STATUS_OK;
}

/* ---- a block ---- */

/* Remember the last token's first channels for the next call's SmearGate. */
static void keep_carry(model *m, const var *x, const layout *l, void *carry) {
    size_t act = dtype_bytes(m->k->act), row = (size_t)m->config.model_dim * act;
    size_t width = (size_t)m->config.smear_width * act;
    for (int64_t b = 0; b < l->batch; b++)
        m->k->copy((char *)carry + (size_t)b * width,
                   (const char *)x->value.data + (size_t)((b + 1) * l->length - 1) * row, width);
}

/* The block's input: mixed with the embedding, and smeared over the previous token. */
static var *block_input(model *m, const block *p, var *x, var *x0, const layout *l, pass_cache *cache) {
    var *mixed = op_mix(m->tape, x, x0, p->resid_mix);
    if (!mixed || !p->smear_w) return mixed;
    bool continues = cache && l->offset > 0;
    var *smeared = op_smear(m->tape, mixed, p->smear_w, l, continues ? cache->carry : NULL);
    if (cache) keep_carry(m, mixed, l, cache->carry);
    return smeared;
}

static var *attention(model *m, const block *p, var *n, const layout *l, pass_cache *cache) {
    const model_config *c = &m->config;
    tape *t = m->tape;
    layout within = *l;
    if (!c->document_attention) within.first = NULL;
    var *q = op_linear(t, n, p->c_q), *k = op_linear(t, n, p->c_k), *v = op_linear(t, n, p->c_v);
    q = op_head_norm_rope(t, q, p->q_gain, l, c->num_heads, c->rope_dims, c->rope_base);
    k = op_head_norm_rope(t, k, NULL, l, c->num_kv_heads, c->rope_dims, c->rope_base);
    var *y = op_attention(t, q, k, v, &within, c->num_heads, c->num_kv_heads, cache ? &cache->attention : NULL);
    if (c->xsa) y = op_xsa(t, y, v, c->num_heads, c->num_kv_heads);
    return op_linear(t, y, p->proj);
}

static var *mlp_or_experts(model *m, const block *p, var *n, int layer, float aux_weight) {
    const model_config *c = &m->config;
    if (!p->router) return op_mlp(m->tape, n, p->mlp_fc, p->mlp_proj, c->activation);
    moe_args args = {.experts = c->moe_num_experts,
                     .top_k = c->moe_top_k,
                     .gate = c->moe_top_k == 1 ? GATE_PROBABILITY : GATE_RENORMALIZED,
                     .f = c->activation,
                     .aux_weight = aux_weight};
    m->routing_layer[m->routing_count] = layer;
    return op_moe(m->tape, n, p->router, p->experts_fc, p->experts_proj, &args, &m->routing[m->routing_count++]);
}

static var *run_block(model *m, int layer, var *x, var *x0, const layout *l, pass_cache *cache, float aux_weight) {
    const model_config *c = &m->config;
    const block *p = &m->scratch->blocks[layer];
    tape *t = m->tape;
    float scale = c->ln_scale ? 1 / sqrtf((float)layer + 1) : 1;
    var *x_in = block_input(m, p, x, x0, l, cache);
    var *n = op_rms_norm(t, x_in, scale);
    var *x_mid = op_scale_add(t, x_in, attention(m, p, n, l, cache), p->attn_scale);
    /* Parallel: the MLP reads the attention's input; both norms are the same, so it is taken once. */
    if (layer < c->parallel_start_layer) n = op_rms_norm(t, x_mid, scale);
    return op_scale_add(t, x_mid, mlp_or_experts(m, p, n, layer, aux_weight), p->mlp_scale);
}

/* ---- the whole ---- */

/* A looped layer's balance loss counts once, in its last pass (as the script's does, which keeps only the newest). */
static bool is_last_pass(const forward_path *path, int i) {
    for (int j = i + 1; j < path->length; j++)
        if (path->layer[j] == path->layer[i]) return false;
    return true;
}

static var *embed(model *m, int64_t N) {
    struct model_scratch *s = m->scratch;
    var *x = op_embed(m->tape, s->tok_emb, s->ids, N);
    if (s->bigram_emb)
        x = op_add(m->tape, x, op_linear(m->tape, op_embed(m->tape, s->bigram_emb, s->bigram_ids, N), s->bigram_proj));
    return op_rms_norm(m->tape, x, 1);
}

var *model_forward(model *m, const pass_input *in) {
    struct model_scratch *s = m->scratch;
    tape *t = m->tape;
    status ready = upload_ids(m, in);
    if (ready != STATUS_OK) {
        tape_fail(t, ready);
        return NULL;
    }
    layout l = {.batch = in->batch, .length = in->length, .offset = in->offset, .first = in->first ? s->first : NULL};
    forward_path path = model_config_path(&m->config);
    var *skips[MODEL_MAX_PATH];
    int pushed = 0, skip_rows = model_config_skips(&m->config);
    m->routing_count = 0;
    m->aux = 0;
    var *x0 = embed(m, in->batch * in->length), *x = x0;
    for (int i = 0; i < path.length; i++) {
        int64_t mark = tape_mark(t);
        int row = i - path.encoder; /* of the decoder's pass, which takes the newest skip that is left */
        if (row >= 0 && row < skip_rows && pushed > 0)
            x = op_skip(t, x, skips[--pushed], s->skip_weights, s->skip_gates, row);
        float aux_weight = is_last_pass(&path, i) ? m->config.moe_aux_weight : 0;
        int routed = m->routing_count;
        x = run_block(m, path.layer[i], x, x0, &l, in->passes ? &in->passes[i] : NULL, aux_weight * in->loss_weight);
        if (m->routing_count > routed) m->aux += aux_weight * m->routing[routed].aux;
        if (row < 0) skips[pushed++] = x;
        tape_release_since(t, mark, x);
    }
    return op_rms_norm(t, x, 1);
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
    TRY(op_cross_entropy(m->tape, x, m->scratch->head, m->scratch->targets, m->config.logit_softcap, loss_weight,
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
    return op_logits(m->tape, x, m->scratch->head, m->config.logit_softcap, logits);
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
