/* What is served: one model with its tokenizer, the scheduler that writes texts with it, and the pass for other
 * questions. */
#ifndef MOEC_SERVE_SERVED_H
#define MOEC_SERVE_SERVED_H

#include "serve/request.h"
#include "serve/side_pass.h"
#include <stdatomic.h>

typedef struct served_options {
    const char *name;    /* of the model, for clients */
    int64_t context;     /* tokens of a text with its prompt */
    int64_t max_tokens;  /* of an answer; 0: the context's */
    int choices;         /* texts of one request */
    int slots, queue;    /* as the scheduler's; 0: its own */
    int64_t cache_bytes; /* as the scheduler's */
    draft_source drafts; /* as the scheduler's */
    int waiting;         /* embeddings and secretary's questions that wait; 0: 64 */
} served_options;

typedef struct served {
    char *name;
    model *m;
    const tokenizer *tok;
    chat_format *chat;
    int64_t context;
    request_limits limits;
    scheduler *scheduler;
    side_pass *side;
    int most_waiting;
    atomic_int waiting; /* for the side's pass */
    int64_t created;    /* seconds since 1970 */
} served;

/* The model (opened to be run) and the tokenizer live longer. */
status served_start(served **out, model *m, const tokenizer *tok, const served_options *o);
void served_stop(served *s); /* cuts what is still running; NULL is fine */

/* Tokens of a prompt, with BOS where it is to be, or of a conversation; *ids is malloc'ed. Longer than the context:
 * refused. param: the key for errors. */
status served_prompt_ids(const served *s, const request_prompt *p, const char *param, int32_t **ids, size_t *count,
                         api_error *e);
status served_chat_ids(const served *s, const chat_message *messages, int count, int32_t **ids, size_t *id_count,
                       api_error *e);

/* side_pass_run for a client: refused with 429 where too many wait, 503 where its answer is no longer wanted. */
status served_ask(served *s, side_work work, void *context, const still_wanted *wanted, api_error *e);
/* The routers' probabilities [E] of a prompt. */
status served_secretary(served *s, const int32_t *ids, size_t count, double *probabilities, const still_wanted *wanted,
                        api_error *e);
/* Mean of the last hidden states (what the head reads) of a text's tokens, [d], of length 1. */
status served_embedding(served *s, const int32_t *ids, size_t count, float *values, const still_wanted *wanted,
                        api_error *e);

#endif
