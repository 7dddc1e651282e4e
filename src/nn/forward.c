/* The forward pass, as calls of ops. */
#include "nn/pass_state.h"
#include "nn/stages.h"
#include "nn/streamed.h"

/* ---- a block ---- */

/* SmearGate at w, where there is one. */
static var *smear(const pass *p, var *x, param *w, const layout *l, void *cache) {
    return w ? op_smear(p->tape, x, w, l, cache) : x;
}

/* The block's input: mixed with the embedding, and smeared over the previous token. */
static var *block_input(const pass *p, const block *b, var *x, var *x0, const layout *l, const pass_cache *cache) {
    if (b->resid_mix) x = op_mix(p->tape, x, x0, b->resid_mix);
    return smear(p, x, b->smear_w, l, cache ? cache->smear : NULL);
}

static var *norm(const pass *p, var *x, param *weight, const norm_plan *n) {
    return op_rms_norm(p->tape, x, weight, n->scale, n->eps);
}

/* Queries or keys as attention reads them. */
static var *heads(const pass *p, const block *b, var *x, param *weight, param *gain, const layout *l, int count) {
    const head_args args = {.heads = count,
                            .head_dim = b->plan.attention.head_dim,
                            .norm = b->plan.attention.qk_norm != QK_NORM_NONE,
                            .eps = b->plan.norm.eps};
    return op_head_rotate(p->tape, x, weight, gain, l, &args);
}

static var *attention(const pass *p, const block *b, var *n, const layout *l, const pass_cache *cache, int number) {
    const attention_plan *a = &b->plan.attention;
    tape *t = p->tape;
    layout within = *l;
    if (!a->within_document) within.first = NULL;
    var *qkv[3];
    op_linear_several(t, n, (const linear *const[]){&b->q, &b->k, &b->v}, 3, number, qkv);
    var *q = heads(p, b, qkv[0], b->q_norm, b->q_gain, l, a->heads), *v = qkv[2];
    var *k = heads(p, b, qkv[1], b->k_norm, NULL, l, a->kv_heads);
    var *y = op_attention(t, q, k, v, &within, a->heads, a->kv_heads, cache ? &cache->attention : NULL);
    if (a->xsa) y = op_xsa(t, y, v, a->heads, a->kv_heads);
    return op_linear(t, y, &b->proj, number);
}

static var *run_block(pass *p, const block *b, var *x, var *x0, const layout *l, const pass_input *in) {
    const pass_cache *cache = in->passes ? &in->passes[p->entry] : NULL;
    int number = p->m->parts->path.pass[p->entry];
    var *x_in = block_input(p, b, x, x0, l, cache);
    var *n = norm(p, x_in, b->attn_norm, &b->plan.norm);
    const int64_t row = b->plan.scale_rows > 1 ? number : 0;
    var *x_mid = op_scale_add(p->tape, x_in, attention(p, b, n, l, cache, number), b->attn_scale, row);
    /* Parallel: the MLP reads the attention's input; both norms are the same, so it is taken once. */
    if (!b->plan.parallel) n = norm(p, x_mid, b->mlp_norm, &b->plan.norm);
    return op_scale_add(p->tape, x_mid, pass_mlp(p, b, n, in), b->mlp_scale, row);
}

/* ---- the whole ---- */

static var *add_hash(const pass *p, var *x, const hash_embedding *h, const int32_t *ids, int64_t N) {
    if (!h->table) return x;
    var *z = op_embed(p->tape, h->table, ids, N);
    if (h->proj.weight) z = op_linear(p->tape, z, &h->proj, 0);
    return h->scale ? op_scalar_add(p->tape, x, z, h->scale) : op_add(p->tape, x, z);
}

/* The embedding with its hashes, normalised and smeared where the config says so. */
static var *stem(const pass *p, const pass_input *in, const layout *l) {
    const model_parts *s = p->m->parts;
    int64_t N = input_rows(in);
    const norm_plan n = model_stem_norm(&p->m->config);
    var *x = op_embed(p->tape, s->tok_emb, p->ids, N);
    x = add_hash(p, x, &s->bigram, p->bigram_ids, N);
    x = add_hash(p, x, &s->trigram, p->trigram_ids, N);
    if (p->m->config.stem.norm) x = norm(p, x, NULL, &n);
    return smear(p, x, s->smear_gate, l, in->stem ? in->stem->smear : NULL);
}

/* Whether nothing behind entry i is of interest. */
static bool ends_at(const forward_path *path, int i, int until_layer) {
    if (until_layer < 0) return false;
    for (int j = i; j < path->length; j++)
        if (path->layer[j] <= until_layer) return false;
    return true;
}

/* A block as a part that backward runs again; then nobody counts or watches. */
typedef struct block_part {
    pass *p;
    const block *b;
    layout l;
    pass_input in;
    int entry;
    bool ran; /* forward is over */
} block_part;

static var *run_part(tape *t, void *context, var *const *inputs) {
    block_part *part = context;
    pass *p = part->p;
    const bool counts = p->counts;
    const routing_observer observer = p->routing_observer;
    (void)t;
    if (part->ran) {
        p->counts = false;
        p->routing_observer = NULL;
        tape_observe(p->tape, NULL, NULL);
    }
    p->entry = part->entry;
    var *y = run_block(p, part->b, inputs[0], inputs[1], &part->l, &part->in);
    part->ran = true;
    p->counts = counts;
    p->routing_observer = observer;
    tape_observe(p->tape, p->product_observer, p->product_context);
    return y;
}

static var *run_entry(pass *p, const block *b, var *x, var *x0, const layout *l, const pass_input *in) {
    if (!p->recompute || !tape_recording(p->tape)) return run_block(p, b, x, x0, l, in);
    const block_part part = {.p = p, .b = b, .l = *l, .in = *in, .entry = p->entry};
    return tape_recompute(p->tape, run_part, &part, sizeof part, (var *[]){x, x0}, 2);
}

/* False: the source failed, and so does the pass. */
static bool enter_layer(pass *p, int layer) {
    const status s = model_enter_layer(p->m, layer);
    if (s == STATUS_OK) return true;
    model_leave_layer(p->m, layer);
    tape_fail(p->tape, s);
    return false;
}

static var *run_path(pass *p, const pass_input *in, const layout *l, var *x0) {
    const model_parts *s = p->m->parts;
    const forward_path *path = &s->path;
    tape *t = p->tape;
    var *skips[MODEL_MAX_PATH], *x = x0;
    int pushed = 0;
    for (int i = 0; i < path->length && !ends_at(path, i, in->until_layer); i++) {
        int64_t mark = tape_mark(t);
        p->entry = i;
        if (p->backward_observer && path->pass[i] == 0) tape_place(t, path_stage(path, i));
        if (path->skip[i] >= 0) x = op_skip(t, x, skips[--pushed], s->skip_weights, s->skip_gates, path->skip[i]);
        if (p->stream_observer && x)
            p->stream_observer(p->stream_context, path->layer[i], path->pass[i], x->value.data, tensor_rows(&x->value));
        if (p->distill.matching) pass_match(p, i, path->layer[i], x, in->loss_weight);
        if (p->m->layers && !enter_layer(p, path->layer[i])) return NULL;
        x = run_entry(p, &s->blocks[path->layer[i]], x, x0, l, in);
        if (p->m->layers) model_leave_layer(p->m, path->layer[i]);
        if (path->skip[i] == PATH_PUSH) skips[pushed++] = x;
        tape_release_since(t, mark, x);
    }
    return x;
}

/* The stream behind the last block, and what becomes of it. */
static var *finish(pass *p, var *x, const pass_input *in) {
    const norm_plan n = model_final_norm(&p->m->config);
    tape_place(p->tape, 0);
    if (p->stream_observer && x)
        p->stream_observer(p->stream_context, p->m->config.num_layers, 0, x->value.data, tensor_rows(&x->value));
    if (p->distill.matching) pass_match(p, -1, p->m->config.num_layers, x, in->loss_weight);
    return norm(p, x, p->m->parts->final_norm, &n);
}

/* The last position of any sequence, and one. */
static int64_t positions_needed(const pass_input *in) {
    int64_t longest = 0;
    for (int64_t b = 0; b < in->batch; b++) {
        const int64_t end = input_past(in, b) + input_start(in, b + 1) - input_start(in, b);
        longest = end > longest ? end : longest;
    }
    return longest;
}

var *pass_forward(pass *p, const pass_input *in) {
    status ready = pass_upload(p, in);
    const rotary_table *turns = ready == STATUS_OK ? rotary_reserve(p->m->parts->rotary, positions_needed(in)) : NULL;
    if (!turns) {
        tape_fail(p->tape, ready == STATUS_OK
                               ? fail("out of memory for %lld positions", (long long)positions_needed(in))
                               : ready);
        return NULL;
    }
    layout l = {.batch = in->batch,
                .length = in->length,
                .starts = in->starts,
                .past = in->past,
                .first = in->first ? p->first : NULL,
                .positions = p->positions,
                .rotary = turns};
    return finish(p, run_path(p, in, &l, stem(p, in, &l)), in);
}
