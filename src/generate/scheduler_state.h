/* The inside of a scheduler; private to generate/. What is said to be under the lock is read and written by any thread
 * that holds it; everything else belongs to the scheduler's thread alone once that runs. */
#ifndef MOEC_GENERATE_SCHEDULER_STATE_H
#define MOEC_GENERATE_SCHEDULER_STATE_H

#include "generate/scheduler.h"
#include "nn/plan.h"
#include <pthread.h>

/* A prompt's tokens are read in pieces of more than these, and never fewer of them are read again behind a prefix:
 * attention over a few queries sums in another order than over many (pass_decode_spans), and a text must not depend on
 * how its prompt was cut. */
enum { FEW_TOKENS = 4, LEAST_PIECE = 16 };
enum { LEAST_PREFIX = 16 }; /* tokens that are worth copying */

/* A request as it was copied. */
typedef struct job {
    struct job *next; /* in the queue */
    ticket id;
    text_request r;                       /* its arrays are the job's own */
    expert_control *control;              /* as r.experts, canonical (control_create); NULL: as the model has it */
    double submitted, began, first, last; /* seconds of the clock; 0: not yet. last: of the newest token */
    bool cancelled;                       /* under the lock */
} job;

typedef enum slot_phase {
    SLOT_IDLE,   /* its sequence is kept for those that begin alike */
    SLOT_BEGINS, /* has a job that has read nothing */
    SLOT_READS,  /* a part of the prompt is in the cache */
    SLOT_WRITES  /* the prompt is, and `next` is to be read */
} slot_phase;

/* One sequence of the cache. */
typedef struct slot {
    slot_phase phase;
    job *j; /* under the lock where it changes; NULL when idle */
    writing *w;
    int64_t cached;          /* tokens of the prompt that were there already */
    int64_t prompt_rows;     /* tokens of the cache that were read as a prompt, in pieces of more than FEW_TOKENS */
    expert_control *control; /* with which they were; NULL */
    int32_t next;
    uint64_t used; /* when it last ended, to take the one that is idle for longest */
    uint64_t turn; /* the order in which jobs were taken */
    /* of the newest pass, row by row of its logits: of the first one where the job asks for routing */
    token_route *routes; /* [rows, routed entries of the path]; rows: 1 + DRAFT_MOST, 1 where nobody proposes */
    int route_count;     /* of a row */
    int32_t *experts;    /* [rows, routed entries, E] */
    float *gates;
} slot;

/* What one pass is over. */
typedef struct step {
    decode_span *spans; /* [slots] */
    int64_t *starts;    /* [slots + 1]: their first rows */
    int64_t count;      /* of spans */
    int32_t *ids;       /* [slots + DRAFT_MOST + chunk] */
    draft_text *texts;  /* [slots]: the first text_count spans are of texts that are written, */
    int64_t text_count;
    int64_t proposed; /* of whom so many rows are proposed in all */
} step;

struct scheduler {
    model *m;
    const tokenizer *tok;
    scheduler_options o; /* without zeros */
    int vocab;           /* ids below it are drawn */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool joined; /* the thread; of the thread that stops it */

    /* under the lock */
    job *first, *last; /* the queue */
    int waiting;
    ticket tickets;
    bool closed, cut; /* no request is taken; those that run end as cancelled */
    scheduler_statistics figures;
    scheduler_traffic traffic;

    pass *p;
    kv_cache *cache;
    json_masks *masks;
    drafts *drafts; /* NULL: nobody proposes */
    slot *slots;
    job *taken;   /* out of the queue, to be told that they end */
    job *telling; /* the one that is being told */
    int running;
    uint64_t turns;
    step step;
    float *logits;                      /* [slots + DRAFT_MOST, vocabulary] */
    int64_t *step_counts;               /* [layers, E]: the traffic of this step */
    int path_routed;                    /* entries of the path with routers */
    int route_layers[MODEL_MAX_LAYERS]; /* [layers of the model]: its row in traffic; −1: no router */
};

/* ---- requests (scheduler_request.c) ---- */

/* Whether it can be meant, and fits. */
status request_check(const scheduler *s, const text_request *r);
job *job_create(const scheduler *s, const text_request *r);
void job_free(job *j); /* NULL is fine */
/* Two controls that let the same experts be chosen as often are equal; NULL: as the model has it. */
bool control_equal(const scheduler *s, const expert_control *a, const expert_control *b);
expert_control *control_copy(const scheduler *s, const expert_control *c);
void control_free(expert_control *c);

/* ---- prefixes (scheduler_prefix.c) ---- */

/* The idle slot that a job is best read in. */
int slot_for(const scheduler *s, const job *j);
/* Fills the slot with what others have read of its prompt. False: another slot is about to read more of it, so it waits
 * for that. */
bool slot_begin(scheduler *s, int index);

/* ---- a step (scheduler_step.c) ---- */

/* What the next pass is over; false: nothing. */
bool step_gather(scheduler *s);
/* The pass, and what follows from it. */
void step_run(scheduler *s);
/* A job is over, which had this slot or none (NULL). error: with END_ERROR; last: with which it ended; else NULL. */
void job_end(scheduler *s, job *j, const slot *one, end_reason reason, const char *error, const written *last);
void slot_end(scheduler *s, slot *one, end_reason reason, const char *error, const written *last);
/* Its job is to end (scheduler.c). */
bool slot_is_cancelled(scheduler *s, const slot *one);

/* ---- figures (scheduler_figures.c) ---- */

status figures_create(scheduler *s);
void figures_free(scheduler *s);
/* The pass's observer: context is the scheduler. */
void figures_see_routing(void *context, int layer, int pass, const moe_choice *choice);
/* Under the lock: what a step counted, with its seconds. */
void figures_add_step(scheduler *s, double seconds);
/* A token that was proposed is one of the text, and is read: row is its place in the slot's newest pass, from 1. */
void figures_add_proposed(scheduler *s, const slot *one, int row);
void latency_add(latency_histogram *h, double seconds);

#endif
