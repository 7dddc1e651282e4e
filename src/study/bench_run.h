/* Timing a model that is run: reading prompts, and writing, for several numbers of texts at a time. */
#ifndef MOEC_STUDY_BENCH_RUN_H
#define MOEC_STUDY_BENCH_RUN_H

#include "generate/drafts.h"

enum { BENCH_RUN_BATCHES = 16 };

typedef struct bench_run_options {
    int batches[BENCH_RUN_BATCHES]; /* texts at a time */
    int batch_count;
    int64_t prompt, tokens;  /* of each text: read, then written (≥ 2) */
    int64_t bandwidth_bytes; /* of the array whose reading is timed; 0: it is not */
    const int32_t *text;     /* [text_count ≥ prompt]: prompts are pieces of it; NULL: random tokens */
    int64_t text_count;
    draft_source drafts; /* who proposes; a pass is then over up to DRAFT_MOST + 1 rows, as a scheduler's */
} bench_run_options;

typedef struct bench_run_row {
    int batch;
    double prefill;      /* tokens/s of all prompts, read one behind another in pieces of at most 256 tokens */
    double first_token;  /* seconds until a text has its first token, when all come at once: the mean */
    double decode;       /* tokens/s of all texts together */
    double token_median; /* seconds of a pass over the texts' newest tokens, and what is proposed behind them */
    double token_most;   /* the longest time of them */
    draft_figures drafts;
    double bytes;      /* a second that decoding reads of weights, at least: model_token_bytes a step (batch 1) */
    uint64_t resident; /* bytes of this process behind it */
} bench_run_row;

typedef struct bench_run_report {
    int64_t parameters;
    double token_bytes; /* model_token_bytes */
    double cache_bytes; /* of keys and values, a token of a text */
    double bandwidth;   /* bytes/s; 0: not measured */
    bench_run_row rows[BENCH_RUN_BATCHES];
    int row_count;
    uint64_t peak; /* bytes of this process, the bandwidth's array not among them */
} bench_run_report;

/* The likeliest token is written. Rows are warmed up by one step of their own. */
status bench_run(model *m, const bench_run_options *o, bench_run_report *report);

#endif
