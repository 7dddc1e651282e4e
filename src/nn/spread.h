/* Expert parallelism: a layer's experts live on different ranks, and tokens go there and back (GShard, Lepikhin et al. 2020,
 * arXiv 2006.16668; Switch Transformers, Fedus et al. 2021, arXiv 2101.03961).
 *
 * The ranks are groups of X (comm/group.h). Of the E experts of every layer the rank at position p of its group has those from p · E / X up
 * to (p + 1) · E / X: values, what products read, gradients, and whatever accompanies them. Everything else is on all ranks. A rank
 * runs its own micro-batch; op_moe sends the rows of each expert to the rank that has it. What upcycling makes is spread as it is made.
 *
 * The rows of each micro-batch stay by themselves there, also in the gradients: a rank has X arrays for each of its experts, E / X · X = E
 * arrays in all, as many as one process has. So the sum over micro-batches can be formed in their order (comm/reduce.h), and is the one
 * that a single process forms, to the bit.
 *
 *     TRY(spread_check(ranks, 2, &config));
 *     TRY(model_create_spread(&m, &config, k, frozen, (comm_group){ranks, 2}));
 *     …                                                   // train it, on all ranks alike
 *     TRY(spread_collect(m, 0, true));                    // rank 0 has a whole model,
 *     if (ranks->rank == 0) …                             // to evaluate or save it by itself,
 *     spread_release(m);                                  // and no longer */
#ifndef MOEC_NN_SPREAD_H
#define MOEC_NN_SPREAD_H

#include "nn/model.h"

/* That X ranks can have the experts of such a model between them: X divides the ranks and E, and each token goes to some experts only.
 * One line that names the key expert_ranks where not. */
status spread_check(const comm *ranks, int expert_ranks, const model_config *c);
/* Whether tokens are to be sent: ranks share the experts, and this one does not have all of them just now. */
bool spread_is_on(const model *m);

/* For all ranks: `root` has all experts from here on, as values and, to be run, for products too, until spread_release. Nothing to do
 * without groups. */
status spread_collect(model *m, int root, bool to_run);
void spread_release(model *m);
/* The same of float32 arrays that accompany the experts: of those that are away from root *out has the arrays, one behind the other in the
 * model's order; empty on the other ranks. own(context, i): this rank's array of parameter i. */
status spread_gather(const model *m, int root, float *(*own)(const void *context, int i), const void *context,
                     arena *out);

/* The position of the ranks that have that expert; −1: all have it, or it is none (−1). */
int spread_position(const comm_group *g, const model_config *c, int expert);

/* ---- for nn/ itself ---- */
/* Whether another rank than this one has that expert (−1: no expert) of a model with that config. */
bool spread_sends_away(const comm_group *g, const model_config *c, int expert);
/* Places for what other ranks' micro-batches make of the experts here. */
status spread_place_gradients(model *m);

#endif
