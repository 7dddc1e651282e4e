#include "formats/family.h"

#include <stdio.h>
#include <string.h>

static const family families[] = {
    {.name = "llama",
     .architecture = "LlamaForCausalLM",
     .gguf = "llama",
     .hf_names = &naming_llama,
     .gguf_names = &naming_gguf_llama,
     .may_bias = true},
    {.name = "mistral",
     .architecture = "MistralForCausalLM",
     .gguf = "llama",
     .hf_names = &naming_llama,
     .gguf_names = &naming_gguf_llama,
     .kv_heads = 8,
     .may_window = true,
     .window = 4096},
    {.name = "mixtral",
     .architecture = "MixtralForCausalLM",
     .gguf = "llama",
     .hf_names = &naming_mixtral,
     .gguf_names = &naming_gguf_llama,
     .mixture = MIXTURE_MIXTRAL,
     .kv_heads = 8,
     .rope_theta = 1e6f,
     .rms_norm_eps = 1e-5f,
     .may_window = true},
    {.name = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .gguf = "qwen2",
     .hf_names = &naming_llama,
     .gguf_names = &naming_gguf_qwen,
     .qkv_bias = true,
     .kv_heads = 32,
     .may_window = true,
     .switched_window = true,
     .window = 4096},
    {.name = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .gguf = "qwen3",
     .hf_names = &naming_llama,
     .gguf_names = &naming_gguf_qwen,
     .may_bias = true,
     .qk_norm = true,
     .kv_heads = 32,
     .may_window = true,
     .switched_window = true,
     .window = 4096},
    {.name = "qwen2_moe",
     .architecture = "Qwen2MoeForCausalLM",
     .gguf = "qwen2moe",
     .hf_names = &naming_qwen_moe,
     .gguf_names = &naming_gguf_qwen,
     .mixture = MIXTURE_QWEN2,
     .qkv_bias = true,
     .kv_heads = 16,
     .may_window = true,
     .switched_window = true,
     .window = 4096},
    {.name = "qwen3_moe",
     .architecture = "Qwen3MoeForCausalLM",
     .gguf = "qwen3moe",
     .hf_names = &naming_qwen_moe,
     .gguf_names = &naming_gguf_qwen,
     .mixture = MIXTURE_QWEN3,
     .may_bias = true,
     .qk_norm = true,
     .kv_heads = 4,
     .may_window = true,
     .switched_window = true,
     .window = 4096},
};
enum { FAMILIES = sizeof families / sizeof *families };

/* "qwen2-moe" is as good as "qwen2_moe". */
static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++)
        if (*a != *b && !(*a == '_' && *b == '-') && !(*a == '-' && *b == '_')) return false;
    return *a == *b;
}

const family *family_of_type(const char *model_type) {
    for (int i = 0; i < FAMILIES; i++)
        if (same_name(families[i].name, model_type)) return &families[i];
    return NULL;
}

const family *family_of_architecture(const char *gguf, bool mixture) {
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(families[i].gguf, gguf) == 0 && (families[i].mixture != MIXTURE_NONE) == mixture)
            return &families[i];
    return NULL;
}

const char *family_list(char *text, size_t bytes) {
    size_t used = 0;
    for (int i = 0; i < FAMILIES && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", i ? ", " : "", families[i].name);
    return text;
}

const family *family_for(const model_config *c) {
    const bool mixture = model_config_has_moe(c), weights = c->attention.qk_norm == QK_NORM_WEIGHT;
    if (!mixture)
        return family_of_type(weights ? "qwen3" : c->attention.qkv_bias && !c->attention.proj_bias ? "qwen2" : "llama");
    if (model_config_shared_hidden(c) > 0 || c->attention.qkv_bias) return family_of_type("qwen2_moe");
    return family_of_type(weights ? "qwen3_moe" : "mixtral");
}

model_config family_base(void) {
    model_config c = model_config_default();
    c.stem = (stem_config){.bigram_dim = c.stem.bigram_dim, .trigram_dim = c.stem.trigram_dim};
    c.attention = (attention_config){.heads = c.attention.heads, .kv_heads = c.attention.kv_heads};
    c.rotary.dims = 0;
    c.rotary.style = ROTARY_HALVES;
    c.norm = (norm_config){.eps = 1e-6f, .weight = true};
    c.mlp.activation = ACTIVATION_SWIGLU;
    c.residual = (residual_config){.parallel_start_layer = c.num_layers};
    c.loop = (loop_config){0};
    c.head = (head_config){0};
    c.init.embed_std = 0.02f;
    return c;
}
