/* dW += dyᵀ x for each of several weights, with the tokens grouped by weight.
 *
 * A block of tokens at a time, both sides are packed into panels in which STEP tokens lie side by side (as the bf16
 * instruction multiplies them), and tiles of TILE_ROWS × PANEL sums walk along the tokens. Which tile a thread takes does
 * not matter: each adds block by block in the order of the tokens. */
#include "kernel/cpu/isa/block_product.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"

enum { TOKEN_BLOCK = 1024 };

typedef struct side {
    const act *x; /* [tokens, cols] */
    int64_t cols, panels;
    act *packed; /* [panels][TOKEN_BLOCK / STEP][PANEL][STEP] */
} side;

static side side_of(const void *x, int64_t cols) {
    return (side){.x = x, .cols = cols, .panels = (cols + PANEL - 1) / PANEL};
}

static size_t side_bytes(const side *s) {
    return (size_t)(s->panels * PANEL * TOKEN_BLOCK) * sizeof(act);
}

/* One panel of `count` tokens from `from` on; columns beyond the last are 0. */
static void pack_side(const side *s, int64_t panel, int64_t from, int64_t count) {
    int64_t first = panel * PANEL, columns = least(s->cols - first, PANEL);
    act *out = s->packed + panel * PANEL * TOKEN_BLOCK;
    if (columns < PANEL) memset(out, 0, (size_t)(PANEL * TOKEN_BLOCK) * sizeof(act));
    KERNEL(pack_rows)(out, 0, s->x + from * s->cols + first, s->cols, count, round_up(count, STEP), columns);
}

/* dW[row … row + rows, one panel of columns] += the block's part */
static void add_tile(float *dw, const side *dy, const side *x, int64_t row, int64_t panel, int64_t count) {
    int64_t rows = least(least(dy->cols - row, PANEL - row % PANEL), TILE_ROWS);
    int64_t first = panel * PANEL, columns = least(x->cols - first, PANEL);
    const act *a = dy->packed + row / PANEL * PANEL * TOKEN_BLOCK + row % PANEL * STEP;
    const act *b = x->packed + panel * PANEL * TOKEN_BLOCK;
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
    for (int64_t p = 0; p < dy->panels + x->panels; p++)
        pack_side(p < dy->panels ? dy : x, p < dy->panels ? p : p - dy->panels, from, count);
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

static void take_space(side *dy, side *x) {
    act *space = KERNEL(scratch)(SCRATCH_SHARED, side_bytes(dy) + side_bytes(x));
    dy->packed = space;
    x->packed = space + side_bytes(dy) / sizeof(act);
}

static void grouped_linear_backward_weight(float *const *dw, const void *dy, const void *x, const weight *const *w,
                                           const int32_t *start, int64_t E, int64_t most_rows) {
    (void)most_rows;
    side given = side_of(dy, w[0]->rows), in = side_of(x, w[0]->cols);
    take_space(&given, &in);
#pragma omp parallel if (start[E] * w[0]->rows * w[0]->cols > PARALLEL_ELEMENTS)
    for (int64_t e = 0; e < E; e++)
        if (dw[e]) add_tokens(dw[e], &given, &in, start[e], start[e + 1]);
}

void KERNEL(fill_weight_gradient)(kernels *table) {
    table->grouped_linear_backward_weight = grouped_linear_backward_weight;
}
