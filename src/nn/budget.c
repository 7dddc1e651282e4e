#include "nn/budget.h"

static const char *const names[COMPONENTS] = {"embedding", "bigram", "attention", "mlp", "experts",
                                              "router",    "gates",  "skips",     "head"};
const char *component_name(component c) {
    return names[c];
}

typedef struct walk {
    budget_visitor visit;
    void *context;
} walk;

static void entry(const walk *w, component what, int64_t count, int64_t rows, int64_t cols, bool is_matrix) {
    budget_entry e = {.component = what, .count = count, .rows = rows, .cols = cols, .is_matrix = is_matrix};
    if (count * rows * cols > 0) w->visit(w->context, &e);
}

static void visit_block(const model_config *c, int layer, const walk *w) {
    int64_t d = c->model_dim, h = model_config_hidden(c), kv = d / c->num_heads * c->num_kv_heads;
    int64_t fc_rows = c->activation == ACTIVATION_SWIGLU ? 2 * h : h;
    bool moe = c->moe_layers[layer];
    int64_t copies = moe ? c->moe_num_experts : 1;
    component mlp = moe ? COMPONENT_EXPERTS : COMPONENT_MLP;
    entry(w, COMPONENT_ATTENTION, 2, d, d, true);  /* c_q, proj */
    entry(w, COMPONENT_ATTENTION, 2, kv, d, true); /* c_k, c_v */
    entry(w, mlp, copies, fc_rows, d, true);
    entry(w, mlp, copies, d, h, true);
    if (moe) entry(w, COMPONENT_ROUTER, 1, c->moe_num_experts, d, false);
    entry(w, COMPONENT_GATES, 1, 1, c->num_heads, false); /* q_gain */
    entry(w, COMPONENT_GATES, 2, 1, d, false);            /* attn_scale, mlp_scale */
    entry(w, COMPONENT_GATES, 1, 2, d, false);            /* resid_mix */
    entry(w, COMPONENT_GATES, 1, 1, c->smear_width, false);
}

void model_budget_visit(const model_config *c, budget_visitor visit, void *context) {
    walk w = {.visit = visit, .context = context};
    entry(&w, COMPONENT_EMBEDDING, 1, c->vocab_size, c->model_dim, true);
    if (c->bigram_buckets > 0) {
        entry(&w, COMPONENT_BIGRAM, 1, c->bigram_buckets, c->bigram_dim, true);
        entry(&w, COMPONENT_BIGRAM, 1, c->model_dim, c->bigram_dim, true);
    }
    for (int layer = 0; layer < c->num_layers; layer++) visit_block(c, layer, &w);
    entry(&w, COMPONENT_SKIPS, c->gated_skips ? 2 : 1, model_config_skips(c), c->model_dim, false);
    if (!c->tie_embeddings) entry(&w, COMPONENT_HEAD, 1, c->vocab_size, c->model_dim, true);
}

static void count_entry(void *context, const budget_entry *e) {
    model_budget *b = context;
    int64_t elements = e->count * e->rows * e->cols;
    b->of[e->component] += elements;
    b->total += elements;
}

model_budget model_budget_count(const model_config *c) {
    model_budget b = {0};
    model_budget_visit(c, count_entry, &b);
    int64_t idle = b.of[COMPONENT_EXPERTS] / c->moe_num_experts * (c->moe_num_experts - c->moe_top_k);
    b.active = b.total - idle;
    return b;
}
