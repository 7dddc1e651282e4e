/* The inside of sensitivities, for the files that collect them. */
#ifndef MOEC_QUANT_SENSITIVITY_PARTS_H
#define MOEC_QUANT_SENSITIVITY_PARTS_H

#include "quant/sensitivity.h"

/* Of one parameter. */
typedef struct seen {
    float *squares;     /* device [rows] Σ (∂L/∂y_r)² of products; NULL: none */
    int64_t *reads;     /* host [rows] how often each row was looked up; NULL: never */
    double read_square; /* Σ over look-ups and channels of (∂L/∂y)² */
    int64_t read_count;
} seen;

struct sensitivities {
    pass *p;
    const model *m;
    seen *seen; /* [m->param_count] over all that was seen */
    seen *now;  /* the same of one batch */
    int64_t tokens, bytes;
    status failed;
};

/* Of all parameters, `seen` or `now`: released, and nothing again. */
void sensitivities_forget(const sensitivities *s, seen *of);
/* Forward and backward: what the batch says is in `now`. */
status sensitivities_run_batch(sensitivities *s, const batch *b);
/* What is in `now` joins `seen`, and is forgotten. */
status sensitivities_add_now(sensitivities *s);

#endif
