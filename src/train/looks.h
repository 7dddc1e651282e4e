/* What looks at held-out text lead to beside a number: which step was the best so far, and whether it is time to stop. */
#ifndef MOEC_TRAIN_LOOKS_H
#define MOEC_TRAIN_LOOKS_H

#include "train/train_config.h"
#include <cjson/cJSON.h>

typedef struct looks {
    int64_t step;      /* of the newest one; 0: there was none */
    int64_t best_step; /* with the fewest bits per byte, the first of equals; 0: there was none */
    double best_bits;
    double least;  /* bits per byte from which a gain of early_stop_delta is counted; 0: there was no look */
    int64_t stale; /* looks since then without such a gain */
} looks;

/* A look after `step`, of the live weights; one that is older than the newest changes nothing. */
void looks_add(looks *l, const train_config *c, int64_t step, double bits);
bool looks_say_stop(const looks *l, const train_config *c); /* early_stop looks in a row without a gain */

cJSON *looks_to_json(const looks *l);
/* `where` names the file. */
status looks_from_json(looks *l, const cJSON *json, const char *where);

#endif
