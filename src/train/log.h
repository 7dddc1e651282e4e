/* log.jsonl: one JSON record a line. The first is {"record": "header", …}; every step has one {"record": "step", "step": n,
 * …}, n counted from 1; a resumed run puts {"record": "resume", "from_step": n, "changes": …} before step n + 1. A line is flushed when
 * it is written, and a step's line is on the disk before the checkpoint of that step is. `time`: of day, seconds since 1970. */
#ifndef MOEC_TRAIN_LOG_H
#define MOEC_TRAIN_LOG_H

#include "nn/pass.h"
#include <stdint.h>

#define RUN_LOG_FILE "log.jsonl" /* in a run's folder */

/* One step of training. */
typedef struct step_record {
    int64_t step, tokens; /* so far, this one included */
    double seconds;       /* of training so far */
    double ce, aux;       /* means over the micro-batches, nats a token */
    bool has_kl, has_hidden;
    double kl, hidden;               /* of a teacher (nn/pass.h), means like them, not weighted */
    double lr_factor, lr, grad_norm; /* lr: of the matrices */
    double tokens_per_second;        /* of this step */
    routing_entry *routing;          /* [routed] means over the micro-batches, owned; `first` is not kept */
    int routed;
    cJSON *events; /* array of {"do", "what"}; NULL: none fired */
    cJSON *drawn;  /* tokens by domain so far; NULL: without a mix */
    bool has_val, has_val_ema;
    double val_bpb, val_bpb_ema; /* held out: of the live and of the averaged weights */
    cJSON *val_domains,
        *val_ema_domains; /* {domain: bits per byte} of those looks; NULL: the text has no known domains */
} step_record;
/* Take the losses and the routing of the step's passes over. */
void step_record_take(step_record *r, const pass_statistics *s);
void step_record_free(step_record *r);

typedef struct run_log run_log;

/* That a new log may stand at `path`: nothing is there, or an older log. */
status run_log_check(const char *path);
status run_log_create(run_log **out, const char *path); /* empty, whatever was there */
/* Go on behind the record of `step`: the records of later steps go, and a last line that is not whole. Where lines are
 * damaged, those that can be read are kept and the file as it was is set aside; *note (a new string, else NULL) says so. */
status run_log_continue(run_log **out, const char *path, int64_t step, char **note);
void run_log_close(run_log *l);
/* Gets each record as it can be read in the file. */
typedef status (*run_log_listener)(void *context, const cJSON *record);
/* The records that are there, and from now on each one that is written; at most two listeners. */
enum { RUN_LOG_LISTENERS = 2 };
status run_log_listen(run_log *l, run_log_listener listener, void *context);
status run_log_write(run_log *l, cJSON *record); /* deletes the record */
status run_log_step(run_log *l, step_record *s); /* deletes s->events and s->drawn */
status run_log_sync(run_log *l);
/* The record of `step` in the log at `path`, to be cJSON_Delete'd; *record is NULL where there is none, or no log. */
status run_log_find(const char *path, int64_t step, cJSON **record);
/* What the record of the log's last step lacks: s's looks at held-out text. The file is written anew. */
status run_log_amend(run_log *l, const step_record *s);

#endif
