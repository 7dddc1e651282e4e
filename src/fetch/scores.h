/* A text's tokens before a server's model: what it thinks of each (token_scores.h), in order, to whoever keeps it.
 *
 * Each document is a text of its own, which begins with the token that all do. It is asked about in windows of `seq` tokens and the
 * one behind them, of which the last `stride` are new, the first window's all (as in eval/teach.h); which windows these are depends on nothing else, so that a call that
 * goes on asks what another one would have asked. Nothing is known of a document's first token. Windows are asked side by side
 * (crew.h) and handed on in order; what is not handed on when a call ends is asked again by the next. */
#ifndef MOEC_FETCH_SCORES_H
#define MOEC_FETCH_SCORES_H

#include "fetch/http.h"
#include "fetch/token_scores.h"

typedef struct scores_request {
    const char *model; /* NULL: the only one that the server has */
    int k, vocab_size;
    int64_t seq, stride; /* 1 ≤ stride ≤ seq */
    int parallel;
    int64_t requests;   /* as of teach.h */
    double timeout;     /* likewise */
    int64_t tokens;     /* of the text */
    int bos;            /* what documents begin with; < 0: the text is one */
    const char *sample; /* text, and what it is in tokens, to compare vocabularies by */
    const int32_t *sample_ids;
    int64_t sample_count;
    void (*read)(void *context, int64_t first, int64_t count, int32_t *ids); /* one call at a time */
    /* The server's model is known; *there: tokens that were handed on by earlier calls. */
    status (*begin)(void *context, const char *model, int64_t *there);
    status (*add)(void *context, const int32_t *ids, const float *log_probs,
                  float rest); /* [k], [k]: of the next token */
    void *context;
} scores_request;

typedef struct scores_result {
    char *model;
    scores_dialect dialect;
    int64_t requests; /* that reached the server, for scores */
    int64_t there;    /* tokens that were handed on, with those of earlier calls */
} scores_result;

/* STATUS_OK with r->there < q->tokens: the budget of requests is spent. r is to be freed in any case. */
status scores_fetch(const http_client *c, const scores_request *q, scores_result *r);
void scores_result_free(scores_result *r);

/* ---- a part, for tests ---- */

/* Tokens first … end − 1 are new, those from start on are sent. */
typedef struct scores_window {
    int64_t start, first, end;
} scores_window;

/* The window of document begin … behind − 1 that has `position` among its new tokens. */
scores_window scores_window_at(int64_t begin, int64_t behind, int64_t position, int64_t seq, int64_t stride);

#endif
