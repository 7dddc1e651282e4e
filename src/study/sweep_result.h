/* results.jsonl: a line a finished run. Private to study/sweep*.c. */
#ifndef MOEC_STUDY_SWEEP_RESULT_H
#define MOEC_STUDY_SWEEP_RESULT_H

#include "nn/budget.h"
#include "study/plot.h"
#include "study/sweep.h"
#include "train/checkpoint.h"

/* What is known of a run besides its log. NaN and 0: not measured. */
typedef struct sweep_result {
    train_state state;
    model_config model;            /* at the end, after events */
    double val_bpb, val_bpb_blend; /* of the live weights, without and with the bigram blend */
    double val_bpb_ema, val_bpb_packed;
    double val_loss, val_loss_ema;                 /* nats a token, of the live and the averaged weights */
    cJSON *domains, *domains_ema, *domains_packed; /* {domain: bits per byte} of the same; NULL: not known */
    int64_t scored_tokens;
    const char
        *chosen_weights; /* "live" or "ema": the better ones on text kept from training, which are packed; or NULL */
    int64_t artifact_bytes;
} sweep_result;
sweep_result sweep_result_none(void);
void sweep_result_free(sweep_result *r);

/* Score the run's last checkpoint, and pack it first where the sweep asks for that. */
status sweep_measure(const sweep *s, const run_config *c, sweep_result *r);

/* OUT/NAME/seed-N; a new string. */
char *sweep_run_folder(const sweep_variant *v, uint64_t seed, const char *out);
/* Append the line, on the disk when it returns. What routers did comes from the run's log. */
status sweep_result_add(const sweep *s, const sweep_variant *v, uint64_t seed, const char *out, const run_config *c,
                        const sweep_result *r);
/* Before lines are added, and by who holds the sweep only: a last line that a killed write left is cut off, and one that lacks
 * nothing but its line end gets it. */
status sweep_result_repair(const char *out);
/* The line of a run, or NULL. */
const cJSON *sweep_result_find(const cJSON *results, const char *name, uint64_t seed);

/* Every step's record of a run's log, one after another; false stops. An absent log has none. */
typedef bool (*log_reader)(void *context, const cJSON *step);
status sweep_read_log(const char *run, log_reader read, void *context);

/* Of one number over a name's finished runs; runs that do not have it do not count. */
typedef struct sweep_moments {
    int count;
    double mean, deviation; /* NaN: no run; fewer than two. The deviation is the sample's (n − 1) */
    double least, most;
} sweep_moments;
/* The number `key` of a line that is the name's, or of the line's member `group` (NULL: its own); NULL where there is none. */
const cJSON *sweep_number(const cJSON *line, const char *name, const char *group, const char *key);
sweep_moments sweep_moments_of(const cJSON *results, const char *name, const char *key);

/* Of the domains that some run was scored on, in order of first appearance: {name: null}. */
cJSON *sweep_domains(const cJSON *results);

/* Plots from the runs' logs, and which of them were made (paths from `out`, each a new string). */
typedef struct sweep_plots {
    char **paths;
    int count;
} sweep_plots;
struct sweep_fits;
/* fits: scaling laws to be drawn too (sweep_scaling.h). */
status sweep_plot(const sweep *s, const char *out, const cJSON *results, const struct sweep_fits *fits,
                  sweep_plots *plots);
/* Run gnuplot on what p holds, in the folder of plots, and note the plot; *found is false where there is no gnuplot. */
status sweep_draw(plot *p, const char *folder, sweep_plots *plots, bool *found);

#endif
