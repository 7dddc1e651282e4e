/* Everything that a run is described by. A preset in configs/ is YAML over the same keys; every key can be overridden as
 * key=value. Keys are unique leaf names, grouped in sections (data, model, train, optimizer, events, pack, eval); both
 * `batch=4` and `train.batch=4` are understood. train/config.c holds one table: section, key, type, range, meaning. */
#ifndef MOEC_TRAIN_CONFIG_H
#define MOEC_TRAIN_CONFIG_H

#include "nn/config.h"
#include <stdint.h>
#include <stdio.h>

typedef enum event_kind { EVENT_UPCYCLE, EVENT_LOOP, EVENT_QAT } event_kind;
enum { MAX_EVENTS = 16 };

/* Which mean of the weights is kept beside the live ones (average.h). */
typedef enum average_kind { AVERAGE_NONE, AVERAGE_EMA, AVERAGE_SWA } average_kind;
enum { START_AT_WARMDOWN = -1 }; /* of ema_start and swa_start: the word `warmdown` */

/* `{at: 0.30, do: upcycle, layers: [4, 5], experts: 2}` */
typedef struct event {
    double at;       /* fraction of the training, by steps or by wall-clock as the schedule runs */
    double below_lr; /* qat: instead of `at`, when the learning rate's factor is below this; 0: `at` counts */
    event_kind kind;
    bool layers[MODEL_MAX_LAYERS]; /* upcycle */
    int experts, top_k;            /* upcycle; top_k 1 by default */
    int bits;                      /* qat: 6 by default */
} event;

typedef struct run_config {
    char *run;       /* folder of the run: checkpoints, log.jsonl, config.yaml */
    char *data;      /* folder made by `moec data`, or a shard pattern */
    char *tokenizer; /* .model; by default the one in `data` */
    model_config model;

    /* train */
    int64_t batch;      /* sequences a micro-batch */
    int64_t seq;        /* tokens a sequence */
    int64_t accumulate; /* micro-batches a step */
    int64_t steps;      /* the schedule's length, 0: max_seconds alone decides */
    double max_seconds; /* > 0: schedules run on wall-clock (training time only) and training stops there */
    uint64_t seed;
    bool shuffle;
    char *dtype;               /* "auto", "f32", "bf16" */
    int64_t checkpoint_every;  /* steps; 0: only at the end */
    double checkpoint_seconds; /* and at least this often; 0: no */
    int64_t keep_checkpoints;
    int64_t val_every;  /* steps between looks at the held-out loss; 0: none */
    int64_t val_tokens; /* of those */
    int64_t log_every;  /* console lines; the JSONL log has every step */

    /* optimizer */
    double matrix_lr, embed_lr, head_lr, scalar_lr;
    double muon_momentum, muon_momentum_warmup_start;
    int64_t muon_momentum_warmup_steps, newton_schulz_steps;
    bool muon_nesterov, muon_row_normalize;
    double muon_wd, embed_wd, beta1, beta2, adam_eps;
    double grad_clip;             /* global norm; 0: none */
    double warmup_frac;           /* linear warm-up from 0 */
    double warmdown_frac, min_lr; /* linear to min_lr over the last part */
    average_kind average;
    double ema_decay;  /* 0: no EMA */
    double ema_start;  /* fraction of the training or START_AT_WARMDOWN; 0: from the initial weights on, ramped */
    double swa_start;  /* the same for SWA */
    int64_t swa_every; /* steps between the checkpoints that SWA averages */

    event events[MAX_EVENTS];
    int event_count;

    /* pack */
    int64_t budget_bytes; /* the artifact must not be larger */
    int64_t pack_bits;    /* matrices: 6 */
    int64_t embed_bits;   /* 8; 0: chosen */
    int64_t calibration_batches;
    double gptq_damp;
    double prune_fraction; /* of each matrix in blocks: its smallest weights become 0 */

    /* eval */
    int64_t eval_stride; /* new tokens a window; the rest of seq is context */
    double blend_lambda; /* of the causal bigram blend */
} run_config;

run_config run_config_default(void); /* #2102's, events included; run_config_free it */
void run_config_free(run_config *c);
/* Read a YAML file over *c (the presets that its key `base` names before it), then apply overrides ("key=value"), then check everything. An unknown key is an error that
 * names the nearest one; a wrong type says what was expected and what was found. path may be NULL. */
status run_config_load(run_config *c, const char *path, char *const *overrides, int override_count);
status run_config_parse(run_config *c, const char *where, const char *yaml, size_t bytes); /* no overrides, no check */
status run_config_check(const run_config *c);
bool run_config_averages(const run_config *c); /* whether a mean of the weights is kept */
/* The model that `now` is once every event has happened. */
model_config run_config_after_events(const run_config *c, const model_config *now);
/* The whole config as YAML that run_config_load reads back to the same values. */
status run_config_write(const run_config *c, const char *path);
/* The table of keys with types, defaults and meanings, for `moec train --help`. */
void run_config_describe(FILE *out);

#endif
