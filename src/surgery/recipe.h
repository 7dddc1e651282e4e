/* How a mixture is made, as keys (what `moec upcycle PARENT -o OUT key=value …` takes), and who its experts are meant to be. */
#ifndef MOEC_SURGERY_RECIPE_H
#define MOEC_SURGERY_RECIPE_H

#include "config/schema.h"
#include "surgery/router_init.h"

typedef enum router_init {
    ROUTER_RANDOM,
    ROUTER_HIDDEN,
    ROUTER_HIDDEN_AVG,
    ROUTER_CHEAP_EMBED,
    ROUTER_CLUSTER
} router_init;

typedef struct recipe {
    upcycle_options options;
    int gates;     /* index of gate_names: normalized, renormalized, probability */
    int attention; /* 0: the first parent's, 1: the mean */
    router_init router;
    double
        router_std; /* of ROUTER_RANDOM; 10⁻⁹: all probabilities are 1/E to the last bit, so the mixture is its parent,
                          and yet tokens go to different experts (op_moe compares logits) */
    char *prompts; /* a YAML file; NULL: none */
    char *type;    /* of the weights that are written: f32, f16, bf16 */
} recipe;

extern const config_schema recipe_schema;
recipe recipe_default(void);
void recipe_free(recipe *r);
/* Fills options from the other keys, and checks what must agree. */
status recipe_check(recipe *r);
/* `experts: [{name: code, prompts: [...], negative: [...]}, ...]` and `shared: {prompts: [...]}`. *prompts has `expected` entries, the
 * shared MLP's last where there is one; free with prompts_free. */
status prompts_read(expert_prompts **prompts, const char *path, int experts, bool shared);
void prompts_free(expert_prompts *prompts, int count);
/* The names of all of them, or none: where one has no name, or they are too long, alike or too many for a config. */
label_list prompts_names(const expert_prompts *prompts, int experts);

#endif
