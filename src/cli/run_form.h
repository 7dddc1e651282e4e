/* What a model is run from: --run-bits, --run-inputs, --device and --dtype of the commands that write text. */
#ifndef MOEC_CLI_RUN_FORM_H
#define MOEC_CLI_RUN_FORM_H

#include "nn/model.h"

typedef struct run_form {
    model_use use;              /* MODEL_RUN_STORED where nothing was said */
    const char *device, *dtype; /* as they were asked for; or NULL */
} run_form;

status run_form_parse(int *argc, char **argv, run_form *f);
/* The device for that model, not opened yet. */
status run_form_open(const run_form *f, const char *model, const kernels **k);

#endif
