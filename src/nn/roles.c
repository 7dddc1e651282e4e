#include "nn/roles.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const component_names[COMPONENTS] = {[COMPONENT_EMBEDDING] = "embedding",
                                                        [COMPONENT_BIGRAM] = "bigram",
                                                        [COMPONENT_TRIGRAM] = "trigram",
                                                        [COMPONENT_ATTENTION] = "attention",
                                                        [COMPONENT_MLP] = "mlp",
                                                        [COMPONENT_SHARED] = "shared",
                                                        [COMPONENT_EXPERTS] = "experts",
                                                        [COMPONENT_ROUTER] = "router",
                                                        [COMPONENT_ADAPTERS] = "adapters",
                                                        [COMPONENT_NORMS] = "norms",
                                                        [COMPONENT_GATES] = "gates",
                                                        [COMPONENT_SKIPS] = "skips",
                                                        [COMPONENT_HEAD] = "head"};
const char *component_name(component c) {
    return component_names[c];
}

static const struct role_row {
    const char *pattern;
    component component;
    bool is_matrix;
} role_table[ROLES] = {
    [ROLE_TOK_EMB] = {"tok_emb.weight", COMPONENT_EMBEDDING, true},
    [ROLE_BIGRAM_TABLE] = {"bigram_emb.weight", COMPONENT_BIGRAM, true},
    [ROLE_BIGRAM_PROJ] = {"bigram_proj.weight", COMPONENT_BIGRAM, true},
    [ROLE_BIGRAM_SCALE] = {"bigram_scale", COMPONENT_BIGRAM, false},
    [ROLE_TRIGRAM_TABLE] = {"trigram_emb.weight", COMPONENT_TRIGRAM, true},
    [ROLE_TRIGRAM_PROJ] = {"trigram_proj.weight", COMPONENT_TRIGRAM, true},
    [ROLE_TRIGRAM_SCALE] = {"trigram_scale", COMPONENT_TRIGRAM, false},
    [ROLE_ATTN_NORM] = {"blocks.#.attn_norm.weight", COMPONENT_NORMS, false},
    [ROLE_C_Q] = {"blocks.#.attn.c_q.weight", COMPONENT_ATTENTION, true},
    [ROLE_C_K] = {"blocks.#.attn.c_k.weight", COMPONENT_ATTENTION, true},
    [ROLE_C_V] = {"blocks.#.attn.c_v.weight", COMPONENT_ATTENTION, true},
    [ROLE_C_Q_BIAS] = {"blocks.#.attn.c_q.bias", COMPONENT_ATTENTION, false},
    [ROLE_C_K_BIAS] = {"blocks.#.attn.c_k.bias", COMPONENT_ATTENTION, false},
    [ROLE_C_V_BIAS] = {"blocks.#.attn.c_v.bias", COMPONENT_ATTENTION, false},
    [ROLE_ATTENTION_PROJ] = {"blocks.#.attn.proj.weight", COMPONENT_ATTENTION, true},
    [ROLE_ATTENTION_PROJ_BIAS] = {"blocks.#.attn.proj.bias", COMPONENT_ATTENTION, false},
    [ROLE_Q_NORM] = {"blocks.#.attn.q_norm.weight", COMPONENT_NORMS, false},
    [ROLE_K_NORM] = {"blocks.#.attn.k_norm.weight", COMPONENT_NORMS, false},
    [ROLE_Q_GAIN] = {"blocks.#.attn.q_gain", COMPONENT_GATES, false},
    [ROLE_ATTN_SCALE] = {"blocks.#.attn_scale", COMPONENT_GATES, false},
    [ROLE_MLP_NORM] = {"blocks.#.mlp_norm.weight", COMPONENT_NORMS, false},
    [ROLE_MLP_FC] = {"blocks.#.mlp.fc.weight", COMPONENT_MLP, true},
    [ROLE_MLP_PROJ] = {"blocks.#.mlp.proj.weight", COMPONENT_MLP, true},
    [ROLE_MLP_FC_BIAS] = {"blocks.#.mlp.fc.bias", COMPONENT_MLP, false},
    [ROLE_MLP_PROJ_BIAS] = {"blocks.#.mlp.proj.bias", COMPONENT_MLP, false},
    [ROLE_ROUTER] = {"blocks.#.mlp.router.weight", COMPONENT_ROUTER, false},
    [ROLE_ROUTER_BIAS] = {"blocks.#.mlp.router_bias", COMPONENT_ROUTER, false},
    [ROLE_EXPERT_FC] = {"blocks.#.mlp.experts_fc.@.weight", COMPONENT_EXPERTS, true},
    [ROLE_EXPERT_PROJ] = {"blocks.#.mlp.experts_proj.@.weight", COMPONENT_EXPERTS, true},
    [ROLE_SHARED_FC] = {"blocks.#.mlp.shared.fc.weight", COMPONENT_SHARED, true},
    [ROLE_SHARED_PROJ] = {"blocks.#.mlp.shared.proj.weight", COMPONENT_SHARED, true},
    [ROLE_SHARED_GATE] = {"blocks.#.mlp.shared.gate.weight", COMPONENT_ROUTER, false},
    [ROLE_RANDOM_WEIGHT] = {"blocks.#.mlp.fc.random_weight", COMPONENT_MLP, true},
    [ROLE_ADAPTER_GAIN] = {"blocks.#.mlp.fc.adapter_gain", COMPONENT_ADAPTERS, false},
    [ROLE_ADAPTER_ROUTER] = {"blocks.#.mlp.fc.adapter_router.weight", COMPONENT_ADAPTERS, false},
    [ROLE_ADAPTER_DOWN] = {"blocks.#.mlp.fc.adapter_down.weight", COMPONENT_ADAPTERS, true},
    [ROLE_ADAPTER_UP] = {"blocks.#.mlp.fc.adapter_up.weight", COMPONENT_ADAPTERS, true},
    [ROLE_MLP_SCALE] = {"blocks.#.mlp_scale", COMPONENT_GATES, false},
    [ROLE_RESID_MIX] = {"blocks.#.resid_mix", COMPONENT_GATES, false},
    [ROLE_SMEAR_W] = {"blocks.#.smear_w", COMPONENT_GATES, false},
    [ROLE_SKIP_WEIGHTS] = {"skip_weights", COMPONENT_SKIPS, false},
    [ROLE_SKIP_GATES] = {"skip_gates", COMPONENT_SKIPS, false},
    [ROLE_SMEAR_GATE] = {"smear.gate", COMPONENT_GATES, false},
    [ROLE_FINAL_NORM] = {"final_norm.weight", COMPONENT_NORMS, false},
    [ROLE_HEAD] = {"lm_head.weight", COMPONENT_HEAD, true},
};

component role_component(param_role role) {
    return role_table[role].component;
}
bool role_is_matrix(param_role role) {
    return role_table[role].is_matrix;
}
bool role_is_in_block(param_role role) {
    return strchr(role_table[role].pattern, '#') != NULL;
}
bool role_has_expert(param_role role) {
    return strchr(role_table[role].pattern, '@') != NULL;
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

const char *role_pattern(param_role role) {
    return role_table[role].pattern;
}

void name_write(char name[PARAM_NAME_BYTES], const char *pattern, int layer, int expert) {
    size_t used = 0;
    for (; *pattern && used + 1 < PARAM_NAME_BYTES; pattern++) {
        if (*pattern == '#' || *pattern == '@')
            used += (size_t)snprintf(name + used, PARAM_NAME_BYTES - used, "%d", *pattern == '#' ? layer : expert);
        else
            name[used++] = *pattern;
    }
    name[used < PARAM_NAME_BYTES ? used : PARAM_NAME_BYTES - 1] = '\0';
}

enum { MOST_DIGITS = 6 };

/* The decimal number at *name, without leading zeros; *name moves behind it. */
static bool read_number(const char **name, int *value) {
    size_t digits = 0;
    while (digits <= MOST_DIGITS && isdigit((unsigned char)(*name)[digits])) digits++;
    if (digits == 0 || digits > MOST_DIGITS || (**name == '0' && digits > 1)) return false;
    *value = atoi(*name);
    *name += digits;
    return true;
}

bool name_matches(const char *pattern, const char *name, int *layer, int *expert) {
    *layer = *expert = -1;
    for (; *pattern; pattern++) {
        if (*pattern == '#' || *pattern == '@') {
            if (!read_number(&name, *pattern == '#' ? layer : expert)) return false;
        } else if (*pattern != *name++) {
            return false;
        }
    }
    return *name == '\0';
}
