/* Muon (Jordan 2024, as in #2102): the momentum of a matrix, replaced by the nearest matrix with singular values near 1.
 *
 *   buffer ← momentum·buffer + grad;  g = grad + momentum·buffer (Nesterov) or buffer;  rows of g to unit length (option)
 *   X = g / (|g| + 10⁻⁷), |g| over the whole matrix (Frobenius)
 *   five times  A = X Xᵀ,  X ← aX + (bA + cA²) X,    a, b, c = 3.4445, −4.7750, 2.0315 (newton_schulz.c)
 *   w ← (1 − lr·wd) w − lr·√max(1, rows/cols) X
 *
 * X lies with its short side as rows, transposed where rows > cols, in blocks padded by zeros, which stay zeros. It holds
 * g; the factor 1 / (|g| + 10⁻⁷), not yet known when g is rounded to act, goes into the first products. */
#include "kernel/cpu/muon.h"

#include "kernel/cpu/isa/moment.h"
#include "kernel/cpu/isa/newton_schulz.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"
#include <math.h>

static const float NORM_EPSILON = 1e-7f;
enum { PARALLEL_COUNT = 1 << 15 };

/* One call. */
typedef struct job {
    float *w;          /* [rows, cols] */
    void *buffer;      /* [rows, cols] */
    const float *grad; /* [rows, cols] */
    int64_t rows, cols;
    float clip; /* factor of grad */
    bool tall;  /* rows > cols */
    muon_args args;
    newton_schulz_space space;
    double *row_squares; /* [rows]: Σ g² of each row */
} job;

static void lay_out(job *j, uintptr_t at) {
    uintptr_t start = at;
    for (int pass = 0; pass < 2; pass++) { /* how much, then where */
        KERNEL(newton_schulz_lay_out)
        (&j->space, &at, j->tall ? j->rows : j->cols, j->tall ? j->cols : j->rows);
        j->row_squares = scratch_take(&at, (size_t)j->rows * sizeof(double));
        if (pass == 0) at = (uintptr_t)KERNEL(scratch)(SCRATCH_SHARED, at - start);
    }
}

/* ---- the momentum ---- */

/* buffer ← momentum·buffer + grad for a part of a row, from element `at` on; g into out; Σ g² */
static float update_part(float *out, const job *j, int64_t at, int64_t count) {
    float near = j->args.nesterov ? 1 : 0, far = j->args.nesterov ? j->args.momentum : 1, squares = 0;
    float *buffer = (float *)j->buffer + at;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < count; i++) {
        float g = j->clip * j->grad[at + i];
        buffer[i] = j->args.momentum * buffer[i] + g;
        out[i] = near * g + far * buffer[i];
        squares += out[i] * out[i];
    }
    return squares;
}

static float update_part_bf16(float *out, const job *j, int64_t at, int64_t count) {
    float near = j->args.nesterov ? 1 : 0, far = j->args.nesterov ? j->args.momentum : 1, squares = 0;
    uint16_t *buffer = (uint16_t *)j->buffer + at;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < count; i++) {
        float g = j->clip * j->grad[at + i], mean = j->args.momentum * moment_get(buffer[i]) + g;
        buffer[i] = moment_put(mean, moment_random(j->args.moments.seed, (uint32_t)(at + i)) & 0xffff);
        out[i] = near * g + far * mean;
        squares += out[i] * out[i];
    }
    return squares;
}

/* Row r of g, of unit length if asked for, as row r % BLOCK of blocks[⌈cols / BLOCK⌉][BLOCK][BLOCK]; Σ g² */
static double load_row(float *blocks, const job *j, int64_t r) {
    float *out = blocks + r % BLOCK * BLOCK;
    double squares = 0;
    for (int64_t c = 0; c < j->cols; c += BLOCK) {
        int64_t at = r * j->cols + c, count = least(j->cols - c, BLOCK);
        squares += (double)(j->args.moments.type == DTYPE_BF16 ? update_part_bf16(out + c * BLOCK, j, at, count)
                                                               : update_part(out + c * BLOCK, j, at, count));
    }
    if (!j->args.row_normalize) return squares;
    double factor = 1 / fmax(sqrt(squares), (double)NORM_EPSILON);
    for (int64_t c = 0; c < j->cols; c += BLOCK)
        for (int64_t i = 0; i < BLOCK; i++) out[c * BLOCK + i] *= (float)factor;
    return squares * factor * factor;
}

/* x = g, by all threads of a parallel region */
static void load_direction(const job *j) {
    int64_t width = round_up(j->cols, BLOCK), groups = round_up(j->rows, BLOCK) / BLOCK;
    float *blocks = KERNEL(scratch)(SCRATCH_OWN, (size_t)(width * BLOCK) * sizeof(float));
    memset(blocks, 0, (size_t)(width * BLOCK) * sizeof(float));
    block_matrix x = j->space.x;
    int64_t to = chunk_start(groups, omp_get_thread_num() + 1) * BLOCK;
    for (int64_t first = chunk_start(groups, omp_get_thread_num()) * BLOCK; first < to; first += BLOCK) {
        int64_t count = least(j->rows - first, BLOCK);
        for (int64_t r = first; r < first + count; r++) j->row_squares[r] = load_row(blocks, j, r);
        for (int64_t r = count; r < BLOCK; r++)
            for (int64_t c = 0; c < width; c += BLOCK) memset(blocks + (c + r) * BLOCK, 0, BLOCK * sizeof(float));
        for (int64_t c = 0; c < width; c += BLOCK)
            if (j->tall)
                KERNEL(put_block_transposed)(block_at(x, c, first), x.stride, blocks + c * BLOCK, 1);
            else
                KERNEL(put_block)(block_at(x, first, c), x.stride, blocks + c * BLOCK, 1);
    }
#pragma omp barrier
}

/* ---- the step ---- */

/* w ← (1 − lr·wd) w − rate·block, at w[row, col] on, as far as w goes */
static void step_block(const job *j, float rate, const float *block, int64_t row, int64_t col) {
    float keep = (float)(1 - (double)j->args.lr * j->args.weight_decay);
    int64_t height = least(j->rows - row, BLOCK), width = least(j->cols - col, BLOCK);
    for (int64_t r = 0; r < height; r++) {
        float *w = j->w + (row + r) * j->cols + col;
#pragma omp simd
        for (int64_t c = 0; c < width; c++) w[c] = keep * w[c] - rate * block[r * BLOCK + c];
    }
}

static void take_step(const void *context, float rate, const float *block, int64_t row, int64_t col) {
    const job *j = context;
    if (j->tall) {
        float transposed[BLOCK * BLOCK];
        KERNEL(transpose_block)(transposed, block);
        step_block(j, rate, transposed, col, row);
    } else {
        step_block(j, rate, block, row, col);
    }
}

/* 1 / (|g| + ε), summed in the order of the rows by every thread */
static float norm_factor(const job *j) {
    double total = 0;
    for (int64_t r = 0; r < j->rows; r++) total += j->row_squares[r];
    return (float)(1 / (sqrt(total) + (double)NORM_EPSILON));
}

void KERNEL(muon)(float *w, void *buffer, const float *grad, const float *clip, int64_t rows, int64_t cols,
                  const muon_args *args) {
    float factor = clip ? *clip : 1;
    if (rows == 0 || cols == 0 || isnan(factor)) return;
    job j = {.w = w,
             .buffer = buffer,
             .grad = grad,
             .rows = rows,
             .cols = cols,
             .clip = factor,
             .tall = rows > cols,
             .args = *args};
    size_t direction = (size_t)(round_up(cols, BLOCK) * BLOCK) * sizeof(float);
    size_t products = KERNEL(product_scratch)(round_up(rows > cols ? rows : cols, BLOCK));
    KERNEL(scratch_reserve)(direction > products ? direction : products);
    lay_out(&j, 0);
    float rate = args->lr * (j.tall ? sqrtf((float)rows / (float)cols) : 1);
#pragma omp parallel if (rows * cols >= PARALLEL_COUNT)
    {
        load_direction(&j);
        KERNEL(newton_schulz)
        (j.space, norm_factor(&j), args->newton_schulz_steps, (block_sink){take_step, &j, rate});
    }
}
