/* What `moec inspect` found, and its two ways of saying it; private to cli/inspect*.c. */
#ifndef MOEC_CLI_INSPECT_H
#define MOEC_CLI_INSPECT_H

#include "nn/budget.h"
#include "quant/estimate.h"
#include "store/artifact_contents.h"
#include "train/config.h"

typedef struct inspected {
    const char *path;
    const char *kind;        /* "preset", "checkpoint", "artifact", "Hugging Face folder" or "GGUF file" */
    char *checkpoint;        /* the folder that was read; NULL: none */
    int64_t step, tokens;    /* of a checkpoint */
    run_config run;          /* of a preset or a checkpoint */
    bool has_run;            /* events, bits and budget are known */
    model_config now, after; /* before and after the events that are still to come */
    int64_t context;         /* tokens a sequence */
    model_budget budget_now, budget_after;
    double gflop_now, gflop_after; /* forward, per token */

    size_estimate estimate;     /* of `after`; with has_run */
    double bits, embed_bits;    /* entropy per weight of that estimate */
    int64_t tokenizer_bytes;    /* compressed; −1: not known */
    artifact_contents contents; /* of an artifact */
} inspected;

void inspect_print(const inspected *i);
void inspect_print_json(const inspected *i);

#endif
