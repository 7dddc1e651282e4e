/* `moec teach --endpoint URL --data PATH`: what a server's model thinks of each token of a training text, into the cache that
 * `moec teach MODEL` makes. Private to cli/teach*.c. */
#ifndef MOEC_CLI_TEACH_SCORES_H
#define MOEC_CLI_TEACH_SCORES_H

#include "fetch/http.h"

typedef struct teach_scores_request {
    const char *data, *out, *tokenizer; /* NULL: that of the data's folder */
    const char *model;                  /* NULL: the only one that the server has */
    int top, parallel;
    int64_t seq, stride, requests;
    double timeout;
    bool held_out, json;
} teach_scores_request;

status teach_scores(const http_client *c, const teach_scores_request *q);

#endif
