/* Which experts a command runs: those that it was told to, or the one that the secretary (eval/secretary.h) chooses for a text. */
#ifndef MOEC_CLI_SECRETARY_H
#define MOEC_CLI_SECRETARY_H

#include "cli/prompt.h"
#include "kernel/kernel.h"
#include "nn/config.h"
#include "text/tokenizer.h"

/* ---- what is asked for ---- */

typedef struct expert_wish {
    const char *only, *omit; /* lists of names or numbers; NULL: none */
    bool secretary;
    const char *layers; /* whose routers the secretary asks; NULL: all */
} expert_wish;
/* --expert, --omit, --secretary and --layers. */
status expert_wish_parse(int *argc, char **argv, expert_wish *w);
static inline bool expert_wish_is(const expert_wish *w) {
    return w->only || w->omit || w->secretary;
}

/* A list like "4,5" into layers [MODEL_MAX_LAYERS], of a model of that config. */
status secretary_layers(const model_config *c, const char *list, bool *layers);

/* ---- what comes of it ---- */

/* A model that is named on the command line, and what is asked of it. */
typedef struct expert_question {
    const char *path, *which; /* as open_model takes them */
    const kernels *k;
    const prompt *text;
    int64_t context; /* only the last tokens of the text; 0: all */
} expert_question;
/* chosen [E] of the model's config, which is read here. Says on stderr what the secretary found; for it the model runs once, layer
 * after layer, so that it never is in memory as a whole (an artifact is, its weights lie in one stream). */
status experts_choose(const expert_wish *w, const expert_question *q, model_config *c, bool *chosen);

/* "code 0.93, prose 0.05, 6 others": the largest first, at most `most` of them. A new string. */
char *secretary_text(const moe_config *c, const double *probabilities, int most);

#endif
