/* The texts of one request while they are written: what the scheduler's thread says of them waits here until the
 * connection's thread takes it. Nothing in it blocks the scheduler. */
#ifndef MOEC_SERVE_ANSWER_H
#define MOEC_SERVE_ANSWER_H

#include "serve/said.h"
#include "serve/served.h"

/* What the secretary said of a prompt, where it was asked for. */
typedef struct secretary_answer {
    int expert;
    double *probabilities; /* [E] */
} secretary_answer;

typedef struct answer answer;
/* Encodes the prompts, asks the secretary, submits all texts or none. Refusals are API errors: 400, 429 where the queue
 * is full, 503 where the server stops. r lives longer than the answer. */
status answer_start(answer **out, served *s, const completion_request *r, const still_wanted *wanted, api_error *e);
/* Cancels what still runs, and waits for its end: a step. NULL is fine. */
void answer_free(answer *a);

int answer_count(const answer *a); /* texts: n for each prompt */
/* The next thing that was said, to be freed; NULL where nothing came within so many seconds, or *over: everything was
 * said. */
said *answer_next(answer *a, double seconds, bool *over);
const secretary_answer *answer_secretary(const answer *a, int choice); /* NULL: was not asked */
int32_t answer_last_prompt_token(const answer *a, int choice);

#endif
