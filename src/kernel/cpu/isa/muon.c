/* Muon (Jordan 2024, as in #2102): the momentum of a matrix, replaced by the nearest matrix with singular values near 1.
 *
 *   buffer ← momentum·buffer + grad;  g = grad + momentum·buffer (Nesterov) or buffer;  rows of g to unit length (option)
 *   X = g / (|g| + 10⁻⁷), |g| over the whole matrix (Frobenius)
 *   five times  A = X Xᵀ,  X ← aX + (bA + cA²) X,    a, b, c = 3.4445, −4.7750, 2.0315
 *   w ← (1 − lr·wd) w − lr·√max(1, rows/cols) X
 *
 * The Gram matrix A is formed on the short side n: for rows > cols the iteration is that of Xᵀ, X ← X (aI + bA + cA²)
 * with A = Xᵀ X, which needs no transposed copy. The polynomial is evaluated as P = aI + A (bI + cA), so that the long
 * side is touched by two products a step and by no elementwise pass; P and bI + cA are formed in float32 and rounded once.
 * Products read act (bf16 as in the reference script) and sum in float32. */
#include "kernel/cpu/muon.h"

#include "kernel/cpu/products.h"
#include <math.h>
#include <stdlib.h>

static const float A_COEFFICIENT = 3.4445f, B_COEFFICIENT = -4.7750f, C_COEFFICIENT = 2.0315f;
static const float NORM_EPSILON = 1e-7f;
enum { PARALLEL_COUNT = 1 << 15 };

/* Kept between calls: the largest that was needed so far. n is the short side. */
typedef struct workspace {
    size_t bytes; /* of memory */
    char *memory;
    act *x, *next;       /* [rows, cols] */
    act *gram, *factor;  /* [n, n]: A, and bI + cA or P */
    float *product;      /* [n, n]: A or A (bI + cA) in float32 */
    float *row_factor;   /* [rows] */
    double *row_squares; /* [rows] */
} workspace;
static workspace space;

/* Cut the next `bytes`, 64-byte aligned, off the workspace (or only count them while memory is NULL). */
static void *cut(char *memory, size_t *used, size_t bytes) {
    void *piece = memory ? memory + *used : NULL;
    *used += (bytes + 63) / 64 * 64;
    return piece;
}

static size_t lay_out(workspace *s, int64_t rows, int64_t cols) {
    size_t used = 0, n = (size_t)(rows < cols ? rows : cols), count = (size_t)(rows * cols);
    s->x = cut(s->memory, &used, count * sizeof(act));
    s->next = cut(s->memory, &used, count * sizeof(act));
    s->gram = cut(s->memory, &used, n * n * sizeof(act));
    s->factor = cut(s->memory, &used, n * n * sizeof(act));
    s->product = cut(s->memory, &used, n * n * sizeof(float));
    s->row_factor = cut(s->memory, &used, (size_t)rows * sizeof(float));
    s->row_squares = cut(s->memory, &used, (size_t)rows * sizeof(double));
    return used;
}

static status reserve(int64_t rows, int64_t cols) {
    size_t bytes = lay_out(&space, rows, cols);
    if (bytes <= space.bytes) return STATUS_OK;
    free(space.memory);
    space = (workspace){0};
    void *memory;
    if (posix_memalign(&memory, 64, bytes) != 0)
        return fail("muon: out of memory: %zu bytes for a matrix of %lld × %lld", bytes, (long long)rows,
                    (long long)cols);
    space.memory = memory;
    space.bytes = bytes;
    lay_out(&space, rows, cols);
    return STATUS_OK;
}

/* ---- the momentum ---- */

/* g = near·grad + far·buffer, after the buffer's update */
typedef struct mixture {
    float near, far;
} mixture;

static mixture mixture_of(const muon_args *args) {
    return args->nesterov ? (mixture){1, args->momentum} : (mixture){0, 1};
}

/* buffer ← momentum·buffer + grad for one row; Σ g² */
static double update_row(float *buffer, const float *grad, int64_t cols, float momentum, mixture mix) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < cols; i++) {
        buffer[i] = momentum * buffer[i] + grad[i];
        float g = mix.near * grad[i] + mix.far * buffer[i];
        squares += g * g;
    }
    return (double)squares;
}

/* x = g / (|g| + ε) with the rows of g at unit length first, if asked for. */
static void load_direction(act *x, float *buffer, const float *grad, int64_t rows, int64_t cols,
                           const muon_args *args) {
    mixture mix = mixture_of(args);
    float *row_factor = space.row_factor;
    double *row_squares = space.row_squares, total = 0;
#pragma omp parallel for schedule(static) if (rows * cols >= PARALLEL_COUNT)
    for (int64_t r = 0; r < rows; r++) {
        double squares = update_row(buffer + r * cols, grad + r * cols, cols, args->momentum, mix);
        double factor = args->row_normalize ? 1 / fmax(sqrt(squares), (double)NORM_EPSILON) : 1;
        row_factor[r] = (float)factor;
        row_squares[r] = squares * factor * factor;
    }
    for (int64_t r = 0; r < rows; r++) total += row_squares[r];
    float whole = (float)(1 / (sqrt(total) + (double)NORM_EPSILON));
#pragma omp parallel for schedule(static) if (rows * cols >= PARALLEL_COUNT)
    for (int64_t r = 0; r < rows; r++) {
        const float *b = buffer + r * cols, *g = grad + r * cols;
        float near = mix.near * row_factor[r] * whole, far = mix.far * row_factor[r] * whole;
        act *out = x + r * cols;
#pragma omp simd
        for (int64_t i = 0; i < cols; i++) out[i] = act_store(near * g[i] + far * b[i]);
    }
}

/* ---- Newton–Schulz ---- */

/* out = factor·in + diagonal·I, rounded to act; [n, n] */
static void polynomial(act *out, const float *in, float factor, float diagonal, int64_t n) {
#pragma omp parallel for schedule(static) if (n * n >= PARALLEL_COUNT)
    for (int64_t r = 0; r < n; r++) {
        const float *row = in + r * n;
        act *out_row = out + r * n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out_row[i] = act_store(factor * row[i]);
        out_row[r] = act_store(factor * row[r] + diagonal);
    }
}

static matmul_args product_of(int64_t m, int64_t n, int64_t k, const void *a, const void *b, void *c, dtype c_type) {
    return (matmul_args){
        .m = m, .n = n, .k = k, .a = a, .b = b, .c = c, .a_type = ACT_DTYPE, .b_type = ACT_DTYPE, .c_type = c_type};
}

/* next = P x (or x P for a tall x) */
static void newton_schulz_step(act *next, const act *x, int64_t rows, int64_t cols) {
    bool tall = rows > cols;
    int64_t n = tall ? cols : rows, length = tall ? rows : cols;
    matmul_args gram = product_of(n, n, length, x, x, space.product, DTYPE_F32);
    gram.transpose_a = tall;
    gram.transpose_b = !tall;
    cpu_matmul(&gram);
    polynomial(space.gram, space.product, 1, 0, n);
    polynomial(space.factor, space.product, C_COEFFICIENT, B_COEFFICIENT, n);
    matmul_args square = product_of(n, n, n, space.gram, space.factor, space.product, DTYPE_F32);
    cpu_matmul(&square);
    polynomial(space.factor, space.product, 1, A_COEFFICIENT, n);
    matmul_args apply = product_of(rows, cols, n, tall ? x : space.factor, tall ? space.factor : x, next, ACT_DTYPE);
    cpu_matmul(&apply);
}

status KERNEL(muon)(float *w, float *buffer, const float *grad, int64_t rows, int64_t cols, const muon_args *args) {
    if (rows == 0 || cols == 0) return STATUS_OK;
    TRY(reserve(rows, cols));
    act *x = space.x, *next = space.next;
    load_direction(x, buffer, grad, rows, cols, args);
    for (int step = 0; step < args->newton_schulz_steps; step++) {
        newton_schulz_step(next, x, rows, cols);
        act *other = x;
        x = next;
        next = other;
    }
    float keep = (float)(1 - (double)args->lr * args->weight_decay);
    float rate = args->lr * (rows > cols ? sqrtf((float)rows / (float)cols) : 1);
    int64_t count = rows * cols;
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_COUNT)
    for (int64_t i = 0; i < count; i++) w[i] = keep * w[i] - rate * act_load(x[i]);
    return STATUS_OK;
}
