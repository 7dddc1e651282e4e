/* An experiment as a file: configurations × seeds under one budget, trained one after another, measured on the held-out text
 * and compared in a table and in plots.
 *
 *   seeds: [1, 2, 3]
 *   max_seconds: 90              # or steps: 600; the same for every run
 *   pack: true                   # also pack each run and score the artifact (false)
 *   eval_tokens: 0               # held-out tokens that are scored at the end, a sample of all domains (eval/sample.h); 0: all
 *   config: ../cpu/dense-9l.yaml # for runs that name none; paths start from this file's folder
 *   common: {val_every: 0}       # overrides of every run
 *   runs:
 *     - {name: dense}
 *     - {name: wide, overrides: {mlp_mult: 4}}
 *   scaling: {of: tokens, times: [1, 2, 4, 8]}   # each run with 1, 2, 4, 8 times the steps, as NAME-x1, NAME-x2, …, and scaling
 *                                # laws through them; without times: runs with `times` of their own. of: parameters or
 *                                # active_parameters: laws through runs of different sizes
 *
 * The output folder gets NAME/seed-N (a run folder each), results.jsonl (a line a finished run), results.md, with `scaling`
 * scaling.json, and plots/. A run
 * whose line is in results.jsonl is not made again; one that was interrupted goes on from its checkpoint. */
#ifndef MOEC_STUDY_SWEEP_H
#define MOEC_STUDY_SWEEP_H

#include "comm/comm.h"
#include "nn/model.h"
#include "train/config.h"

enum { SWEEP_MAX_VARIANTS = 64, SWEEP_MAX_SEEDS = 32, SWEEP_MAX_TIMES = 16 };

/* What grows from run to run. */
typedef enum sweep_size { SIZE_NONE, SIZE_TOKENS, SIZE_PARAMETERS, SIZE_ACTIVE_PARAMETERS } sweep_size;

typedef struct sweep_scaling {
    sweep_size of; /* SIZE_NONE: there is no such key */
    double times[SWEEP_MAX_TIMES];
    int times_count; /* 0: runs are as they are listed */
} sweep_scaling;

typedef struct sweep_override {
    char *text; /* "key=value" */
    int line;
} sweep_override;

typedef struct sweep_overrides {
    sweep_override *items;
    int count;
} sweep_overrides;

typedef struct sweep_variant {
    char *name;   /* of its folder: letters, digits, . _ - */
    char *config; /* path as it is opened */
    int line;
    sweep_overrides overrides;
    double times; /* of the sweep's steps */
    char *
        series; /* through which a scaling law goes: the name without -xN, where scaling.times made this run of it; or NULL */
} sweep_variant;

typedef struct sweep {
    char *path;
    uint64_t seeds[SWEEP_MAX_SEEDS];
    int seed_count;
    int64_t steps;       /* one of the two is above 0 */
    double max_seconds;  /* of training */
    int64_t eval_tokens; /* 0: all */
    bool pack;
    char *config; /* of runs that name none; NULL: each does */
    sweep_overrides common;
    sweep_variant *variants;
    int variant_count;
    sweep_scaling scaling;
} sweep;

/* Of one run; 0: it has a budget of time. */
int64_t sweep_steps(const sweep *s, const sweep_variant *v);

/* Only the text: keys, types, names, seeds, budget. Messages name the line and the key. s is to be freed either way. */
status sweep_parse(sweep *s, const char *where, const char *yaml, size_t bytes);
/* The file, and every configuration that it asks for, with its data: all that can be known to be wrong before any work. A run that needs
 * several ranks (expert_ranks) is: each is one process's. */
status sweep_load(sweep *s, const char *path);
void sweep_free(sweep *s);
/* The whole configuration of one run, its folder in `out`. Of run_config_default(), to be freed either way. */
status sweep_config(const sweep *s, const sweep_variant *v, uint64_t seed, const char *out, run_config *c);

/* Every run that has no result yet, then the report. A run that fails is named, the others are made all the same, and the
 * outcome is STATUS_FAILED. STATUS_INTERRUPTED after Ctrl-C: the same call goes on from there.
 * With several ranks the runs that are to be made go round: each rank makes its own by itself, all of them add their results to one file
 * (whole lines, in the order in which runs end), and rank 0 writes the report when the last one has ended. */
status sweep_run(const sweep *s, const char *out, comm *ranks);
/* One line a run on stdout: parameters, and how far it is. */
status sweep_list(const sweep *s, const char *out);

/* results.jsonl as an array of objects, in the file's order; a last line that is not whole is left out. An absent file is
 * an empty array. Lines of other runs than the sweep's are left out; a run of the same name that was made with another
 * configuration, budget or overrides is an error, and so is one whose folder says that its preset was another one. */
status sweep_results(const sweep *s, const char *out, cJSON **results);
/* results.md and plots/ from what there is. Without gnuplot there are no plots, and one line on stderr says so. */
status sweep_report(const sweep *s, const char *out);

#endif
