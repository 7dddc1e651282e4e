/* Many texts over one model at a time: continuous batching (Yu et al. 2022, Orca). A thread of its own runs steps; a step
 * is one pass over the next token of every text that is running, and over a piece of a prompt that is still being read,
 * so that nobody waits for a long prompt. A text that ends makes room for the next one of the queue at once.
 *
 * From the caller's side:
 *
 *     scheduler_start(&s, model, tokenizer, &options);
 *
 *     switch (scheduler_submit(s, &request, &ticket)) { ... }     from any thread; the request is copied
 *
 *     request.on_token(context, &event)                           from the scheduler's thread, for each token in order
 *
 *     request.on_end(context, &end)                               once, for every request that was accepted; its last call
 *
 *     scheduler_cancel(s, ticket);                                from any thread, also from a callback
 *
 *     scheduler_stop(s, finish);
 *
 *     scheduler_destroy(s);
 *
 * Callbacks must not block: all texts wait for them. What they are given is valid for the time of the call.
 *
 * The same request with the same seed gives the same text, alone or beside others, whoever proposes. Other passes on
 * the model may run in other threads at the same time (embeddings, a secretary's question).
 *
 * Keys and values lie in a pool of blocks (nn/kv_cache.h). A prompt's beginning that another text holds is held with
 * it; of texts that ended the prompts' blocks stay for those that begin alike, until somebody else needs them: those
 * that were not used for the longest time go first. A text begins when the pool has blocks for its whole prompt, in the
 * order of requests. Where a text that is written finds none for its next token, the one that began last is put back: it
 * leaves its blocks, and what it had read is read again when there is room, its written tokens one by one, so that
 * it goes on as if nothing had been. The one that began first always goes on, and the pool has room for any text
 * alone. */
#ifndef MOEC_GENERATE_SCHEDULER_H
#define MOEC_GENERATE_SCHEDULER_H

#include "generate/drafts.h"
#include "generate/writing.h"

typedef struct scheduler_options {
    int slots;            /* texts that run at a time; 0: 8 */
    int64_t context;      /* tokens of a text with its prompt, at most. Required */
    int64_t cache_bytes;  /* of keys and values, at most, at least one text's; 0: what all slots' contexts take */
    int queue;            /* requests that wait beyond those that run; 0: 64 */
    int64_t chunk;        /* tokens of prompts in one step, at most, at least 16; 0: 256 */
    int64_t chunk_beside; /* the same where other texts are written, who wait for it; 0: 64 */
    bool no_reuse;        /* prompts are read from their beginning even where it was read already; none is kept */
    /* Who proposes how texts go on (drafts.h), up to DRAFT_MOST + 1 rows a pass with the newest tokens of all: a text
     * alone has most of it, and where so many are written that a pass is no cheaper for a row more, nothing is
     * proposed. */
    draft_source drafts;
} scheduler_options;

typedef struct scheduler scheduler;
/* The tokenizer and the model (opened to be run) live longer. */
status scheduler_start(scheduler **out, model *m, const tokenizer *tok, const scheduler_options *o);
/* No request is accepted from now on; with `finish` those that were are finished, else they end as cancelled, running and
 * waiting ones. Returns when the last on_end has. Safe to call again. Not from a callback. */
void scheduler_stop(scheduler *s, bool finish);
/* The same without waiting: for a signal's thread. scheduler_stop(s, false) after it cuts what is still running. */
void scheduler_close(scheduler *s);
/* Whether memory ran out in the scheduler's thread: all texts have ended with an error, and none is accepted any more. */
bool scheduler_failed(scheduler *s);
void scheduler_destroy(scheduler *s); /* stops it, cutting, where it still runs; NULL is fine */

/* ---- what a request is told ---- */

typedef struct text_end {
    end_reason reason;
    const char *error;   /* one line with END_ERROR, else NULL */
    const char *stopped; /* the stop string that was met, or NULL */
    const char *text;    /* what was still held back, as in token_event; may be empty */
    size_t bytes;
    int64_t prompt_tokens, cached_tokens; /* of the prompt's, those that were not read again */
    int64_t completion_tokens;            /* that were drawn, an end token among them not counted */
    double queue_seconds;                 /* from scheduler_submit until it had a slot, and blocks */
    double first_token_seconds;           /* from scheduler_submit; 0: none came */
    double seconds;                       /* from scheduler_submit to now */
} text_end;

/* ---- a request ---- */

typedef struct text_request {
    const int32_t *prompt; /* tokens, with BOS where it is to be; at least one, fewer than the context */
    size_t prompt_count;
    writing_options how;    /* max_tokens 0: what the context has room for */
    bool routing;           /* token events say experts and gates */
    expert_control experts; /* nn/pass.h; omitted experts are not allowed ones, forced ones alone are allowed */
    void (*on_token)(void *context, const token_event *event); /* may be NULL */
    void (*on_end)(void *context, const text_end *end);        /* may be NULL */
    void *context;
} text_request;

typedef enum submit_answer {
    SUBMIT_ACCEPTED,
    SUBMIT_FULL,   /* the queue is: come again */
    SUBMIT_CLOSED, /* the scheduler stops */
    SUBMIT_REFUSED /* it cannot be meant, or does not fit: error_message() says why */
} submit_answer;

typedef uint64_t ticket;
/* on_token and on_end may be called before this returns. Nothing is called for what was not accepted. */
submit_answer scheduler_submit(scheduler *s, const text_request *r, ticket *out);
/* It ends as cancelled, at latest after the step that is being run. A ticket that ended is ignored. */
void scheduler_cancel(scheduler *s, ticket t);

/* ---- figures ---- */

enum { LATENCY_BUCKETS = 12 };
/* Upper bounds in seconds; the last one is +∞. */
extern const double latency_bounds[LATENCY_BUCKETS];
typedef struct latency_histogram {
    int64_t counts[LATENCY_BUCKETS]; /* each bucket's own, not cumulative */
    int64_t total;
    double sum;
} latency_histogram;

/* Blocks of keys and values. */
typedef struct cache_figures {
    int64_t token_bytes;  /* a token of a text */
    int64_t block_tokens; /* of a block */
    int64_t blocks;       /* in all: */
    int64_t used;         /* of texts that run, */
    int64_t kept;         /* of prompts of texts that ended, which nobody uses now, */
    int64_t free;
    int64_t shared;   /* of used and kept ones: that several texts or prompts hold */
    int64_t put_back; /* how often a text was, because all were used */
} cache_figures;

typedef struct scheduler_statistics {
    int slots, running, waiting, queue; /* queue: how many may wait */
    cache_figures cache;
    int64_t accepted, full, ended[END_REASONS];
    int64_t prompt_tokens, cached_tokens,
        completion_tokens; /* of what has begun; prompt_tokens: all, with the cached ones */
    int64_t prefix_hits;   /* requests of which some tokens were cached */
    draft_figures drafts;  /* of completion_tokens accepted were proposed before */
    int64_t steps;
    double busy_seconds; /* in passes */
    latency_histogram first_token, between_tokens;
} scheduler_statistics;
void scheduler_read(scheduler *s, scheduler_statistics *out);

/* How many (token, choice) pairs went to each expert, prompts' tokens too, since the start or the last reset; what was
 * proposed and not drawn does not count. */
typedef struct scheduler_traffic {
    int64_t tokens; /* that were read */
    int layers, experts;
    int layer[MODEL_MAX_LAYERS]; /* [layers] that have routers, rising */
    int64_t *counts;             /* [layers, experts], malloc'ed */
} scheduler_traffic;
void scheduler_traffic_read(scheduler *s, scheduler_traffic *out); /* the caller frees out->counts */
void scheduler_traffic_reset(scheduler *s);
/* Adds what was counted before (a file kept over restarts). STATUS_FAILED where it is of other layers or experts. */
status scheduler_traffic_add(scheduler *s, const scheduler_traffic *before);

#endif
