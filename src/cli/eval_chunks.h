/* `moec eval --protocol llama.cpp`; private to cli/eval*.c. */
#ifndef MOEC_CLI_EVAL_CHUNKS_H
#define MOEC_CLI_EVAL_CHUNKS_H

#include "comm/comm.h"
#include "nn/model.h"

typedef struct chunks_request {
    const char *path, *which; /* as open_model takes them */
    const kernels *k;
    model_use use;
    const char *text; /* the file */
    int top_k;        /* 0: the model's own */
    int64_t length;   /* of a chunk; 0: llama.cpp's 512 */
    int64_t tokens;   /* scored at most; 0: all */
    bool json;
    comm *ranks; /* rank 0 says what was found */
} chunks_request;

status eval_chunks(const chunks_request *q);

/* Experts a token goes to, instead of the model's own number; 0 leaves it. */
status eval_set_top_k(model *m, const char *path, int top_k);

#endif
