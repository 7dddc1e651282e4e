/* A checkpoint without a run, of weights that pass by: what surgery and import leave, to be trained on, evaluated, packed or
 * exported like any other. */
#ifndef MOEC_STORE_CHECKPOINT_ALONE_H
#define MOEC_STORE_CHECKPOINT_ALONE_H

#include "formats/storage.h"
#include "nn/weight_source.h"
#include "text/tokenizer.h"
#include <cjson/cJSON.h>

/* The folder `path`, which must not exist. type: of its matrices, F32, F16 or BF16; vectors, scalars and routers are F32. tok may
 * be NULL. origin (taken over; may be NULL): a JSON object that tells where it comes from, kept in its manifest. *bytes (may be
 * NULL): of the weights' file. */
status checkpoint_write_alone(const char *path, const weight_source *w, storage type, const tokenizer *tok,
                              int context_tokens, cJSON *origin, int64_t *bytes);

#endif
