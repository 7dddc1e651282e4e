#include "kernel/cpu/isa/block_matrix.h"

#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"
#include "kernel/cpu/isa/transpose.h"

/* DEPTH · PANEL elements of B (64 KB; 16 KB with AVX2) stay in the cache while all rows of a block pass by. */
enum { DEPTH = 1024 / sizeof(act), PANELS = BLOCK / PANEL };

/* What one thread works in. */
typedef struct workplace {
    act *panels;  /* a column of blocks of B, or Bᵀ: [PANELS][depth / STEP][PANEL][STEP] */
    float *block; /* [BLOCK, BLOCK] of C */
} workplace;

size_t KERNEL(product_scratch)(int64_t depth) {
    return (size_t)(BLOCK * depth) * sizeof(act) + BLOCK * BLOCK * sizeof(float);
}

static workplace workplace_get(int64_t depth) {
    size_t panel_bytes = (size_t)(BLOCK * depth) * sizeof(act);
    char *memory = KERNEL(scratch)(SCRATCH_OWN, KERNEL(product_scratch)(depth));
    return (workplace){.panels = (act *)memory, .block = (float *)(memory + panel_bytes)};
}

/* The block's columns from `first` on (a multiple of LANES), over `depth` of the depth, for `rows` of its rows. */
static void add_tile(float *c, const act *a, int64_t a_stride, const act *panels, int64_t panel_stride, int64_t depth,
                     int rows, int first, bool add) {
    for (int p = first / PANEL; p < PANELS; p++) {
        int skipped = first > p * PANEL ? first - p * PANEL : 0;
        KERNEL(tile_product)
        (c + p * PANEL + skipped, BLOCK, a, a_stride, panels + p * panel_stride + skipped * STEP, depth, rows,
         (PANEL - skipped) / LANES, add);
    }
}

/* block = A[BLOCK, depth] · panels; of a block on the diagonal only what lies on the right of it. */
static void compute_block(float *block, const act *a, int64_t a_stride, const act *panels, int64_t depth,
                          bool on_diagonal) {
    for (int64_t d = 0; d < depth; d += DEPTH)
        for (int r = 0; r < BLOCK; r += TILE_ROWS)
            add_tile(block + r * BLOCK, a + r * a_stride + d, a_stride, panels + d * PANEL, depth * PANEL,
                     least(depth - d, DEPTH), (int)least(BLOCK - r, TILE_ROWS), on_diagonal ? r / LANES * LANES : 0,
                     d > 0);
}

static void mirror_diagonal(float *block) {
    for (int r = 1; r < BLOCK; r++)
        for (int c = 0; c < r; c++) block[r * BLOCK + c] = block[c * BLOCK + r];
}

void KERNEL(product)(block_matrix a, block_matrix b, block_sink sink) {
    int64_t down = a.rows / BLOCK, count = down * (b.cols / BLOCK), packed = -1;
    workplace own = workplace_get(a.cols);
    int64_t from = chunk_start(count, omp_get_thread_num()), to = chunk_start(count, omp_get_thread_num() + 1);
    for (int64_t t = from; t < to; t++) { /* down the columns of blocks */
        int64_t row = t % down * BLOCK, col = t / down * BLOCK;
        if (packed != col)
            KERNEL(pack_rows)(own.panels, a.cols * PANEL, block_at(b, 0, col), b.stride, b.rows, b.rows, BLOCK);
        packed = col;
        compute_block(own.block, block_at(a, row, 0), a.stride, own.panels, a.cols, false);
        sink.take(sink.context, sink.factor, own.block, row, col);
    }
#pragma omp barrier
}

static void pack_columns(act *panels, block_matrix b, int64_t first) {
    for (int p = 0; p < PANELS; p++) KERNEL(pack_transposed)
    (panels + p * b.cols * PANEL, block_at(b, first + p * PANEL, 0), b.stride, PANEL, b.cols);
}

void KERNEL(symmetric_product)(block_matrix a, block_matrix b, block_sink sink) {
    int64_t down = a.rows / BLOCK, count = down * (down + 1) / 2, packed = -1, t = 0;
    workplace own = workplace_get(a.cols);
    int64_t from = chunk_start(count, omp_get_thread_num()), to = chunk_start(count, omp_get_thread_num() + 1);
    for (int64_t col = 0; col < a.rows; col += BLOCK)
        for (int64_t row = 0; row <= col; row += BLOCK, t++) {
            if (t < from || t >= to) continue;
            if (packed != col) pack_columns(own.panels, b, col);
            packed = col;
            compute_block(own.block, block_at(a, row, 0), a.stride, own.panels, a.cols, row == col);
            if (row == col) mirror_diagonal(own.block);
            sink.take(sink.context, sink.factor, own.block, row, col);
        }
#pragma omp barrier
}

/* ---- storing blocks ---- */

void KERNEL(put_block)(act *out, int64_t stride, const float *block, float factor) {
    for (int r = 0; r < BLOCK; r++)
        for (int c = 0; c < BLOCK; c += LANES)
            act_put(out + r * stride + c, lanes_all(factor) * lanes_get(block + r * BLOCK + c, LANES), LANES);
}

static inline void get_transposed(lanes x[LANES], const float *block, int row, int col) {
    for (int i = 0; i < LANES; i++) x[i] = lanes_get(block + (col + i) * BLOCK + row, LANES);
    transpose_lanes(x);
}

void KERNEL(put_block_transposed)(act *out, int64_t stride, const float *block, float factor) {
    for (int r = 0; r < BLOCK; r += LANES)
        for (int c = 0; c < BLOCK; c += LANES) {
            lanes x[LANES];
            get_transposed(x, block, r, c);
            for (int i = 0; i < LANES; i++) act_put(out + (r + i) * stride + c, lanes_all(factor) * x[i], LANES);
        }
}

void KERNEL(transpose_block)(float *out, const float *block) {
    for (int r = 0; r < BLOCK; r += LANES)
        for (int c = 0; c < BLOCK; c += LANES) {
            lanes x[LANES];
            get_transposed(x, block, r, c);
            for (int i = 0; i < LANES; i++) lanes_put(out + (r + i) * BLOCK + c, x[i], LANES);
        }
}
