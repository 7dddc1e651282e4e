/* What a training step is, before anybody does it: blocks with their operations and bytes, parameters with their sizes, from a
 * configuration alone. `moec simulate` gives it to ranks (step_sim.h). */
#ifndef MOEC_STUDY_STEP_WORK_H
#define MOEC_STUDY_STEP_WORK_H

#include "train/config.h"

/* One run of one layer, of a token, forward. Backward is twice of both (two products for each one; what forward wrote is read, and
 * gradients as large are written and read). */
typedef struct work_block {
    int layer;
    double flops, expert_flops; /* of products: outside the experts, and of them */
    /* Numbers that its ops write and that backward reads again: 8 d, and 2 h of MLPs (h: of all experts that a token goes to; 3 h of
     * gated ones), Korthikanti et al. 2022 (arXiv 2205.05198, §4.1) without dropouts and without what attention never stores. */
    double numbers, expert_numbers;
    double routed; /* numbers that go to experts, and come back; 0: it has none */
} work_block;

typedef struct work_param {
    int layer;     /* −1: in none */
    bool expert;   /* of an expert */
    bool muon;     /* else Adam */
    int64_t count; /* of numbers */
    double update_flops; /* Newton–Schulz: steps · 2 (2 t² w + t³) for a matrix of t × w, t ≤ w (Jordan et al. 2024) */
    int means;           /* running means of each number */
} work_param;

typedef struct step_work {
    work_block *blocks; /* in the order of the path */
    int block_count;
    work_param *params;
    int param_count;
    double values, expert_values; /* numbers of all parameters, of experts' */
    double ends_flops; /* of a token, forward: the head; backward has thrice that, as logits are formed again */
    int layers, experts;
    int64_t dim, seq;
    int64_t rows;       /* of seq tokens, in a step */
    int64_t micro_rows; /* at most that many at a time */
    bool average;       /* is kept */
} step_work;

/* after: what the configuration's events make of the model is taken, not what it begins with. */
step_work step_work_of(const run_config *c, bool after);
void step_work_free(step_work *w);

#endif
