/* What a model is run from and in: --run-bits, --run-inputs, --cache, --layout, --device and --dtype of the commands that write text. */
#ifndef MOEC_CLI_RUN_FORM_H
#define MOEC_CLI_RUN_FORM_H

#include "nn/model.h"
#include "store/layout_open.h"
#include "text/tokenizer.h"

enum { AUTO_EXPERTS = -1 }; /* twice as many as a token is sent to */

typedef struct run_form {
    model_use use;              /* MODEL_RUN_STORED where nothing was said */
    cache_type cache;           /* for model.cache */
    const char *device, *dtype; /* as they were asked for; or NULL */
    bool float_cache;           /* --cache f32 */
    layout_wish layout;
    int hot_experts; /* of a layer in memory at a time; 0: all; AUTO_EXPERTS */
} run_form;

status run_form_parse(int *argc, char **argv, run_form *f);
/* --hot-experts, of generate and serve. */
status run_form_parse_hot(int *argc, char **argv, run_form *f);
/* The device for that model, not opened yet. */
status run_form_open(const run_form *f, const char *model, const kernels **k);

/* The model itself, with the cache that was asked for; by way of a layout where that can be, and a line on stderr where there is one to say
 * of it. Experts that come and go (--hot-experts) have none: what is mapped comes and goes by itself. */
status run_form_load(const run_form *f, const char *path, const kernels *k, const char *which, model **m,
                     tokenizer **tok, int *context_tokens);

#endif
