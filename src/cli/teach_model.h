/* What `moec teach MODEL` does: a model that runs here thinks of each token of a text. Private to cli/teach*.c. */
#ifndef MOEC_CLI_TEACH_MODEL_H
#define MOEC_CLI_TEACH_MODEL_H

#include "comm/comm.h"
#include "eval/teach.h"

typedef struct teach_request {
    const char *path, *data, *out;
    const char *which;            /* weights, as open_model takes it */
    long long top;                /* tokens that are kept of each distribution */
    long long seq, stride, batch; /* windows; 0: as the help says */
    bool held_out, json;
    const kernels *k;
    comm *ranks; /* rank 0 says what was done */
} teach_request;

/* What was done with all parts of the text. */
typedef struct teach_totals {
    teaching_result sum;
    int shards;
    teacher_facts facts;
    int64_t batch;
} teach_totals;

/* For all ranks: the weights at `path`, which is q's or the checkpoint that stands for it. */
status teach_model(const teach_request *q, const char *path, teach_totals *t);

#endif
