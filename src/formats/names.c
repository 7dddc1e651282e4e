#include "formats/names.h"

#include <string.h>

/* ---- the record scripts ---- */

static const name_rule records_rules[] = {{ROLE_BIGRAM_TABLE, "bigram.embed.weight", PART_ALL},
                                          {ROLE_BIGRAM_PROJ, "bigram.proj.weight", PART_ALL},
                                          {ROLE_BIGRAM_SCALE, "bigram.scale", PART_ALL},
                                          {ROLE_TRIGRAM_TABLE, "trigram.embed.weight", PART_ALL},
                                          {ROLE_TRIGRAM_PROJ, "trigram.proj.weight", PART_ALL},
                                          {ROLE_TRIGRAM_SCALE, "trigram.scale", PART_ALL},
                                          {ROLE_ROUTER, "blocks.#.mlp.router.weight", PART_ALL},
                                          {ROLE_ROUTER, "blocks.#.mlp.gate.weight", PART_ALL}, /* of soft mixtures */
                                          {ROLE_EXPERT_FC, "blocks.#.mlp.experts.@.fc.weight", PART_ALL},
                                          {ROLE_EXPERT_PROJ, "blocks.#.mlp.experts.@.proj.weight", PART_ALL},
                                          {0, NULL, PART_ALL}};
const naming naming_records = {"records", records_rules, true, ROTARY_RECORD};

/* ---- Hugging Face (transformers/models/NAME/modeling_NAME.py) ---- */

#define HF "model.layers.#."
#define HF_COMMON                                                                                                      \
    {ROLE_TOK_EMB, "model.embed_tokens.weight", PART_ALL}, {ROLE_ATTN_NORM, HF "input_layernorm.weight", PART_ALL},    \
        {ROLE_C_Q, HF "self_attn.q_proj.weight", PART_ALL}, {ROLE_C_K, HF "self_attn.k_proj.weight", PART_ALL},        \
        {ROLE_C_V, HF "self_attn.v_proj.weight", PART_ALL}, {ROLE_C_Q_BIAS, HF "self_attn.q_proj.bias", PART_ALL},     \
        {ROLE_C_K_BIAS, HF "self_attn.k_proj.bias", PART_ALL}, {ROLE_C_V_BIAS, HF "self_attn.v_proj.bias", PART_ALL},  \
        {ROLE_ATTENTION_PROJ, HF "self_attn.o_proj.weight", PART_ALL},                                                 \
        {ROLE_ATTENTION_PROJ_BIAS, HF "self_attn.o_proj.bias", PART_ALL},                                              \
        {ROLE_Q_NORM, HF "self_attn.q_norm.weight", PART_ALL}, {ROLE_K_NORM, HF "self_attn.k_norm.weight", PART_ALL},  \
        {ROLE_MLP_NORM, HF "post_attention_layernorm.weight", PART_ALL},                                               \
        {ROLE_FINAL_NORM, "model.norm.weight", PART_ALL}, {ROLE_HEAD, "lm_head.weight", PART_ALL},                     \
        {ROLE_MLP_FC, HF "mlp.gate_proj.weight", PART_GATE}, {ROLE_MLP_FC, HF "mlp.up_proj.weight", PART_UP},          \
        {ROLE_MLP_FC_BIAS, HF "mlp.gate_proj.bias", PART_GATE}, {ROLE_MLP_FC_BIAS, HF "mlp.up_proj.bias", PART_UP},    \
        {ROLE_MLP_PROJ, HF "mlp.down_proj.weight", PART_ALL}, {                                                        \
        ROLE_MLP_PROJ_BIAS, HF "mlp.down_proj.bias", PART_ALL                                                          \
    }

static const name_rule llama_rules[] = {HF_COMMON, {0, NULL, PART_ALL}};
const naming naming_llama = {"llama", llama_rules, false, ROTARY_HALVES};

/* As transformers 5 holds experts in memory, and mergekit writes them: all of a layer in one tensor, gate and up in one. */
#define HF_STACKED                                                                                                     \
    {ROLE_EXPERT_FC, HF "mlp.experts.gate_up_proj", PART_ALL}, {                                                       \
        ROLE_EXPERT_PROJ, HF "mlp.experts.down_proj", PART_ALL                                                         \
    }

static const name_rule qwen_moe_rules[] = {HF_COMMON,
                                           {ROLE_ROUTER, HF "mlp.gate.weight", PART_ALL},
                                           {ROLE_EXPERT_FC, HF "mlp.experts.@.gate_proj.weight", PART_GATE},
                                           {ROLE_EXPERT_FC, HF "mlp.experts.@.up_proj.weight", PART_UP},
                                           {ROLE_EXPERT_PROJ, HF "mlp.experts.@.down_proj.weight", PART_ALL},
                                           HF_STACKED,
                                           {ROLE_SHARED_FC, HF "mlp.shared_expert.gate_proj.weight", PART_GATE},
                                           {ROLE_SHARED_FC, HF "mlp.shared_expert.up_proj.weight", PART_UP},
                                           {ROLE_SHARED_PROJ, HF "mlp.shared_expert.down_proj.weight", PART_ALL},
                                           {ROLE_SHARED_GATE, HF "mlp.shared_expert_gate.weight", PART_ALL},
                                           {0, NULL, PART_ALL}};
const naming naming_qwen_moe = {"qwen_moe", qwen_moe_rules, false, ROTARY_HALVES};

static const name_rule mixtral_rules[] = {HF_COMMON,
                                          {ROLE_ROUTER, HF "block_sparse_moe.gate.weight", PART_ALL},
                                          {ROLE_ROUTER, HF "mlp.gate.weight", PART_ALL},
                                          {ROLE_EXPERT_FC, HF "block_sparse_moe.experts.@.w1.weight", PART_GATE},
                                          {ROLE_EXPERT_FC, HF "block_sparse_moe.experts.@.w3.weight", PART_UP},
                                          {ROLE_EXPERT_PROJ, HF "block_sparse_moe.experts.@.w2.weight", PART_ALL},
                                          HF_STACKED,
                                          {0, NULL, PART_ALL}};
const naming naming_mixtral = {"mixtral", mixtral_rules, false, ROTARY_HALVES};

/* ---- GGUF (gguf-py/gguf/constants.py): experts of a layer in one tensor, in older files one each ---- */

#define GGUF "blk.#."
static const name_rule gguf_rules[] = {{ROLE_TOK_EMB, "token_embd.weight", PART_ALL},
                                       {ROLE_FINAL_NORM, "output_norm.weight", PART_ALL},
                                       {ROLE_HEAD, "output.weight", PART_ALL},
                                       {ROLE_ATTN_NORM, GGUF "attn_norm.weight", PART_ALL},
                                       {ROLE_C_Q, GGUF "attn_q.weight", PART_ALL},
                                       {ROLE_C_K, GGUF "attn_k.weight", PART_ALL},
                                       {ROLE_C_V, GGUF "attn_v.weight", PART_ALL},
                                       {ROLE_C_Q_BIAS, GGUF "attn_q.bias", PART_ALL},
                                       {ROLE_C_K_BIAS, GGUF "attn_k.bias", PART_ALL},
                                       {ROLE_C_V_BIAS, GGUF "attn_v.bias", PART_ALL},
                                       {ROLE_ATTENTION_PROJ, GGUF "attn_output.weight", PART_ALL},
                                       {ROLE_ATTENTION_PROJ_BIAS, GGUF "attn_output.bias", PART_ALL},
                                       {ROLE_Q_NORM, GGUF "attn_q_norm.weight", PART_ALL},
                                       {ROLE_K_NORM, GGUF "attn_k_norm.weight", PART_ALL},
                                       {ROLE_MLP_NORM, GGUF "ffn_norm.weight", PART_ALL},
                                       {ROLE_MLP_FC, GGUF "ffn_gate.weight", PART_GATE},
                                       {ROLE_MLP_FC, GGUF "ffn_up.weight", PART_UP},
                                       {ROLE_MLP_FC_BIAS, GGUF "ffn_gate.bias", PART_GATE},
                                       {ROLE_MLP_FC_BIAS, GGUF "ffn_up.bias", PART_UP},
                                       {ROLE_MLP_PROJ, GGUF "ffn_down.weight", PART_ALL},
                                       {ROLE_MLP_PROJ_BIAS, GGUF "ffn_down.bias", PART_ALL},
                                       {ROLE_ROUTER, GGUF "ffn_gate_inp.weight", PART_ALL},
                                       {ROLE_EXPERT_FC, GGUF "ffn_gate_exps.weight", PART_GATE},
                                       {ROLE_EXPERT_FC, GGUF "ffn_gate.@.weight", PART_GATE},
                                       {ROLE_EXPERT_FC, GGUF "ffn_up_exps.weight", PART_UP},
                                       {ROLE_EXPERT_FC, GGUF "ffn_up.@.weight", PART_UP},
                                       {ROLE_EXPERT_PROJ, GGUF "ffn_down_exps.weight", PART_ALL},
                                       {ROLE_EXPERT_PROJ, GGUF "ffn_down.@.weight", PART_ALL},
                                       {ROLE_SHARED_FC, GGUF "ffn_gate_shexp.weight", PART_GATE},
                                       {ROLE_SHARED_FC, GGUF "ffn_up_shexp.weight", PART_UP},
                                       {ROLE_SHARED_PROJ, GGUF "ffn_down_shexp.weight", PART_ALL},
                                       {ROLE_SHARED_GATE, GGUF "ffn_gate_inp_shexp.weight", PART_ALL},
                                       {0, NULL, PART_ALL}};
const naming naming_gguf_llama = {"gguf llama", gguf_rules, false, ROTARY_NEIGHBOURS};
const naming naming_gguf_qwen = {"gguf qwen", gguf_rules, false, ROTARY_HALVES};

/* ---- a parameter's tensors ---- */

int naming_spellings(const naming *n, const param_spec *spec, name_part part, named_tensor out[MOST_SPELLINGS]) {
    int count = 0;
    for (const name_rule *r = n->rules; r->pattern && count < MOST_SPELLINGS; r++) {
        if (r->role != spec->role || r->part != part) continue;
        named_tensor *t = &out[count++];
        t->part = part;
        t->stacked = role_has_expert(spec->role) && !strchr(r->pattern, '@');
        name_write(t->name, r->pattern, spec->layer, spec->expert);
    }
    if (count == 0 && n->moec && part == PART_ALL) {
        name_write(out[0].name, role_pattern(spec->role), spec->layer, spec->expert);
        out[0].part = part;
        out[0].stacked = false;
        count = 1;
    }
    return count;
}

int naming_parts(const naming *n, param_role role, name_part parts[MOST_PARTS]) {
    bool has[PART_UP + 1] = {false};
    int count = 0;
    for (const name_rule *r = n->rules; r->pattern; r++)
        if (r->role == role) has[r->part] = true;
    if (has[PART_GATE] && has[PART_UP]) {
        parts[count++] = PART_GATE;
        parts[count++] = PART_UP;
    } else if (has[PART_ALL] || n->moec) {
        parts[count++] = PART_ALL;
    }
    return count;
}

/* A bias's halves are halves of its elements: rows here are what a part is made of. */
void part_rows(const param_spec *spec, name_part part, int64_t *first, int64_t *rows) {
    const int64_t all = spec->ndim == 2 ? spec->shape[0] : spec_cols(spec);
    *first = part == PART_UP ? all / 2 : 0;
    *rows = part == PART_ALL ? all : all / 2;
}

/* ---- rotated rows ---- */

bool role_is_rotated(param_role role) {
    return role == ROLE_C_Q || role == ROLE_C_K || role == ROLE_C_Q_BIAS || role == ROLE_C_K_BIAS ||
           role == ROLE_Q_NORM || role == ROLE_K_NORM;
}

/* Pair i turns by +θ: its first and its second member. The records' −θ is the same with the members exchanged. */
static int channel_of(rotary_style style, int dims, int pair, int member) {
    switch (style) {
    case ROTARY_NEIGHBOURS:
        return 2 * pair + member;
    case ROTARY_RECORD:
        return pair + (1 - member) * dims / 2;
    default:
        return pair + member * dims / 2;
    }
}

int rotary_channel(rotary_style from, rotary_style to, int dims, int channel) {
    if (channel >= dims) return channel;
    int pair, member;
    if (from == ROTARY_NEIGHBOURS) {
        pair = channel / 2;
        member = channel % 2;
    } else {
        pair = channel % (dims / 2);
        member = channel / (dims / 2);
        if (from == ROTARY_RECORD) member = 1 - member;
    }
    return channel_of(to, dims, pair, member);
}

/* ---- whole names ---- */

param *naming_find(const naming *n, const model *m, const char *name) {
    int layer, expert;
    for (const name_rule *r = n->rules; r->pattern; r++)
        if (name_matches(r->pattern, name, &layer, &expert)) return model_param(m, r->role, layer, expert);
    return n->moec ? model_find(m, name) : NULL;
}

bool naming_write(const naming *n, const param *p, char name[PARAM_NAME_BYTES]) {
    const param_spec spec = {.role = (param_role)p->role, .layer = p->layer, .expert = p->expert};
    named_tensor found[MOST_SPELLINGS];
    if (naming_spellings(n, &spec, PART_ALL, found) == 0) return false;
    strcpy(name, found[0].name);
    return true;
}
