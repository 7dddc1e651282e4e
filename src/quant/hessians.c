#include "base/memory.h"
#include "base/progress.h"
#include "nn/plan.h"
#include "nn/roles.h"
#include "quant/hessian_parts.h"
#include "quant/zeroed.h"
#include <stdio.h>
#include <stdlib.h>

hessians *hessians_create(pass *p, size_t memory) {
    hessians *h = xcalloc(1, sizeof *h);
    *h = (hessians){.p = p, .m = pass_model(p), .ranks = comm_alone(), .memory = memory, .first = 0, .last = -1};
    return h;
}

void hessians_share(hessians *h, comm *ranks) {
    h->ranks = ranks;
}

static void release_inputs(hessians *h) {
    const kernels *k = h->m->k;
    for (int i = 0; i < h->input_count; i++) {
        k->release(h->inputs[i].sum);
        k->release(h->inputs[i].batch);
    }
    k->release(h->scratch);
    free(h->inputs);
    free(h->host);
    h->inputs = NULL;
    h->scratch = NULL;
    h->host = NULL;
    h->input_count = 0;
    h->first = 0;
    h->last = -1;
}

void hessians_destroy(hessians *h) {
    if (!h) return;
    release_inputs(h);
    for (int i = 0; i < h->batch_count; i++) batch_free(&h->batches[i]);
    free(h->batches);
    free(h);
}

void hessians_pool_experts(hessians *h, bool pool) {
    if (h->pool_experts != pool) release_inputs(h);
    h->pool_experts = pool;
}

void hessians_add(hessians *h, const batch *b) {
    const batch inputs = {.batch = b->batch, .length = b->length, .input_ids = b->input_ids, .first = b->first};
    h->batches = xrealloc(h->batches, (size_t)(h->batch_count + 1) * sizeof *h->batches);
    h->batches[h->batch_count++] = batch_copy(&inputs);
}

/* ---- inputs ---- */

static bool is_same(input_key a, input_key b) {
    return a.role == b.role && a.layer == b.layer && a.expert == b.expert;
}

/* Keys and values read what queries read. */
static input_key key_of(const param *weight) {
    const bool follows = weight->role == ROLE_C_K || weight->role == ROLE_C_V;
    return (input_key){follows ? ROLE_C_Q : weight->role, weight->layer, weight->expert};
}

static input *find(const hessians *h, input_key key) {
    for (int i = 0; i < h->input_count; i++)
        if (is_same(h->inputs[i].key, key)) return &h->inputs[i];
    return NULL;
}

/* Whether this weight's input stands for all that read it. */
static bool has_input(const param *p) {
    return p->is_matrix && key_of(p).role == p->role;
}

/* Several products in one batch add up before the batch does: of looped layers, and of all experts' tokens. */
static bool comes_once(const hessians *h, const input *in) {
    const model_config *c = &h->m->config;
    if (h->pool_experts && in->key.expert >= 0) return false;
    return in->key.layer < 0 || !c->loop.on || model_passes(c, in->key.layer) == 1;
}

/* Arrays for what a weight reads. */
static status add_input(hessians *h, const param *weight) {
    const kernels *k = h->m->k;
    const bool alone = h->ranks->ranks == 1;
    h->inputs = xrealloc(h->inputs, (size_t)(h->input_count + 1) * sizeof *h->inputs);
    const int number = h->input_count++;
    input *in = &h->inputs[number];
    *in = (input){.key = key_of(weight), .cols = tensor_cols(&weight->value)};
    status s = STATUS_OK;
    if (alone || hessians_owner(h, number) == h->ranks->rank) s = zeroed_floats(k, &in->sum, in->cols * in->cols);
    if (s == STATUS_OK && (!alone || !comes_once(h, in))) s = zeroed_floats(k, &in->batch, in->cols * in->cols);
    return fail_in(s, "the Hessian of %s", weight->name);
}

/* Those of the layers from first to last, the same ones in the same order on all ranks. */
static status add_inputs(hessians *h) {
    int64_t widest = 0;
    for (int i = 0; i < h->m->param_count; i++) {
        const param *p = h->m->params[i];
        if (!has_input(p) || p->layer < h->first || p->layer > h->last) continue;
        TRY(add_input(h, p));
        const input *in = &h->inputs[h->input_count - 1];
        if (!in->batch && in->cols > widest) widest = in->cols;
    }
    return widest > 0 ? zeroed_floats(h->m->k, &h->scratch, widest * widest) : STATUS_OK;
}

static void add_rows(hessians *h, const param *weight, const void *x, int64_t N, int64_t cols) {
    const kernels *k = h->m->k;
    const int64_t count = cols * cols;
    input *in = find(h, key_of(weight));
    if (!in || in->cols != cols) return;
    in->seen = true;
    if (N == 0) return;
    in->rows += N;
    if (in->batch) {
        k->gram(in->batch, x, N, cols);
        return;
    }
    k->zero(h->scratch, (size_t)count * sizeof *h->scratch);
    k->gram(h->scratch, x, N, cols);
    k->add(in->sum, h->scratch, count);
}

/* ---- all tokens for every expert ---- */

/* What this expert's proj would read of rows that went to any: f(fc x). */
static status add_hidden(hessians *h, const param *fc, const void *x, int64_t N) {
    const kernels *k = h->m->k;
    const param *proj = model_param(h->m, ROLE_EXPERT_PROJ, fc->layer, fc->expert);
    const int64_t wide = fc->matrix.rows, hidden = proj->matrix.cols;
    void *u = NULL, *act = NULL;
    if (N == 0) return STATUS_OK;
    status s = k->alloc(&u, (size_t)(N * wide) * dtype_bytes(k->act));
    if (s == STATUS_OK) s = k->alloc(&act, (size_t)(N * hidden) * dtype_bytes(k->act));
    if (s == STATUS_OK) {
        k->linear(u, k->act, x, &fc->matrix, N);
        k->activate(act, u, model_plan(&h->m->config, fc->layer).mlp.activation, NULL, N, hidden);
        add_rows(h, proj, act, N, hidden);
    }
    k->release(u);
    k->release(act);
    return s;
}

/* Rows that were routed to one expert of a layer, given to all of them. */
static void add_to_all(hessians *h, const param *fc, const void *x, int64_t N, int64_t cols) {
    if (!find(h, key_of(fc))) return;
    for (int e = 0; e < h->m->config.moe.experts && h->failed == STATUS_OK; e++) {
        const param *p = model_param(h->m, ROLE_EXPERT_FC, fc->layer, e);
        add_rows(h, p, x, N, cols);
        h->failed = add_hidden(h, p, x, N);
    }
}

static void observe(void *context, const param *weight, const void *x, int64_t N, int64_t cols) {
    hessians *h = context;
    if (h->failed != STATUS_OK || !has_input(weight)) return;
    if (!h->pool_experts || !role_has_expert((param_role)weight->role))
        add_rows(h, weight, x, N, cols);
    else if (weight->role == ROLE_EXPERT_FC)
        add_to_all(h, weight, x, N, cols);
}

/* ---- collecting ---- */

/* At most this many bytes of Hessians belong to a layer. */
static size_t layer_bytes(const model *m, int layer) {
    size_t bytes = 0;
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        if (has_input(p) && p->layer == layer)
            bytes += (size_t)(tensor_cols(&p->value) * tensor_cols(&p->value)) * sizeof(float);
    }
    return bytes;
}

/* As many layers from `layer` on as fit; −1, what is in no layer, comes before the first. */
int hessians_last(const hessians *h, int layer) {
    size_t bytes = layer_bytes(h->m, layer);
    int last = layer;
    while (last + 1 < h->m->config.num_layers && (bytes += layer_bytes(h->m, last + 1)) <= h->memory) last++;
    return last;
}

/* One batch, if it is there, and for all ranks whether all did. */
static status run_batch(hessians *h, int number, bool first) {
    const int until = h->first < 0 ? -1 : h->last; /* the head comes behind all layers */
    status s = STATUS_OK;
    for (int i = 0; i < h->input_count; i++)
        if (h->inputs[i].batch && !first)
            h->m->k->zero(h->inputs[i].batch, (size_t)(h->inputs[i].cols * h->inputs[i].cols) * sizeof(float));
    if (interrupt_requested()) s = STATUS_INTERRUPTED;
    if (s == STATUS_OK && number < h->batch_count) s = pass_observe(h->p, &h->batches[number], until);
    if (s == STATUS_OK) s = h->failed;
    return comm_agree(h->ranks, s);
}

/* Alone: what was formed by itself joins the sum. */
static void add_batch(const hessians *h) {
    for (int i = 0; i < h->input_count; i++) {
        const input *in = &h->inputs[i];
        if (in->batch) h->m->k->add(in->sum, in->batch, in->cols * in->cols);
    }
}

/* What all ranks' batches have between them; one without a batch adds zeros, which changes no bit. */
static status run_rounds(hessians *h, comm_reduction *r, progress *shown) {
    const int ranks = h->ranks->ranks, rounds = (h->batch_count + ranks - 1) / ranks;
    char detail[128];
    for (int round = 0; round < rounds; round++) {
        TRY(run_batch(h, round * ranks + h->ranks->rank, round == 0));
        if (r) {
            comm_reduction_begin(r, round, rounds);
            TRY(comm_reduction_finish(r));
        } else {
            add_batch(h);
        }
        const int done = (round + 1) * ranks < h->batch_count ? (round + 1) * ranks : h->batch_count;
        snprintf(detail, sizeof detail, "%d of %d batches, up to layer %d", done, h->batch_count, h->last);
        progress_show(shown, (double)done / (double)h->batch_count, detail);
    }
    return STATUS_OK;
}

status hessians_run(hessians *h, comm_reduction *r) {
    char detail[128];
    int count = 0;
    progress shown = progress_start("calibrate");
    h->failed = STATUS_OK;
    pass_watch_products(h->p, observe, h);
    const status s = run_rounds(h, r, &shown);
    pass_watch_products(h->p, NULL, NULL);
    for (int i = 0; i < h->input_count; i++) count += h->inputs[i].seen;
    snprintf(detail, sizeof detail, "inputs of %d products", count);
    progress_end(&shown, s == STATUS_OK ? detail : "stopped");
    return s;
}

/* ---- what is held ---- */

status hessians_collect(hessians *h, int layer) {
    const bool alone = h->ranks->ranks == 1;
    release_inputs(h);
    h->first = layer;
    h->last = hessians_last(h, layer);
    status s = comm_agree(h->ranks, add_inputs(h));
    if (s == STATUS_OK) s = alone ? hessians_run(h, NULL) : hessians_run_together(h);
    if (s != STATUS_OK) release_inputs(h);
    h->parted |= s != STATUS_OK;
    return s;
}

static bool holds(const hessians *h, int layer) {
    return layer >= h->first && layer <= h->last;
}

status hessians_hold(hessians *h, int layer) {
    return holds(h, layer) ? STATUS_OK : hessians_collect(h, layer);
}

/* The mean over rows to host memory. */
static void show(hessians *h, const input *in) {
    const int64_t count = in->cols * in->cols;
    const float inverse = in->rows ? 1.0f / (float)in->rows : 1;
    free(h->host);
    h->host = xmalloc((size_t)count * sizeof *h->host);
    h->shown = in->key;
    h->m->k->download(h->host, h->ranks->ranks > 1 ? in->batch : in->sum, (size_t)count * sizeof *h->host);
    for (int64_t i = 0; i < count; i++) h->host[i] *= inverse;
}

status hessians_of(hessians *h, const param *weight, const float **hessian, int64_t *rows) {
    *hessian = NULL;
    if (rows) *rows = 0;
    if (!holds(h, weight->layer))
        TRY(h->ranks->ranks > 1 ? hessians_ask(h, weight->layer) : hessians_collect(h, weight->layer));
    const input *in = find(h, key_of(weight));
    if (!in || !in->seen || in->cols != weight->matrix.cols) return STATUS_OK;
    if (!h->host || !is_same(h->shown, in->key)) show(h, in);
    *hessian = h->host;
    if (rows) *rows = in->rows;
    return STATUS_OK;
}
