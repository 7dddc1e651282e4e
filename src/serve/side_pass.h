/* A pass beside the scheduler's, for questions that are no texts: embeddings, and which expert a prompt needs. One thread
 * has it, so that OpenMP has one more team of threads and not one for each connection; those who ask wait for their turn. */
#ifndef MOEC_SERVE_SIDE_PASS_H
#define MOEC_SERVE_SIDE_PASS_H

#include "nn/pass.h"

typedef struct side_pass side_pass;
status side_pass_start(side_pass **out, model *m);
void side_pass_stop(side_pass *s); /* nobody asks any more; NULL is fine */
/* Whether somebody still waits for an answer; asked from the asker's thread. */
typedef struct still_wanted {
    bool (*is)(void *context);
    void *context;
} still_wanted;
/* Runs work(pass, context) there and returns what it returns, with its error_message. STATUS_INTERRUPTED, and nothing is run, where it is
 * no longer wanted when its turn comes. After a failure the next work has another pass: memory may have run out in the middle of it. */
typedef status (*side_work)(pass *p, void *context);
status side_pass_run(side_pass *s, side_work work, void *context, const still_wanted *wanted);

#endif
