/* Newton–Schulz with the quintic of Jordan 2024, on the short side wherever that is cheaper.
 *
 * One step is X ← P X with P = aI + bG + cG², G = X Xᵀ, [n, n] for X [n, length]. All of G, P and their products are
 * polynomials of one symmetric matrix: they commute and are symmetric, and half of each product is enough. Several steps
 * need X at their begin and end only:
 *     G ← X Xᵀ,  Q ← I;   each step:  P = aI + bG + cG²,  Q ← P Q,  G ← P G P;   X ← Q X
 * where Q starts with P, and the last G is not needed.
 *
 * How many steps X may be left alone: rounding G to bf16 puts an error of up to 10⁻³ |G| (spectral norm) on eigenvalues
 * that may be far smaller, negative ones among them, and a step multiplies small eigenvalues by a² = 11.9. Two steps
 * together stay as exact as single ones. Three at the begin do too, unless one singular value is far above the rest; then
 * the first of them must keep G in float32. It needs no float32 product for that: with P = aI + R
 *     P G P = a² G + 2a RG + R RG,
 * where the roundings of R and RG touch the small eigenvalues through R, which is small there. So three together come
 * first, and then two at a time.
 * Relative error of the whole result in bf16, 512 × 2048, against double (3 2: without that care; 3′: with it):
 *     singular values          1 1 1 1 1    2 2 1    2 3      3 2      3′ 2     5
 *     of a Gaussian matrix       0.012      0.011   0.012   0.016   0.016   0.013
 *     1/k                        0.019      0.012   0.056   0.015   0.013   7.3
 *     exp(−k/60)                 0.044      0.033   0.126   0.022   0.022   0.461
 *     exp(−k/5)                  0.122      0.046           0.032   0.032
 *     rank 8                     0.215      0.050           0.045   0.055
 *     one row × 50, 96 × 48      0.008      0.012           0.320   0.046
 * 3 2 takes four fifths of the operations of 2 2 1 where length = 4n, nine tenths where length = 2n. */
#include "kernel/cpu/isa/newton_schulz.h"

#include "kernel/cpu/isa/rows.h"
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
    s->exact = scratch_take(at, (size_t)(s->gram.rows * s->gram.rows) * sizeof(float));
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

static lanes quintic_lanes(lanes gram, lanes square, float c) {
    return lanes_multiply_add(lanes_all(c), square, lanes_all(B_COEFFICIENT) * gram);
}

static void add_identity(float *block, float factor) {
    for (int r = 0; r < BLOCK; r++) block[r * BLOCK + r] += factor;
}

static void put_quintic(const void *context, float factor, const float *block, int64_t row, int64_t col) {
    const quintic *q = context;
    float sum[BLOCK * BLOCK];
    for (int r = 0; r < BLOCK; r++)
        for (int c = 0; c < BLOCK; c += LANES) {
            lanes gram = act_get(block_at(q->gram, row + r, col) + c, LANES);
            lanes_put(sum + r * BLOCK + c, quintic_lanes(gram, lanes_get(block + r * BLOCK + c, LANES), factor), LANES);
        }
    if (row == col) add_identity(sum, A_COEFFICIENT);
    put_symmetric(&q->out, 1, sum, row, col);
}

/* out = factor·A Bᵀ */
static void multiply_symmetric(block_matrix out, block_matrix a, block_matrix b, float factor) {
    KERNEL(symmetric_product)(a, b, (block_sink){put_symmetric, &out, factor});
}

static void evaluate_quintic(block_matrix out, block_matrix gram) {
    KERNEL(symmetric_product)(gram, gram, (block_sink){put_quintic, &(quintic){out, gram}, C_COEFFICIENT});
}

/* ---- a step that keeps G in float32 ---- */

static float *exact_block(const newton_schulz_space *s, int64_t row, int64_t col) {
    return s->exact + row * s->gram.rows + col * BLOCK;
}

/* G = factor·C */
static void put_exact_gram(const void *context, float factor, const float *block, int64_t row, int64_t col) {
    const newton_schulz_space *s = context;
    float *exact = exact_block(s, row, col);
    for (int i = 0; i < BLOCK * BLOCK; i += LANES)
        lanes_put(exact + i, lanes_all(factor) * lanes_get(block + i, LANES), LANES);
    put_symmetric(&s->gram, 1, exact, row, col);
}

/* R = bG + factor·C and Q = P = aI + R, where C = G² and factor = c */
static void put_rest(const void *context, float factor, const float *block, int64_t row, int64_t col) {
    const newton_schulz_space *s = context;
    const float *exact = exact_block(s, row, col);
    float rest[BLOCK * BLOCK];
    for (int i = 0; i < BLOCK * BLOCK; i += LANES)
        lanes_put(rest + i, quintic_lanes(lanes_get(exact + i, LANES), lanes_get(block + i, LANES), factor), LANES);
    put_symmetric(&s->polynomial, 1, rest, row, col);
    if (row == col) add_identity(rest, A_COEFFICIENT);
    put_symmetric(&s->factor, 1, rest, row, col);
}

/* C = RG; a²G + 2aC in the place of G */
static void put_rest_gram(const void *context, float factor, const float *block, int64_t row, int64_t col) {
    const newton_schulz_space *s = context;
    float *exact = exact_block(s, row, col);
    put_symmetric(&s->product, factor, block, row, col);
    for (int i = 0; i < BLOCK * BLOCK; i += LANES) {
        lanes twice = lanes_all(2 * A_COEFFICIENT * factor) * lanes_get(block + i, LANES);
        lanes_put(exact + i,
                  lanes_multiply_add(lanes_all(A_COEFFICIENT * A_COEFFICIENT), lanes_get(exact + i, LANES), twice),
                  LANES);
    }
}

/* G = a²G + 2aRG + C, where C = R RG */
static void put_next_gram(const void *context, float factor, const float *block, int64_t row, int64_t col) {
    const newton_schulz_space *s = context;
    const float *exact = exact_block(s, row, col);
    float sum[BLOCK * BLOCK];
    for (int i = 0; i < BLOCK * BLOCK; i += LANES)
        lanes_put(sum + i,
                  lanes_multiply_add(lanes_all(factor), lanes_get(block + i, LANES), lanes_get(exact + i, LANES)),
                  LANES);
    put_symmetric(&s->gram, 1, sum, row, col);
}

/* From x to s->factor = Q = P and the next s->gram. */
static void exact_step(const newton_schulz_space *s, float scale) {
    KERNEL(symmetric_product)(s->x, s->x, (block_sink){put_exact_gram, s, scale * scale});
    KERNEL(symmetric_product)(s->gram, s->gram, (block_sink){put_rest, s, C_COEFFICIENT});
    KERNEL(symmetric_product)(s->polynomial, s->gram, (block_sink){put_rest_gram, s, 1});
    KERNEL(symmetric_product)(s->polynomial, s->product, (block_sink){put_next_gram, s, 1});
}

/* ---- the iteration ---- */

/* Q of `steps` steps from scale·x on; it lies in s->factor or s->more. */
static block_matrix steps_factor(const newton_schulz_space *s, float scale, int steps) {
    block_matrix factor = s->factor, more = s->more;
    int step = 0;
    if (steps > 2) {
        exact_step(s, scale);
        step = 1;
    } else {
        multiply_symmetric(s->gram, s->x, s->x, scale * scale);
    }
    for (; step < steps; step++) {
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
static int steps_together(int left, bool first, bool square) {
    return square ? 1 : (int)least(left, first ? 3 : 2);
}

void KERNEL(newton_schulz)(newton_schulz_space s, float scale, int steps, block_sink result) {
    for (bool first = true; steps > 0; first = false) {
        int together = steps_together(steps, first, s.x.rows == s.x.cols);
        steps -= together;
        block_matrix factor = steps_factor(&s, scale, together), next = s.next;
        block_sink last = {result.take, result.context, result.factor * scale};
        KERNEL(product)(factor, s.x, steps ? (block_sink){put, &next, scale} : last);
        s.next = s.x;
        s.x = next;
        scale = 1;
    }
}
