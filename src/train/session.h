/* What a training holds while it runs: opening it from nothing or from a checkpoint, saving it, looking at held-out text. */
#ifndef MOEC_TRAIN_SESSION_H
#define MOEC_TRAIN_SESSION_H

#include "base/lock.h"
#include "base/progress.h"
#include "eval/scored_text.h"
#include "train/checkpoint.h"
#include "train/distill.h"
#include "train/gradients.h"
#include "train/labels.h"
#include "train/log.h"
#include "train/memory.h"
#include "train/mirrors.h"
#include "train/resume.h"
#include "train/train.h"

typedef struct session {
    run_config config;   /* a shallow copy with what only the data knows filled in (vocab_size) */
    comm *ranks;         /* rank 0 alone writes, says and looks at held-out text; the others learn what came of it */
    gradients sum;       /* of a step's micro-batches */
    bool interrupted;    /* a signal has come to one of the ranks */
    bool checkpoint_due; /* by the clock, after the newest step */
    const kernels *k;
    tokenizer *tok;
    loader *data;
    labels labels;        /* of its domains; none where config.labels asks for none */
    scored_text held_out; /* opened where config.val_every asks for it */
    model *m;
    pass *p;
    optimizer *o;
    average *e; /* NULL: none is kept */
    hidden_teacher teacher;
    run_log *log;
    log_mirrors mirrors;
    lock lock;           /* of the run's folder */
    run_changes changes; /* what is not as the run that is resumed had it */
    train_memory memory; /* what it is said to need */
    progress progress;
    train_state state;
    int64_t saved_step;    /* of the newest checkpoint, −1: there is none */
    double saved_at;       /* clock_seconds() then, or at the start */
    bool look_cut;         /* Ctrl-C ended a look at held-out text, which is to be made when the run is resumed */
    weights_choice choice; /* of this step's weights; made when the training has ended */
    bool unsaved;          /* the checkpoint of this step does not say all that is known now */
    int64_t kept_rows;     /* of the training text, for that choice */
} session;

/* Everything that can be wrong, and the model. In the run's folder there is a lock then, and nothing else has changed. */
status session_open(session *s, const run_config *config, train_start start);
/* Log and configuration, up to the first step. What an older run left goes only here. */
status session_begin(session *s, train_start start);
void session_close(session *s); /* fine after a failure */
/* Whether all steps or seconds that the configuration asks for are done, or the looks say that more are of no use. */
bool session_finished(const session *s);
/* Whether a signal asks it to end. */
bool session_interrupted(const session *s);
bool session_leads(const session *s); /* rank 0 */
/* For all ranks, as everything below but session_say: what rank 0 has found out is the outcome and the `bytes` at `found` of all. */
status session_follow(const session *s, status outcome, void *found, size_t bytes);
/* Save a checkpoint of the state, unless this step has one that says the same. */
status session_save(session *s);
/* Find out whether the live or the averaged weights are better, where that is not known. */
status session_choose(session *s);
bool session_choice_owed(const session *s);
/* Bits per byte of a sample of config.val_tokens tokens of the held-out text (eval/sample.h), of the live or of the averaged
 * weights; *domains: a new object of the same by domain, NULL where the text has no table of documents. */
status session_look(session *s, bool averaged, double *bits, cJSON **domains);
/* One line on stderr that does not get mixed up with the progress line. */
void session_say(const session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
