/* Newton–Schulz with the quintic of Jordan 2024, on the short side wherever that is cheaper.
 *
 * One step is X ← P X with P = aI + bG + cG², G = X Xᵀ, [n, n] for X [n, length]. All of G, P and their products are
 * polynomials of one symmetric matrix: they commute and are symmetric, and half of each product is enough. Several steps
 * need X at their begin and end only:
 *     G ← X Xᵀ,  Q ← I;   each step:  P = aI + bG + cG²,  Q ← P Q,  G ← P G P;   X ← Q X
 * where Q starts with P, and the last G is not needed.
 *
 * How many steps X may be left alone: rounding G to bf16 puts an error of up to 10⁻³ |G| (spectral norm) on eigenvalues
 * that may be far smaller, negative ones among them, and a step multiplies small eigenvalues by a² = 11.9. P is off by 1.4
 * times the error of its G. Two steps together are as exact as five single ones. Measured against double, relative error
 * of the whole result in bf16, 256 × 512, steps grouped as:
 *     singular values          1 1 1 1 1    2 2 1    2 3
 *     of a Gaussian matrix       0.016      0.009   0.009
 *     1/k                        0.023      0.023   0.070
 *     exp(−k/60)                 0.023      0.034   0.101
 * so three together, a seventh faster, are not worth it. */
#include "kernel/cpu/isa/newton_schulz.h"

#include "kernel/cpu/isa/scratch.h"

static const float A_COEFFICIENT = 3.4445f, B_COEFFICIENT = -4.7750f, C_COEFFICIENT = 2.0315f;

static block_matrix take_matrix(uintptr_t *at, int64_t rows, int64_t cols) {
    block_matrix m = {.rows = round_up(rows, BLOCK), .cols = round_up(cols, BLOCK)};
    m.stride = m.cols + 64 / (int64_t)sizeof(act);
    m.data = scratch_take(at, (size_t)(m.rows * m.stride) * sizeof(act));
    return m;
}

void KERNEL(newton_schulz_lay_out)(newton_schulz_space *s, uintptr_t *at, int64_t length, int64_t short_side) {
    s->x = take_matrix(at, short_side, length);
    s->next = take_matrix(at, short_side, length);
    block_matrix *squares[] = {&s->gram, &s->polynomial, &s->product, &s->factor, &s->more};
    for (size_t i = 0; i < sizeof squares / sizeof *squares; i++) *squares[i] = take_matrix(at, short_side, short_side);
}

/* ---- what becomes of a product C ---- */

/* out = factor·C */
static void put(const void *context, float factor, const float *block, int64_t row, int64_t col) {
    const block_matrix *out = context;
    KERNEL(put_block)(block_at(*out, row, col), out->stride, block, factor);
}

/* The same for a symmetric C, of which the upper blocks come. */
static void put_symmetric(const void *context, float factor, const float *block, int64_t row, int64_t col) {
    const block_matrix *out = context;
    put(out, factor, block, row, col);
    if (row != col) KERNEL(put_block_transposed)(block_at(*out, col, row), out->stride, block, factor);
}

/* out = aI + b·gram + factor·C, where C = gram² and factor = c */
typedef struct quintic {
    block_matrix out, gram;
} quintic;

static void put_quintic(const void *context, float factor, const float *block, int64_t row, int64_t col) {
    const quintic *q = context;
    float sum[BLOCK * BLOCK];
    for (int r = 0; r < BLOCK; r++) {
        const act *gram = block_at(q->gram, row + r, col);
        for (int c = 0; c < BLOCK; c += LANES) {
            lanes square = lanes_get(block + r * BLOCK + c, LANES);
            lanes linear = lanes_all(B_COEFFICIENT) * act_get(gram + c, LANES);
            lanes_put(sum + r * BLOCK + c, lanes_multiply_add(lanes_all(factor), square, linear), LANES);
        }
        if (row == col) sum[r * BLOCK + r] += A_COEFFICIENT;
    }
    put_symmetric(&q->out, 1, sum, row, col);
}

/* out = factor·A Bᵀ */
static void multiply_symmetric(block_matrix out, block_matrix a, block_matrix b, float factor) {
    KERNEL(symmetric_product)(a, b, (block_sink){put_symmetric, &out, factor});
}

static void evaluate_quintic(block_matrix out, block_matrix gram) {
    KERNEL(symmetric_product)(gram, gram, (block_sink){put_quintic, &(quintic){out, gram}, C_COEFFICIENT});
}

/* ---- the iteration ---- */

/* Q of `steps` steps from scale·x on; it lies in s->factor or s->more. */
static block_matrix steps_factor(const newton_schulz_space *s, float scale, int steps) {
    block_matrix factor = s->factor, more = s->more;
    multiply_symmetric(s->gram, s->x, s->x, scale * scale);
    for (int step = 0; step < steps; step++) {
        block_matrix p = step ? s->polynomial : factor;
        evaluate_quintic(p, s->gram);
        if (step) {
            multiply_symmetric(more, p, factor, 1);
            block_matrix last = factor;
            factor = more;
            more = last;
        }
        if (step + 1 < steps) {
            multiply_symmetric(s->product, p, s->gram, 1);
            multiply_symmetric(s->gram, s->product, p, 1);
        }
    }
    return factor;
}

/* Steps until x is next brought up to date. For a square x nothing is saved by leaving it. */
static int steps_together(int left, bool square) {
    return square || left == 1 ? 1 : 2;
}

void KERNEL(newton_schulz)(newton_schulz_space s, float scale, int steps, block_sink result) {
    while (steps > 0) {
        int together = steps_together(steps, s.x.rows == s.x.cols);
        steps -= together;
        block_matrix factor = steps_factor(&s, scale, together), next = s.next;
        block_sink last = {result.take, result.context, result.factor * scale};
        KERNEL(product)(factor, s.x, steps ? (block_sink){put, &next, scale} : last);
        s.next = s.x;
        s.x = next;
        scale = 1;
    }
}
