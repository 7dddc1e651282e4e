/* A training step of many ranks, simulated: each rank's blocks one after another, forward and backward, its messages, its updates.
 *
 * Three ways to share a step out:
 *   as built   docs/parallel.md: each micro-batch's gradients go straight to the owners of parameters while its backward goes on, in
 *              exchanges of at most 16 MiB divided by the ranks for each owner; norms; updates; values straight to everyone
 *   sharded    a rank sums its micro-batches by itself; gradients of some layers (25 MB: Li et al. 2020, arXiv 2006.15704) are
 *              reduced and scattered while the last one's backward goes on; owners gather the matrices that Muon updates (Liu et al. 2025, arXiv
 *              2502.16982, §2.3), give them back, and values are gathered while the next forward pass begins (Rajbhandari et al. 2020,
 *              arXiv 1910.02054, stage 1). Equal bits for any number of ranks need sums along a fixed tree of micro-batches
 *   experts    the same, and groups of ranks hold the experts in parts: tokens go to them and come back, forward and backward, by
 *              all-to-alls that nothing hides (Lepikhin et al. 2020, arXiv 2006.16668). The busiest rank of a group has
 *              `imbalance` times the mean's tokens
 * Who owns what: evenly by the bytes of means (train/shares.h), whole parameters; Adam's in equal parts except as built.
 *
 * Of each rank's time for computing it is `computing` or `updating`; the rest of the step is `waiting`, for messages or for slower ranks. */
#ifndef MOEC_STUDY_STEP_SIM_H
#define MOEC_STUDY_STEP_SIM_H

#include "study/machine.h"
#include "study/step_work.h"

typedef enum step_method { STEP_AS_BUILT, STEP_SHARDED, STEP_EXPERTS, STEP_METHODS } step_method;
const char *step_method_name(step_method m);

typedef struct step_options {
    int ranks;
    step_method method;
    bool grows; /* each rank has one micro-batch of the configuration; else the ranks share the configuration's step */
    double imbalance; /* ≥ 1 */
    double
        messages; /* at most so many are simulated singly; beyond that collectives are tasks as long as their formulas say */
    uint64_t seed; /* of which ranks are slow */
} step_options;

typedef struct step_result {
    bool possible;
    char why[128]; /* it is not */
    double seconds;
    double computing, updating, waiting; /* seconds of the mean rank; together `seconds` */
    double sent, sent_apart;             /* bytes of the rank that sends most: all, and to other nodes */
    double memory;                       /* bytes of a rank: weights, gradients, average, means, activations */
    double tokens;                       /* of the step */
    int expert_ranks;                    /* that hold the experts together; 1: each rank has all */
    bool by_message;
    int tasks;
} step_result;
status step_simulate(const step_work *w, const machine *m, const step_options *o, step_result *result);

#endif
