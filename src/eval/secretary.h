/* Which specialist a text needs: what the routers of a mixture say of it. */
#ifndef MOEC_EVAL_SECRETARY_H
#define MOEC_EVAL_SECRETARY_H

#include "nn/pass.h"

/* probabilities [E]: the routers' softmax, the mean over the text's tokens and over the layers' routers; of a looped layer the last
 * pass counts, which is the one that labels teach (pass_use_labels). layers [MODEL_MAX_LAYERS]: whose routers are asked; NULL: all.
 * Behind the last of them nothing is run. A text of more than `longest` tokens is read in sequences of so many. A layer
 * without experts is an error. */
status secretary_ask(pass *p, const bool *layers, const int32_t *ids, int64_t count, int64_t longest,
                     double *probabilities);
/* The expert of the largest one. */
int secretary_choice(const double *probabilities, int experts);

#endif
