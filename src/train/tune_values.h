/* What a packed model can still learn without another byte: the numbers beside its codes. Floats (norms' weights, gains,
 * gates, biases, small routers) move by themselves; scales of rows and of columns move in proportion, w = q · s · eᵗ, and
 * what products see has the scale that a file would have (scale_round, or bfloat16): the gradient goes to t as if it were not rounded
 * (straight-through, Bengio et al. 2013). Since
 *     ∂L/∂t_r = Σ_c ∂L/∂w_rc · w_rc      (of a column: Σ_r)
 * scales learn from the gradients of the matrices, and no op knows of them. w is what a correction of low rank is added
 * to, which stays. */
#ifndef MOEC_TRAIN_TUNE_VALUES_H
#define MOEC_TRAIN_TUNE_VALUES_H

#include "store/artifact_numbers.h"

typedef enum tuned_part { TUNED_FLOATS, TUNED_ROWS, TUNED_COLUMNS, TUNED_PARTS } tuned_part;

typedef struct tune_values tune_values;
/* n and m (MODEL_TRAIN, of n's file) live as long. parts: which of them learn; what m has no gradient for does not. */
tune_values *tune_values_create(artifact_numbers *n, model *m, const bool parts[TUNED_PARTS]);
void tune_values_destroy(tune_values *v); /* NULL is fine */
int64_t tune_values_count(const tune_values *v);

/* A step of Adam (Kingma and Ba 2015) on m's gradients; rate: in units of a number's own size. Then m and n have the new values. */
status tune_values_step(tune_values *v, double rate);
/* The gradients that a step would take, one number after another, for tests; out [tune_values_count]. */
status tune_values_gradients(tune_values *v, float *out);
/* One of them moved by so much of its unit, and m and n with it. */
status tune_values_move(tune_values *v, int64_t which, double by);

/* Remember the values as they are; go back to them. */
void tune_values_keep(tune_values *v);
status tune_values_return(tune_values *v);

#endif
