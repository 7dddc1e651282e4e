/* What is in an artifact, found by reading all of it, without a device: which bits, which steps, how many bytes, by component. */
#ifndef MOEC_STORE_ARTIFACT_CONTENTS_H
#define MOEC_STORE_ARTIFACT_CONTENTS_H

#include "nn/budget.h"
#include "nn/config.h"

typedef struct contents_component {
    int tensors, grids;        /* of the tensors, those on a grid; the others are float16 or float32 */
    int64_t elements;          /* in all */
    int64_t grid_elements;     /* on grids */
    int64_t bytes;             /* in the file, with its share of what is packed together (scales, floats) */
    int least_bits, most_bits; /* of its grids */
    double step;               /* mean over the grids' weights of their row's step, in the row's root mean square */
} contents_component;

typedef struct artifact_contents {
    model_config model;
    int context_tokens;
    char weights[8]; /* which of a training's they are: "live", "ema"; "": the file does not say */
    int64_t file_bytes, weight_bytes, tokenizer_bytes, config_bytes;
    contents_component components[COMPONENTS];
} artifact_contents;

status artifact_examine(artifact_contents *out, const char *path);
/* Only what the config says: model, context_tokens, weights. */
status artifact_examine_config(artifact_contents *out, const char *path);

#endif
