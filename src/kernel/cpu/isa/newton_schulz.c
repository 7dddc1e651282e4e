/* Newton–Schulz with the quintic of Jordan 2024, on the short side wherever that is cheaper.
 *
 * One step is X ← P X with P = aI + bG + cG², G = X Xᵀ, [n, n] for X [n, length]. All of G, P and their products are
 * polynomials of one symmetric matrix: they commute and are symmetric, and half of each product is enough. Several steps
 * need X at their begin and end only:
 *     G ← X Xᵀ,  Q ← I;   each step:  P = aI + bG + cG²,  Q ← P Q,  G ← P G P;   X ← Q X
 * where Q starts with P, and the last G is not needed. For length = 4n this is half the work.
 *
 * How many steps X may be left alone: rounding G to bf16 puts an error of e ≈ 5·10⁻⁵ |G| (spectral norm) on eigenvalues
 * that may be far smaller, negative ones among them, and a step multiplies small eigenvalues by a² = 11.9. P is off by
 * 1.4 times the error of its G, so three steps cost 1.4 · 11.9² e ≈ 1 % in the worst case; five would cost 140 %. */
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
typedef struct scaled {
    block_matrix out;
    float factor;
} scaled;

static void put_scaled(const void *context, const float *block, int64_t row, int64_t col) {
    const scaled *s = context;
    KERNEL(put_block)(block_at(s->out, row, col), s->out.stride, block, s->factor);
}

/* The same for a symmetric C, of which the upper blocks come. */
static void put_symmetric(const void *context, const float *block, int64_t row, int64_t col) {
    const scaled *s = context;
    put_scaled(context, block, row, col);
    if (row != col) KERNEL(put_block_transposed)(block_at(s->out, col, row), s->out.stride, block, s->factor);
}

/* P = aI + b·gram + cC with C = gram² */
typedef struct quintic {
    block_matrix out, gram;
} quintic;

static void put_quintic(const void *context, const float *block, int64_t row, int64_t col) {
    const quintic *q = context;
    float sum[BLOCK * BLOCK];
    for (int r = 0; r < BLOCK; r++) {
        const act *gram = block_at(q->gram, row + r, col);
        for (int c = 0; c < BLOCK; c += LANES)
            lanes_put(sum + r * BLOCK + c,
                      lanes_all(B_COEFFICIENT) * act_get(gram + c, LANES) +
                          lanes_all(C_COEFFICIENT) * lanes_get(block + r * BLOCK + c, LANES),
                      LANES);
        if (row == col) sum[r * BLOCK + r] += A_COEFFICIENT;
    }
    put_symmetric(&(scaled){q->out, 1}, sum, row, col);
}

/* out = factor·A Bᵀ */
static void multiply_symmetric(block_matrix out, block_matrix a, block_matrix b, float factor) {
    KERNEL(symmetric_product)(a, b, (block_sink){put_symmetric, &(scaled){out, factor}});
}

/* ---- the iteration ---- */

/* Q for `steps` steps from x' = scale·x on, as one of s->polynomial, factor, more. */
static block_matrix steps_factor(const newton_schulz_space *s, float scale, int steps) {
    block_matrix factor = s->factor, more = s->more;
    multiply_symmetric(s->gram, s->x, s->x, scale * scale);
    for (int step = 0; step < steps; step++) {
        block_matrix p = step ? s->polynomial : factor;
        KERNEL(symmetric_product)(s->gram, s->gram, (block_sink){put_quintic, &(quintic){p, s->gram}});
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
    if (square) return 1;
    return left > 3 ? 2 : left;
}

void KERNEL(newton_schulz)(newton_schulz_space s, float scale, int steps, block_sink result) {
    while (steps > 0) {
        int together = steps_together(steps, s.x.rows == s.x.cols);
        steps -= together;
        block_matrix factor = steps_factor(&s, scale, together);
        scaled next = {s.next, scale};
        KERNEL(product)(factor, s.x, steps ? (block_sink){put_scaled, &next} : result);
        s.next = s.x;
        s.x = next.out;
        scale = 1;
    }
}
