#include "nn/specs.h"

typedef struct walk {
    const model_config *config;
    param_visitor visit;
    void *context;
    int layer, expert; /* of the next spec */
} walk;

enum { SCALAR = -2, VECTOR = -1 }; /* instead of rows */

static void visit_spec(walk *w, param_role role, int64_t rows, int64_t cols) {
    param_spec spec = {.role = role, .layer = w->layer, .expert = w->expert};
    spec.ndim = rows == SCALAR ? 0 : rows == VECTOR ? 1 : 2;
    if (spec.ndim > 0) spec.shape[spec.ndim - 1] = cols;
    if (spec.ndim == 2) spec.shape[0] = rows;
    if (rows == 0 || cols == 0) return; /* a model of one layer has no skips */
    w->visit(w->context, &spec);
}

static void visit_hash(walk *w, int buckets, int dim, param_role table) {
    const model_config *c = w->config;
    if (buckets == 0) return;
    visit_spec(w, table, buckets, dim);
    if (model_config_hash_is_projected(c, buckets, dim)) visit_spec(w, table + 1, c->model_dim, dim);
    if (c->stem.hash_scale > 0) visit_spec(w, table + 2, SCALAR, 1);
}

static void visit_attention(walk *w, const attention_plan *p, int64_t d) {
    visit_spec(w, ROLE_C_Q, p->q_width, d);
    visit_spec(w, ROLE_C_K, p->kv_width, d);
    visit_spec(w, ROLE_C_V, p->kv_width, d);
    if (p->qkv_bias) {
        visit_spec(w, ROLE_C_Q_BIAS, VECTOR, p->q_width);
        visit_spec(w, ROLE_C_K_BIAS, VECTOR, p->kv_width);
        visit_spec(w, ROLE_C_V_BIAS, VECTOR, p->kv_width);
    }
    visit_spec(w, ROLE_ATTENTION_PROJ, d, p->q_width);
    if (p->proj_bias) visit_spec(w, ROLE_ATTENTION_PROJ_BIAS, VECTOR, d);
    if (p->qk_norm == QK_NORM_WEIGHT) {
        visit_spec(w, ROLE_Q_NORM, VECTOR, p->head_dim);
        visit_spec(w, ROLE_K_NORM, VECTOR, p->head_dim);
    }
    if (p->q_gain) visit_spec(w, ROLE_Q_GAIN, VECTOR, p->heads);
}

static void visit_dense(walk *w, const mlp_plan *p, int64_t d) {
    visit_spec(w, ROLE_MLP_FC, p->fc_rows, d);
    visit_spec(w, ROLE_MLP_PROJ, d, p->hidden);
    if (!p->bias) return;
    visit_spec(w, ROLE_MLP_FC_BIAS, VECTOR, p->fc_rows);
    visit_spec(w, ROLE_MLP_PROJ_BIAS, VECTOR, d);
}

static void visit_experts(walk *w, const mlp_plan *p, int64_t d) {
    visit_spec(w, ROLE_ROUTER, p->experts, d);
    if (p->router_bias) visit_spec(w, ROLE_ROUTER_BIAS, VECTOR, p->experts);
    for (w->expert = 0; w->expert < p->experts; w->expert++) visit_spec(w, ROLE_EXPERT_FC, p->fc_rows, d);
    for (w->expert = 0; w->expert < p->experts; w->expert++) visit_spec(w, ROLE_EXPERT_PROJ, d, p->hidden);
    w->expert = -1;
    if (p->shared_hidden == 0) return;
    visit_spec(w, ROLE_SHARED_FC, fc_rows(p->activation, p->shared_hidden), d);
    visit_spec(w, ROLE_SHARED_PROJ, d, p->shared_hidden);
    if (p->shared_gate) visit_spec(w, ROLE_SHARED_GATE, 1, d);
}

static void visit_random_up(walk *w, const mlp_plan *p, int64_t d) {
    visit_spec(w, ROLE_RANDOM_WEIGHT, p->hidden, d);
    if (p->gain) visit_spec(w, ROLE_ADAPTER_GAIN, VECTOR, p->hidden);
    if (p->chunks > 1) visit_spec(w, ROLE_ADAPTER_ROUTER, p->chunks, d);
    if (p->rank > 0) {
        visit_spec(w, ROLE_ADAPTER_DOWN, p->rank, d);
        visit_spec(w, ROLE_ADAPTER_UP, p->hidden, p->rank);
    }
    visit_spec(w, ROLE_MLP_PROJ, d, p->hidden);
}

static void visit_mlp(walk *w, const mlp_plan *p, int64_t d) {
    switch (p->kind) {
    case MLP_DENSE:
        visit_dense(w, p, d);
        break;
    case MLP_EXPERTS:
        visit_experts(w, p, d);
        break;
    case MLP_RANDOM_UP:
        visit_random_up(w, p, d);
        break;
    }
}

/* A scale of d channels, or one for each pass. */
static void visit_scale(walk *w, param_role role, int rows, int64_t d) {
    visit_spec(w, role, rows > 1 ? rows : VECTOR, d);
}

static void visit_block(walk *w) {
    int64_t d = w->config->model_dim;
    layer_plan p = model_plan(w->config, w->layer);
    if (p.norm.weight) visit_spec(w, ROLE_ATTN_NORM, VECTOR, d);
    visit_attention(w, &p.attention, d);
    if (p.attn_scale) visit_scale(w, ROLE_ATTN_SCALE, p.scale_rows, d);
    if (p.norm.weight && !p.parallel) visit_spec(w, ROLE_MLP_NORM, VECTOR, d);
    visit_mlp(w, &p.mlp, d);
    if (p.mlp_scale) visit_scale(w, ROLE_MLP_SCALE, p.scale_rows, d);
    if (p.mix) visit_spec(w, ROLE_RESID_MIX, 2, d);
    if (p.smear_width > 0) visit_spec(w, ROLE_SMEAR_W, VECTOR, p.smear_width);
}

void model_specs_visit(const model_config *c, param_visitor visit, void *context) {
    walk w = {.config = c, .visit = visit, .context = context, .layer = -1, .expert = -1};
    int64_t d = c->model_dim, skips = model_skips(c);
    visit_spec(&w, ROLE_TOK_EMB, c->vocab_size, d);
    visit_hash(&w, c->stem.bigram_buckets, c->stem.bigram_dim, ROLE_BIGRAM_TABLE);
    visit_hash(&w, c->stem.trigram_buckets, c->stem.trigram_dim, ROLE_TRIGRAM_TABLE);
    for (w.layer = 0; w.layer < c->num_layers; w.layer++) visit_block(&w);
    w.layer = -1;
    visit_spec(&w, ROLE_SKIP_WEIGHTS, skips, d);
    if (c->residual.gated_skips) visit_spec(&w, ROLE_SKIP_GATES, skips, d);
    if (c->stem.smear) visit_spec(&w, ROLE_SMEAR_GATE, VECTOR, d);
    if (c->norm.weight) visit_spec(&w, ROLE_FINAL_NORM, VECTOR, d);
    if (!c->head.tied) visit_spec(&w, ROLE_HEAD, c->vocab_size, d);
}

void param_spec_name(const param_spec *spec, char name[PARAM_NAME_BYTES]) {
    name_write(name, role_pattern(spec->role), spec->layer, spec->expert);
}
