/* Families of pretrained models: what Hugging Face and GGUF call them, and what their configurations mean. */
#ifndef MOEC_FORMATS_FAMILY_H
#define MOEC_FORMATS_FAMILY_H

#include "formats/gguf.h"
#include "formats/names.h"
#include "nn/config.h"

typedef enum family_mixture { MIXTURE_NONE, MIXTURE_MIXTRAL, MIXTURE_QWEN2, MIXTURE_QWEN3 } family_mixture;

typedef struct family {
    const char *name;         /* Hugging Face's model_type, and what `moec export --to` takes: "qwen2" */
    const char *architecture; /* "Qwen2ForCausalLM" */
    const char *gguf;         /* general.architecture */
    const naming *hf_names, *gguf_names;
    family_mixture mixture;
    bool qkv_bias;   /* always has them (Qwen2) */
    bool may_bias;   /* attention_bias (and for Llama mlp_bias) says */
    bool qk_norm;    /* with weights (Qwen3) */
    bool may_window; /* sliding windows of its own; Qwen's need use_sliding_window too */
    bool switched_window;
    /* Where Hugging Face's config.json does not say: */
    int kv_heads;                   /* 0: as many as heads */
    int window;                     /* sliding_window */
    float rope_theta, rms_norm_eps; /* 0: those of family_base() */
} family;

const family *family_of_type(const char *model_type);                 /* NULL: not among them */
const family *family_of_architecture(const char *gguf, bool mixture); /* GGUF calls Mixtral a llama with experts */
const char *family_list(char *text, size_t bytes);                    /* "llama, mistral, …" */

/* The one that such a model is likeliest to fit. */
const family *family_for(const model_config *c);

/* A Llama block with everything else off: what the families' configurations begin from. */
model_config family_base(void);

/* ---- configurations ---- */

/* What no family has a key for: the names of experts. Other programs pass over keys that they do not know. */
#define HF_EXPERT_NAMES "moec_expert_names"
#define GGUF_EXPERT_NAMES "moec.expert_names"

/* From Hugging Face's config.json; `where` names it. context_tokens: the longest that the model is made for. window: how far
 * attention looks back; 0: to the beginning. */
status hf_config_read(const cJSON *json, const char *where, const family **f, model_config *c, int *context_tokens,
                      int *window);
/* The way back: config.json for transformers. type: "float32", "bfloat16", "float16". */
cJSON *hf_config_write(const family *f, const model_config *c, int context_tokens, const char *type);

status gguf_config_read(const gguf *g, const family **f, model_config *c, int *context_tokens, int *window);

/* The same model by the exact widths, resolved layers, the one rotary convention (halves) and the gate that computes the same;
 * what matters only for training is as in family_base(), and so is moe_bias_rate: whether a router has a selection bias. Two
 * configs with the same canonical form compute the same function of their weights, up to the order of rotated rows, where no such
 * bias differs from zero. */
model_config config_canonical(const model_config *c);
/* What differs in their canonical forms: one line "key: expected …, found …" as a failure of `what`. */
status config_same(const model_config *wanted, const model_config *found, const char *what);

#endif
