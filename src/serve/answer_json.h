/* Answers in OpenAI's shapes: whole, or a chunk for each thing that was said. */
#ifndef MOEC_SERVE_ANSWER_JSON_H
#define MOEC_SERVE_ANSWER_JSON_H

#include "serve/answer.h"

/* Of the texts of one answer, what is written of them so far. */
typedef struct answer_writer answer_writer;
answer_writer *answer_writer_create(const served *s, const completion_request *r, const answer *a);
void answer_writer_free(answer_writer *w); /* NULL is fine */

/* ---- in chunks ---- */

/* The chunk for it, NULL: nothing is to be said. Of a chat the first one of a text has its role. */
cJSON *answer_chunk(answer_writer *w, const said *x);
cJSON *answer_usage_chunk(const answer_writer *w); /* the last one, where usage was asked for */

/* ---- whole ---- */

void answer_collect(answer_writer *w, const said *x);
cJSON *answer_whole(answer_writer *w);

/* ---- what became of it ---- */

/* Sums over the texts that ended. */
typedef struct answer_tally {
    int64_t prompt_tokens, cached_tokens, completion_tokens;
    double queue_seconds, first_token_seconds; /* the longest */
    end_reason worst;                          /* of all ends: END_ERROR before END_CANCELLED before END_LENGTH */
    char error[200];                           /* of an END_ERROR */
} answer_tally;
const answer_tally *answer_writer_tally(const answer_writer *w);

#endif
