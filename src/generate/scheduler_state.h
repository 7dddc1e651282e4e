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
enum { LEAST_PREFIX = 16 }; /* tokens that are worth sharing */
enum { KEPT_MOST = 256 };   /* prompts of texts that ended */

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
    SLOT_IDLE,
    SLOT_BEGINS, /* has a job that holds nothing of the cache: a new one, or one that was put back */
    SLOT_READS,  /* it has blocks for all that it is to read, and has read a part */
    SLOT_WRITES  /* it has read all, and `next` is to be read */
} slot_phase;

/* A text that runs; the slot's number is that of its sequence of the cache. */
typedef struct slot {
    slot_phase phase;
    job *j;              /* under the lock where it changes; NULL when idle */
    writing *w;          /* NULL until it first begins */
    int64_t cached;      /* tokens of the prompt that were there already when it first began */
    int64_t prompt_rows; /* tokens of the cache that were read as a prompt, in pieces of more than FEW_TOKENS */
    int64_t counted;     /* tokens that were read, and counted in the figures, however often it was put back */
    int32_t next;
    bool resumes;   /* it was put back when it had written something, and has `next` */
    int32_t *again; /* [again_count]: what it had read behind its prompt by then */
    int64_t again_count;
    uint64_t turn; /* the order in which jobs were taken */
    /* of the newest pass, row by row of its logits: of the first one where the job asks for routing */
    token_route *routes; /* [rows, routed entries of the path]; rows: 1 + DRAFT_MOST, 1 where nobody proposes */
    int route_count;     /* of a row */
    int32_t *experts;    /* [rows, routed entries, E] */
    float *gates;
} slot;

/* The prompt of a text that ended; kept[i] is sequence slots + i of the cache. */
typedef struct kept_prompt {
    int64_t rows;            /* of the sequence; 0: nothing is kept here */
    expert_control *control; /* with which they were read; NULL */
    uint64_t used;           /* when, last */
} kept_prompt;

/* What one pass is over. */
typedef struct step {
    decode_span *spans; /* [slots], whose sequences are slots' */
    int64_t *starts;    /* [slots + 1]: their first rows */
    int64_t *counted;   /* [slots]: of each span's rows, how many were counted before */
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
    bool failed;      /* memory ran out in the thread, which is over */
    scheduler_statistics figures;
    scheduler_traffic traffic;

    pass *p;
    kv_cache *cache;
    json_masks *masks;
    drafts *drafts; /* NULL: nobody proposes */
    slot *slots;
    kept_prompt *kept; /* [kept_count] */
    int kept_count;
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
/* Whether two of them let the same experts be chosen as often; NULL: as the model has it. */
bool control_equal(const scheduler *s, const expert_control *a, const expert_control *b);
expert_control *control_copy(const scheduler *s, const expert_control *c);
void control_free(expert_control *c);

/* ---- prefixes (scheduler_prefix.c) ---- */

typedef enum beginning {
    BEGINNING_MADE,
    BEGINNING_LATER, /* another slot is about to read more of the prompt than anybody has: it waits for that */
    BEGINNING_FULL   /* the pool lacks blocks for what it has to read */
} beginning;
/* The slot holds what others have read of its prompt, and blocks for all that it is still to read. */
beginning slot_begin(scheduler *s, int index);
/* What the slot has read of its prompt is kept for those that begin alike, read with this control, which is the list's
 * from now on. */
void keep_prompt(scheduler *s, int index, expert_control *control);
/* Takes a block from the prompt that was not used for the longest time; false: none is kept. */
bool forget_block(scheduler *s);
void free_kept(scheduler *s);

/* ---- room in the pool (scheduler_room.c) ---- */

/* Room for `count` tokens of a text that begins: as long as others run only if they have a block more each, so that it
 * is not put back at once. */
bool room_to_begin(scheduler *s, int index, int64_t count);
/* Room for so many tokens more, in which kept prompts make way; false: all blocks are used. */
bool room_to_go_on(scheduler *s, int index, int64_t count);
/* Room for the next token of every text that is written; those that began last are put back where it is needed. */
void room_to_write(scheduler *s);

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
/* Under the lock: how many blocks are used. */
void figures_see_cache(scheduler *s);
/* Under the lock: what a step counted, with its seconds. */
void figures_add_step(scheduler *s, double seconds);
/* A token that was proposed is one of the text, and is read: row is its place in the slot's newest pass, from 1. */
void figures_add_proposed(scheduler *s, const slot *one, int row);
void latency_add(latency_histogram *h, double seconds);

#endif
