#include "nn/specs.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const component_names[COMPONENTS] = {
    [COMPONENT_EMBEDDING] = "embedding", [COMPONENT_BIGRAM] = "bigram", [COMPONENT_TRIGRAM] = "trigram",
    [COMPONENT_ATTENTION] = "attention", [COMPONENT_MLP] = "mlp",       [COMPONENT_SHARED] = "shared",
    [COMPONENT_EXPERTS] = "experts",     [COMPONENT_ROUTER] = "router", [COMPONENT_ADAPTERS] = "adapters",
    [COMPONENT_GATES] = "gates",         [COMPONENT_SKIPS] = "skips",   [COMPONENT_HEAD] = "head"};
const char *component_name(component c) {
    return component_names[c];
}

/* Names are patterns: # stands for the layer, and for the expert where it comes a second time. */
static const struct role_row {
    const char *flat, *modules; /* modules NULL: the same */
    component component;
    bool is_matrix;
} role_table[ROLES] = {
    [ROLE_TOK_EMB] = {"tok_emb.weight", NULL, COMPONENT_EMBEDDING, true},
    [ROLE_BIGRAM_TABLE] = {"bigram_emb.weight", "bigram.embed.weight", COMPONENT_BIGRAM, true},
    [ROLE_BIGRAM_PROJ] = {"bigram_proj.weight", "bigram.proj.weight", COMPONENT_BIGRAM, true},
    [ROLE_BIGRAM_SCALE] = {"bigram_scale", "bigram.scale", COMPONENT_BIGRAM, false},
    [ROLE_TRIGRAM_TABLE] = {"trigram_emb.weight", "trigram.embed.weight", COMPONENT_TRIGRAM, true},
    [ROLE_TRIGRAM_PROJ] = {"trigram_proj.weight", "trigram.proj.weight", COMPONENT_TRIGRAM, true},
    [ROLE_TRIGRAM_SCALE] = {"trigram_scale", "trigram.scale", COMPONENT_TRIGRAM, false},
    [ROLE_C_Q] = {"blocks.#.attn.c_q.weight", NULL, COMPONENT_ATTENTION, true},
    [ROLE_C_K] = {"blocks.#.attn.c_k.weight", NULL, COMPONENT_ATTENTION, true},
    [ROLE_C_V] = {"blocks.#.attn.c_v.weight", NULL, COMPONENT_ATTENTION, true},
    [ROLE_ATTENTION_PROJ] = {"blocks.#.attn.proj.weight", NULL, COMPONENT_ATTENTION, true},
    [ROLE_Q_GAIN] = {"blocks.#.attn.q_gain", NULL, COMPONENT_GATES, false},
    [ROLE_ATTN_SCALE] = {"blocks.#.attn_scale", NULL, COMPONENT_GATES, false},
    [ROLE_MLP_FC] = {"blocks.#.mlp.fc.weight", NULL, COMPONENT_MLP, true},
    [ROLE_MLP_PROJ] = {"blocks.#.mlp.proj.weight", NULL, COMPONENT_MLP, true},
    [ROLE_ROUTER] = {"blocks.#.mlp.router.weight", NULL, COMPONENT_ROUTER, false},
    [ROLE_ROUTER_BIAS] = {"blocks.#.mlp.router_bias", NULL, COMPONENT_ROUTER, false},
    [ROLE_EXPERT_FC] = {"blocks.#.mlp.experts_fc.#.weight", "blocks.#.mlp.experts.#.fc.weight", COMPONENT_EXPERTS,
                        true},
    [ROLE_EXPERT_PROJ] = {"blocks.#.mlp.experts_proj.#.weight", "blocks.#.mlp.experts.#.proj.weight", COMPONENT_EXPERTS,
                          true},
    [ROLE_SHARED_FC] = {"blocks.#.mlp.shared.fc.weight", NULL, COMPONENT_SHARED, true},
    [ROLE_SHARED_PROJ] = {"blocks.#.mlp.shared.proj.weight", NULL, COMPONENT_SHARED, true},
    [ROLE_RANDOM_WEIGHT] = {"blocks.#.mlp.fc.random_weight", NULL, COMPONENT_MLP, true},
    [ROLE_ADAPTER_GAIN] = {"blocks.#.mlp.fc.adapter_gain", NULL, COMPONENT_ADAPTERS, false},
    [ROLE_ADAPTER_ROUTER] = {"blocks.#.mlp.fc.adapter_router.weight", NULL, COMPONENT_ADAPTERS, false},
    [ROLE_ADAPTER_DOWN] = {"blocks.#.mlp.fc.adapter_down.weight", NULL, COMPONENT_ADAPTERS, true},
    [ROLE_ADAPTER_UP] = {"blocks.#.mlp.fc.adapter_up.weight", NULL, COMPONENT_ADAPTERS, true},
    [ROLE_MLP_SCALE] = {"blocks.#.mlp_scale", NULL, COMPONENT_GATES, false},
    [ROLE_RESID_MIX] = {"blocks.#.resid_mix", NULL, COMPONENT_GATES, false},
    [ROLE_SMEAR_W] = {"blocks.#.smear_w", NULL, COMPONENT_GATES, false},
    [ROLE_SKIP_WEIGHTS] = {"skip_weights", NULL, COMPONENT_SKIPS, false},
    [ROLE_SKIP_GATES] = {"skip_gates", NULL, COMPONENT_SKIPS, false},
    [ROLE_SMEAR_GATE] = {"smear.gate", NULL, COMPONENT_GATES, false},
    [ROLE_HEAD] = {"lm_head.weight", NULL, COMPONENT_HEAD, true},
};

/* The gate of soft MoE is a router under another name. */
static const char soft_gate[] = "blocks.#.mlp.gate.weight";

component role_component(param_role role) {
    return role_table[role].component;
}
bool role_is_frozen(param_role role) {
    return role == ROLE_ROUTER_BIAS || role == ROLE_RANDOM_WEIGHT;
}
bool role_is_derived(param_role role) {
    return role == ROLE_RANDOM_WEIGHT;
}
bool role_is_table(param_role role) {
    return role == ROLE_TOK_EMB || role == ROLE_HEAD || role == ROLE_BIGRAM_TABLE || role == ROLE_TRIGRAM_TABLE;
}

/* ---- names ---- */

static bool matches(const char *pattern, const char *name) {
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (*pattern != *name++) return false;
            continue;
        }
        if (!isdigit((unsigned char)*name)) return false;
        while (isdigit((unsigned char)*name)) name++;
    }
    return *name == '\0';
}

param_role param_role_of(const char *name) {
    if (matches(soft_gate, name)) return ROLE_ROUTER;
    for (int role = 0; role < ROLES; role++) {
        const struct role_row *row = &role_table[role];
        if (matches(row->flat, name) || (row->modules && matches(row->modules, name))) return (param_role)role;
    }
    return ROLES;
}

static const char *pattern_of(const model_config *c, param_role role) {
    const struct role_row *row = &role_table[role];
    if (c->naming == NAMING_FLAT) return row->flat;
    if (role == ROLE_ROUTER && c->moe_gate == GATE_SOFT) return soft_gate;
    return row->modules ? row->modules : row->flat;
}

static void write_name(char name[PARAM_NAME_BYTES], const char *pattern, int layer, int expert) {
    int numbers[2] = {layer, expert}, next = 0;
    size_t used = 0;
    for (; *pattern && used + 1 < PARAM_NAME_BYTES; pattern++) {
        if (*pattern == '#')
            used += (size_t)snprintf(name + used, PARAM_NAME_BYTES - used, "%d", numbers[next++]);
        else
            name[used++] = *pattern;
    }
    name[used] = '\0';
}

/* ---- the list ---- */

typedef struct walk {
    const model_config *config;
    param_visitor visit;
    void *context;
    int layer, expert; /* of the next spec */
} walk;

enum { SCALAR = -2, VECTOR = -1 }; /* instead of rows */

static void visit_spec(walk *w, param_role role, int64_t rows, int64_t cols) {
    param_spec spec = {.role = role, .layer = w->layer, .expert = w->expert, .is_matrix = role_table[role].is_matrix};
    write_name(spec.name, pattern_of(w->config, role), w->layer, w->expert);
    spec.ndim = rows == SCALAR ? 0 : rows == VECTOR ? 1 : 2;
    if (spec.ndim > 0) spec.shape[spec.ndim - 1] = cols;
    if (spec.ndim == 2) spec.shape[0] = rows;
    if (rows == 0 || cols == 0) return; /* a model of one layer has no skips */
    w->visit(w->context, &spec);
}

/* #480 and #660 leave the projection out where table and stream have the same width; #2102 always has one. */
static void visit_hash(walk *w, int buckets, int dim, param_role table) {
    const model_config *c = w->config;
    if (buckets == 0) return;
    visit_spec(w, table, buckets, dim);
    if (dim != c->model_dim || c->naming == NAMING_FLAT) visit_spec(w, table + 1, c->model_dim, dim);
    if (c->hash_scale > 0) visit_spec(w, table + 2, SCALAR, 1);
}

static void visit_mlp(walk *w, param_role fc, int64_t hidden) {
    const model_config *c = w->config;
    visit_spec(w, fc, c->activation == ACTIVATION_SWIGLU ? 2 * hidden : hidden, c->model_dim);
    visit_spec(w, fc + 1, c->model_dim, hidden);
}

static void visit_moe(walk *w) {
    const model_config *c = w->config;
    int64_t d = c->model_dim, hidden = model_config_expert_hidden(c), shared = model_config_shared_hidden(c);
    visit_spec(w, ROLE_ROUTER, c->moe_num_experts, d);
    if (c->moe_bias_rate > 0) visit_spec(w, ROLE_ROUTER_BIAS, VECTOR, c->moe_num_experts);
    for (w->expert = 0; w->expert < c->moe_num_experts; w->expert++)
        visit_spec(w, ROLE_EXPERT_FC, c->activation == ACTIVATION_SWIGLU ? 2 * hidden : hidden, d);
    for (w->expert = 0; w->expert < c->moe_num_experts; w->expert++) visit_spec(w, ROLE_EXPERT_PROJ, d, hidden);
    w->expert = -1;
    if (shared > 0) visit_mlp(w, ROLE_SHARED_FC, shared);
}

static void visit_random_up(walk *w) {
    const model_config *c = w->config;
    int64_t d = c->model_dim, h = model_config_hidden(c);
    visit_spec(w, ROLE_RANDOM_WEIGHT, h, d);
    if (c->random_up_gain) visit_spec(w, ROLE_ADAPTER_GAIN, VECTOR, h);
    if (c->random_up_experts > 1) visit_spec(w, ROLE_ADAPTER_ROUTER, c->random_up_experts, d);
    if (c->random_up_rank > 0) {
        visit_spec(w, ROLE_ADAPTER_DOWN, c->random_up_rank, d);
        visit_spec(w, ROLE_ADAPTER_UP, h, c->random_up_rank);
    }
    visit_spec(w, ROLE_MLP_PROJ, d, h);
}

static void visit_block(walk *w) {
    const model_config *c = w->config;
    int64_t d = c->model_dim, kv = d / c->num_heads * c->num_kv_heads;
    visit_spec(w, ROLE_C_Q, d, d);
    visit_spec(w, ROLE_C_K, kv, d);
    visit_spec(w, ROLE_C_V, kv, d);
    visit_spec(w, ROLE_ATTENTION_PROJ, d, d);
    visit_spec(w, ROLE_Q_GAIN, VECTOR, c->num_heads);
    visit_spec(w, ROLE_ATTN_SCALE, VECTOR, d);
    if (model_config_is_moe(c, w->layer))
        visit_moe(w);
    else if (c->random_up_layers[w->layer])
        visit_random_up(w);
    else
        visit_mlp(w, ROLE_MLP_FC, model_config_hidden(c));
    visit_spec(w, ROLE_MLP_SCALE, VECTOR, d);
    visit_spec(w, ROLE_RESID_MIX, 2, d);
    if (c->smear_width > 0) visit_spec(w, ROLE_SMEAR_W, VECTOR, c->smear_width);
}

void model_specs_visit(const model_config *c, param_visitor visit, void *context) {
    walk w = {.config = c, .visit = visit, .context = context, .layer = -1, .expert = -1};
    int64_t d = c->model_dim, skips = model_config_skips(c);
    visit_spec(&w, ROLE_TOK_EMB, c->vocab_size, d);
    visit_hash(&w, c->bigram_buckets, c->bigram_dim, ROLE_BIGRAM_TABLE);
    visit_hash(&w, c->trigram_buckets, c->trigram_dim, ROLE_TRIGRAM_TABLE);
    for (w.layer = 0; w.layer < c->num_layers; w.layer++) visit_block(&w);
    w.layer = -1;
    visit_spec(&w, ROLE_SKIP_WEIGHTS, skips, d);
    if (c->gated_skips) visit_spec(&w, ROLE_SKIP_GATES, skips, d);
    if (c->smear_embedding) visit_spec(&w, ROLE_SMEAR_GATE, VECTOR, d);
    if (!c->tie_embeddings) visit_spec(&w, ROLE_HEAD, c->vocab_size, d);
}
