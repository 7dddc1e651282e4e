/* Steps of X ← aX + (bA + cA²) X, A = X Xᵀ: Muon's orthogonalisation. */
#ifndef MOEC_KERNEL_CPU_ISA_NEWTON_SCHULZ_H
#define MOEC_KERNEL_CPU_ISA_NEWTON_SCHULZ_H

#include "kernel/cpu/isa/block_matrix.h"

/* What the iteration works in; n = x.rows ≤ x.cols. */
typedef struct newton_schulz_space {
    block_matrix x, next;               /* [n, length] */
    block_matrix gram, polynomial;      /* [n, n]: G and P, or R */
    block_matrix product, factor, more; /* [n, n]: P G, or R G; Q, and the next Q */
    float *exact;                       /* [n / BLOCK, n / BLOCK, BLOCK, BLOCK]: G in float32, its upper blocks */
} newton_schulz_space;

/* Lay the matrices out from *at on (scratch_take), for x of short × length before padding. */
void KERNEL(newton_schulz_lay_out)(newton_schulz_space *s, uintptr_t *at, int64_t length, int64_t short_side);

/* `steps` ≥ 1 steps from scale·x; blocks of the result go to the sink. Called by all threads of a parallel region. */
void KERNEL(newton_schulz)(newton_schulz_space s, float scale, int steps, block_sink result);

#endif
