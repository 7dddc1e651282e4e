/* One question to a server that speaks OpenAI's API, and its answer:
 *     POST ENDPOINT/chat/completions {"model": M, "messages": [{"role": "system" | "user", "content": …}], "temperature": T,
 *                                     "max_tokens": N, "seed": S}
 *          → {"choices": [{"message": {"content": TEXT}, "finish_reason": R}], "model": M, "usage": {"prompt_tokens": N, …}}
 *     POST ENDPOINT/completions      {"model": M, "prompt": TEXT, …}  → {"choices": [{"text": TEXT, …}], …}
 *     GET ENDPOINT/models            → {"data": [{"id": M}, …]} */
#ifndef MOEC_FETCH_COMPLETION_H
#define MOEC_FETCH_COMPLETION_H

#include "fetch/http.h"
#include <stdio.h>

enum { COMPLETION_BYTES = 16 << 20 /* of one answer */ };

typedef struct completion_request {
    bool chat;
    const char *model, *system, *prompt; /* system: NULL for none; of a plain completion the text's beginning */
    double temperature;
    int64_t max_tokens, seed;
} completion_request;

typedef struct completion {
    char *text;                               /* "" where there is none */
    char *model;                              /* as the server calls it; NULL: it does not say */
    char *finish;                             /* "stop", "length", …; NULL: it does not say */
    int64_t prompt_tokens, completion_tokens; /* -1: it does not say */
} completion;

/* ENDPOINT/PATH; an endpoint without a path of its own is ENDPOINT/v1/PATH. A new string. */
char *completion_url(const http_client *c, const char *path);
char *completion_body(const completion_request *q, size_t *bytes); /* a new string */
/* `where` begins messages. What a server says of an error is in them, and its token (c) never is; text is changed where it is
 * no UTF-8. a is to be freed after a failure too. */
status completion_parse(completion *a, bool chat, const http_client *c, char *text, size_t bytes, const char *where);
void completion_free(completion *a);
/* The only model that the server has, a new string; where there are several, or none, an error that lists them. */
status completion_parse_models(char **model, const http_client *c, char *text, size_t bytes, const char *where);
/* Asks for it. */
status completion_find_model(const http_client *like, double timeout, char **model);
/* A failure: what a server says of an error in an answer that is none. */
status completion_refused(const http_client *c, const char *error, const char *where);
/* The failure of a request: 401 and 403 name the key's variable, 404 the model. */
status completion_explain(const http_client *c, const http_response *r, const char *model, status s);

/* A number as JSON has it, in the shortest text that is read back to the same. */
void completion_put_number(FILE *out, double number);

#endif
