/* dW += dyᵀ x for a weight, or for each of several with the tokens grouped by weight.
 *
 * A block of tokens at a time, both sides are packed into panels in which STEP tokens lie side by side (as the bf16
 * instruction multiplies them), and tiles of TILE_ROWS × PANEL sums walk along the tokens. Which tile a thread takes does
 * not matter: each adds block by block in the order of the tokens. */
#include "kernel/cpu/isa/block_product.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"

#ifdef __AVX512F__
enum { TOKEN_BLOCK = 1024 };
#else
enum { TOKEN_BLOCK = 256 }; /* a panel is half of the first-level cache */
#endif
/* Panels lie a line of the cache more apart than their size, so that the parts of a token do not all meet in one set. */
enum { PANEL_STRIDE = PANEL * TOKEN_BLOCK + 64 / sizeof(act), PACKED_AT_ONCE = 16 };

typedef struct side {
    const act *x; /* [tokens, cols] */
    int64_t cols, panels;
    act *packed; /* [panels], PANEL_STRIDE apart, of [TOKEN_BLOCK / STEP][PANEL][STEP] */
} side;

static side side_of(const void *x, int64_t cols) {
    return (side){.x = x, .cols = cols, .panels = (cols + PANEL - 1) / PANEL};
}

static size_t side_bytes(const side *s) {
    return (size_t)(s->panels * PANEL_STRIDE) * sizeof(act);
}

/* Of the block from token `from` on: `count` tokens, its `first` and on, into all panels, read in the order in which they lie. */
static void pack_tokens(const side *s, int64_t from, int64_t first, int64_t count) {
    KERNEL(pack_rows)
    (s->packed + first * PANEL, PANEL_STRIDE, s->x + (from + first) * s->cols, s->cols, count, round_up(count, STEP),
     s->cols);
}

/* dW[row … row + rows, one panel of columns] += the block's part */
static void add_tile(float *dw, const side *dy, const side *x, int64_t row, int64_t panel, int64_t count) {
    int64_t rows = least(least(dy->cols - row, PANEL - row % PANEL), TILE_ROWS);
    int64_t first = panel * PANEL, columns = least(x->cols - first, PANEL);
    const act *a = dy->packed + row / PANEL * PANEL_STRIDE + row % PANEL * STEP;
    const act *b = x->packed + panel * PANEL_STRIDE;
    _Alignas(64) float tile[TILE_ROWS * PANEL];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c += LANES) __builtin_prefetch(dw + (row + r) * x->cols + first + c, 1);
    KERNEL(outer_tile)(tile, PANEL, a, b, round_up(count, STEP), (int)rows);
    for (int64_t r = 0; r < rows; r++) {
        float *out = dw + (row + r) * x->cols + first;
        for (int64_t c = 0; c < columns; c += LANES)
            lanes_put(out + c, lanes_get(out + c, columns - c) + lanes_get(tile + r * PANEL + c, LANES), columns - c);
    }
}

/* One block of tokens, by all threads of a parallel region. Tiles of one panel of dy's rows do not cross into the next. */
static void add_block(float *dw, const side *dy, const side *x, int64_t from, int64_t count) {
#pragma omp for schedule(static)
    for (int64_t t = 0; t < count; t += PACKED_AT_ONCE) {
        pack_tokens(dy, from, t, least(count - t, PACKED_AT_ONCE));
        pack_tokens(x, from, t, least(count - t, PACKED_AT_ONCE));
    }
    int64_t tiles = (PANEL + TILE_ROWS - 1) / TILE_ROWS, groups = dy->panels * tiles;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < x->panels * groups; i++) {
        int64_t row = i % groups / tiles * PANEL + i % tiles * TILE_ROWS;
        if (row < dy->cols) add_tile(dw, dy, x, row, i / groups, count);
    }
}

/* The tokens from `from` to `to`, by all threads of a parallel region. */
static void add_tokens(float *dw, const side *dy, const side *x, int64_t from, int64_t to) {
    for (int64_t at = from; at < to; at += TOKEN_BLOCK) add_block(dw, dy, x, at, least(to - at, TOKEN_BLOCK));
}

/* Of a panel that is not full, the columns beyond the last stay 0: packing does not touch them. */
static void clear_last_panel(const side *s) {
    if (s->cols % PANEL != 0) memset(s->packed + (s->panels - 1) * PANEL_STRIDE, 0, PANEL_STRIDE * sizeof(act));
}

static void take_space(side *dy, side *x) {
    act *space = KERNEL(scratch)(SCRATCH_SHARED, side_bytes(dy) + side_bytes(x));
    dy->packed = space;
    x->packed = space + side_bytes(dy) / sizeof(act);
    clear_last_panel(dy);
    clear_last_panel(x);
}

/* dw[e] += dyᵀ x over the rows start[e] … start[e + 1] */
static void add_groups(float *const *dw, side dy, side x, const int32_t *start, int64_t E) {
    take_space(&dy, &x);
#pragma omp parallel if (start[E] * dy.cols * x.cols > PARALLEL_ELEMENTS)
    for (int64_t e = 0; e < E; e++)
        if (dw[e]) add_tokens(dw[e], &dy, &x, start[e], start[e + 1]);
}

static void grouped_linear_backward_weight(float *const *dw, const void *dy, const void *x, const weight *const *w,
                                           const int32_t *start, int64_t E, int64_t most_rows) {
    (void)most_rows;
    add_groups(dw, side_of(dy, w[0]->rows), side_of(x, w[0]->cols), start, E);
}

/* Where oneDNN has half the speed for matrices of up to 256 columns and for squares, and never more than this has. */
#ifndef __AVX512F__
static void linear_backward_weight(float *dw, const void *dy, const void *x, const weight *w, int64_t N) {
    add_groups(&dw, side_of(dy, w->rows), side_of(x, w->cols), (int32_t[]){0, (int32_t)N}, 1);
}

static void gram(float *hessian, const void *x, int64_t N, int64_t cols) {
    add_groups(&hessian, side_of(x, cols), side_of(x, cols), (int32_t[]){0, (int32_t)N}, 1);
}
#endif

void KERNEL(fill_weight_gradient)(kernels *table) {
    table->grouped_linear_backward_weight = grouped_linear_backward_weight;
#ifndef __AVX512F__
    table->linear_backward_weight = linear_backward_weight;
    table->gram = gram;
#endif
}
