/* Causal attention, backward (FlashAttention's, Dao 2022). With P = 2^(s·log₂e/√head_dim − lse·log₂e) recomputed by tiles and
 * D = Σ dy ⊙ y for each query:
 *     dV = Pᵀ dY    dP = dY Vᵀ    dS = P ⊙ (dP − D)    dQ = dS K / √head_dim    dK = dSᵀ Q / √head_dim
 *
 * Everything is computed transposed, keys in rows and queries across a vector: lse and D then are vectors too, Pᵀ and dSᵀ
 * lie as dV and dK want them, and dSᵀ packed is the right side of dQᵀ = Kᵀ dSᵀ. One thread does all heads that share a
 * kv head of a sequence, one after the other, so every sum has one order; there is work for batch · kv_heads threads. */
#include "kernel/cpu/isa/attention.h"

#include "kernel/cpu/isa/block_product.h"
#include "kernel/cpu/isa/scratch.h"
#include "kernel/cpu/isa/transpose.h"
#include <math.h>

enum { KEY_BLOCK = 16 * TILE_ROWS, QUERY_BLOCK = 64 }; /* whole tiles; whole panels */

/* One thread's memory. T queries are padded to `columns` (whole query blocks), T keys to `rows` (whole key blocks). */
typedef struct backward {
    const attention_shape *shape;
    int64_t rows, columns, width; /* width: head_dim rounded up to LANES */
    float scale;                  /* log₂e / √head_dim */
    /* of a kv head */
    act *k, *v;       /* [rows, head_dim] */
    act *k_transpose; /* [head_dim, rows] */
    float *dk, *dv;   /* [rows, width] */
    /* of a head */
    act *q, *dy;                     /* panels: depth = queries, columns = head_dim */
    act *q_transpose, *dy_transpose; /* panels: depth = head_dim, columns = queries */
    float *dq_transpose;             /* [columns / PANEL, head_dim, PANEL] */
    float *lse, *delta;              /* [columns]: lse · log₂e, D */
    /* of a sequence */
    int32_t *first;            /* [columns] */
    int32_t *lowest, *highest; /* [columns / QUERY_BLOCK]: of first */
    /* of a tile (TILE_ROWS keys) or a block (KEY_BLOCK keys), and QUERY_BLOCK queries */
    float *s, *dp;  /* [TILE_ROWS, QUERY_BLOCK] */
    act *p, *ds;    /* [TILE_ROWS, QUERY_BLOCK] */
    act *ds_panels; /* [QUERY_BLOCK / PANEL][KEY_BLOCK / STEP][PANEL][STEP] */
} backward;

/* Place the arrays from `at` on; returns where they end. */
static uintptr_t lay_out(backward *b, uintptr_t at) {
    size_t d = (size_t)b->shape->head_dim, panels = (size_t)round_up(b->shape->head_dim, PANEL);
    size_t rows = (size_t)b->rows, columns = (size_t)b->columns, tile = TILE_ROWS * QUERY_BLOCK;
    b->k = scratch_take(&at, rows * d * sizeof(act));
    b->v = scratch_take(&at, rows * d * sizeof(act));
    b->k_transpose = scratch_take(&at, rows * d * sizeof(act));
    b->dk = scratch_take(&at, rows * (size_t)b->width * sizeof(float));
    b->dv = scratch_take(&at, rows * (size_t)b->width * sizeof(float));
    b->q = scratch_take(&at, columns * panels * sizeof(act));
    b->dy = scratch_take(&at, columns * panels * sizeof(act));
    b->q_transpose = scratch_take(&at, columns * d * sizeof(act));
    b->dy_transpose = scratch_take(&at, columns * d * sizeof(act));
    b->dq_transpose = scratch_take(&at, columns * d * sizeof(float));
    b->lse = scratch_take(&at, columns * sizeof(float));
    b->delta = scratch_take(&at, columns * sizeof(float));
    b->first = scratch_take(&at, columns * sizeof(int32_t));
    b->lowest = scratch_take(&at, columns / QUERY_BLOCK * sizeof(int32_t));
    b->highest = scratch_take(&at, columns / QUERY_BLOCK * sizeof(int32_t));
    b->s = scratch_take(&at, tile * sizeof(float));
    b->dp = scratch_take(&at, tile * sizeof(float));
    b->p = scratch_take(&at, tile * sizeof(act));
    b->ds = scratch_take(&at, tile * sizeof(act));
    b->ds_panels = scratch_take(&at, KEY_BLOCK * QUERY_BLOCK * sizeof(act));
    return at;
}

static void load_first(backward *b, const int32_t *first) {
    int64_t T = b->shape->queries;
    for (int64_t t = 0; t < b->columns; t++) b->first[t] = first ? first[least(t, T - 1)] : 0;
    for (int64_t block = 0; block < b->columns / QUERY_BLOCK; block++) {
        const int32_t *own = b->first + block * QUERY_BLOCK;
        int32_t low = own[0], high = own[0];
        for (int i = 1; i < QUERY_BLOCK; i++) {
            low = own[i] < low ? own[i] : low;
            high = own[i] > high ? own[i] : high;
        }
        b->lowest[block] = low;
        b->highest[block] = high;
    }
}

static void load_rows(act *out, const act *x, int64_t stride, int64_t count, int64_t padded_count, int64_t d) {
    for (int64_t t = 0; t < count; t++) memcpy(out + t * d, x + t * stride, d * sizeof(act));
    memset(out + count * d, 0, (size_t)((padded_count - count) * d) * sizeof(act));
}

/* The STEP elements of each word into rows of their own, `stride` elements apart. */
static inline void put_step(act *out, int64_t stride, lanes words) {
#ifdef ACT_BF16
    __m512i pairs = _mm512_castps_si512(words);
    _mm256_storeu_si256((__m256i *)out, _mm512_cvtepi32_epi16(pairs));
    _mm256_storeu_si256((__m256i *)(out + stride), _mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16)));
#else
    (void)stride;
    lanes_put(out, words, LANES);
#endif
}

/* out[depth i][count] = element i of the rows of x[count, depth]; count is a multiple of LANES. */
static void load_transposed(act *out, const act *x, int64_t count, int64_t depth) {
    for (int64_t t = 0; t < count; t += LANES)
        for (int64_t i = 0; i < depth; i += LANES * STEP) {
            lanes block[LANES];
            int64_t words = least((depth - i) / STEP, LANES);
            for (int r = 0; r < LANES; r++) block[r] = lanes_get((const float *)(x + (t + r) * depth + i), words);
            transpose_lanes(block);
            for (int w = 0; w < words; w++) put_step(out + (i + w * STEP) * count + t, count, block[w]);
        }
}

static void load_kv_head(backward *b, const act *k, const act *v) {
    int64_t T = b->shape->keys, d = b->shape->head_dim;
    load_rows(b->k, k, b->shape->kv_stride, T, b->rows, d);
    load_rows(b->v, v, b->shape->kv_stride, T, b->rows, d);
    load_transposed(b->k_transpose, b->k, b->rows, d);
    memset(b->dk, 0, (size_t)(b->rows * b->width) * sizeof(float));
    memset(b->dv, 0, (size_t)(b->rows * b->width) * sizeof(float));
}

static void load_head(backward *b, const act *q, const act *dy, const act *y, const float *lse) {
    int64_t T = b->shape->queries, d = b->shape->head_dim, stride = b->shape->q_stride;
    for (int64_t t = 0; t < b->columns; t += PANEL) {
        int64_t count = most(0, least(T - t, PANEL));
        KERNEL(pack_transposed)(b->q_transpose + t * d, q + t * stride, stride, count, d);
        KERNEL(pack_transposed)(b->dy_transpose + t * d, dy + t * stride, stride, count, d);
    }
    KERNEL(pack_rows)(b->q, b->columns * PANEL, q, stride, T, b->columns, d);
    KERNEL(pack_rows)(b->dy, b->columns * PANEL, dy, stride, T, b->columns, d);
    for (int64_t t = 0; t < b->columns; t++) { /* queries beyond the last: P = 2^−∞ = 0 */
        b->lse[t] = t < T ? lse[t] * LOG2_E : INFINITY;
        b->delta[t] = t < T ? act_dot(dy + t * stride, y + t * stride, d) : 0;
    }
    memset(b->dq_transpose, 0, (size_t)(b->columns * d) * sizeof(float));
}

/* Two rows of dSᵀ, one vector wide: into their rows and, STEP elements of the depth side by side, into the panel. */
static inline void put_two_rows(act *row, act *next, act *panel, lanes x, lanes y) {
#ifdef ACT_BF16
    const __m512i pairs = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(y, x);
    _mm256_storeu_si256((__m256i *)row, _mm512_castsi512_si256(both));
    _mm256_storeu_si256((__m256i *)next, _mm512_extracti64x4_epi64(both, 1));
    _mm512_storeu_si512(panel, _mm512_permutexvar_epi16(pairs, both));
#else
    lanes_put(row, x, LANES);
    lanes_put(next, y, LANES);
    lanes_put(panel, x, LANES);
    lanes_put(panel + PANEL, y, LANES);
#endif
}

typedef int32_t lanes_int __attribute__((vector_size(sizeof(lanes))));

/* x where the query sees the key, −∞ elsewhere; queries[LANES] from `query` on. */
static inline lanes hide_unseen(lanes x, const int32_t *first, int64_t query, int64_t key) {
    const int32_t count[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    lanes_int index, from;
    memcpy(&index, count, sizeof index);
    memcpy(&from, first + query, sizeof from);
    lanes_int seen = (index + (int32_t)query >= (int32_t)key) & (from <= (int32_t)key);
    return (lanes)((seen & (lanes_int)x) | (~seen & (lanes_int)lanes_all(-INFINITY)));
}

/* Pᵀ and dSᵀ of the keys from `key` on and the queries from `query` on, out of s and dp. Nothing of the columns before
 * `begin` is visible: there only the panel is written, with 0. */
static inline __attribute__((always_inline)) void probabilities(backward *b, act *panels, int64_t key, int64_t query,
                                                                int64_t begin, const bool masked) {
    lanes scale = lanes_all(b->scale);
    for (int64_t c = 0; c < QUERY_BLOCK; c += LANES) {
        lanes lse = lanes_get(b->lse + query + c, LANES), delta = lanes_get(b->delta + query + c, LANES);
        act *panel = panels + c / PANEL * KEY_BLOCK * PANEL + c % PANEL * STEP;
        for (int r = 0; r < TILE_ROWS; r += 2) {
            int64_t at = r * QUERY_BLOCK + c;
            lanes p[2], ds[2];
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                int64_t here = at + i * QUERY_BLOCK;
                lanes x = lanes_multiply_add(lanes_get(b->s + here, LANES), scale, -lse);
                if (masked) x = c < begin ? lanes_all(-INFINITY) : hide_unseen(x, b->first, query + c, key + r + i);
                p[i] = lanes_exp2(x);
                ds[i] = p[i] * (lanes_get(b->dp + here, LANES) - delta);
                if (masked && c < begin) ds[i] = lanes_all(0);
                act_put(b->p + here, p[i], LANES);
            }
            put_two_rows(b->ds + at, b->ds + at + QUERY_BLOCK, panel + r * PANEL, ds[0], ds[1]);
        }
    }
}

/* TILE_ROWS keys and QUERY_BLOCK queries: their part of dk and dv, and dSᵀ into its place in ds_panels. */
static void backward_tile(backward *b, int64_t key, int64_t query, act *panels) {
    int64_t d = b->shape->head_dim;
    int64_t unseen = most(0, key - query), begin = unseen / LANES * LANES; /* queries that precede every key */
    for (int64_t c = begin / PANEL * PANEL; c < QUERY_BLOCK; c += PANEL) {
        int64_t from = most(c, begin), panel = (query + c) * d + (from - c) * STEP;
        int vectors = (int)((c + PANEL - from) / LANES);
        KERNEL(tile_product)
        (b->s + from, QUERY_BLOCK, b->k + key * d, d, b->q_transpose + panel, d, TILE_ROWS, vectors, false);
        KERNEL(tile_product)
        (b->dp + from, QUERY_BLOCK, b->v + key * d, d, b->dy_transpose + panel, d, TILE_ROWS, vectors, false);
    }
    if (key + TILE_ROWS - 1 > query || key < b->highest[query / QUERY_BLOCK])
        probabilities(b, panels, key, query, begin, true);
    else
        probabilities(b, panels, key, query, 0, false);
    unseen = unseen / STEP * STEP;
    for (int64_t c = 0; c < b->width; c += PANEL) {
        int64_t at = key * b->width + c, panel = c * b->columns + (query + unseen) * PANEL;
        int vectors = (int)(least(b->width - c, PANEL) / LANES);
        KERNEL(tile_product)
        (b->dv + at, b->width, b->p + unseen, QUERY_BLOCK, b->dy + panel, QUERY_BLOCK - unseen, TILE_ROWS, vectors,
         true);
        KERNEL(tile_product)
        (b->dk + at, b->width, b->ds + unseen, QUERY_BLOCK, b->q + panel, QUERY_BLOCK - unseen, TILE_ROWS, vectors,
         true);
    }
}

/* The keys [key, key + KEY_BLOCK) and the queries [query, query + QUERY_BLOCK). */
static void backward_block(backward *b, int64_t key, int64_t query) {
    int64_t d = b->shape->head_dim;
    int64_t begin = most(0, b->lowest[query / QUERY_BLOCK] - key) / TILE_ROWS * TILE_ROWS;
    int64_t end = least(round_up(query + QUERY_BLOCK - key, TILE_ROWS), KEY_BLOCK);
    if (begin >= end) return;
    for (int64_t row = begin; row < end; row += TILE_ROWS)
        backward_tile(b, key + row, query, b->ds_panels + row * PANEL);
    for (int64_t c = 0; c < QUERY_BLOCK; c += PANEL)
        for (int64_t i = 0; i < d; i += TILE_ROWS) KERNEL(tile_product)
    (b->dq_transpose + (query + c) * d + i * PANEL, PANEL, b->k_transpose + i * b->rows + key + begin, b->rows,
     b->ds_panels + c * KEY_BLOCK + begin * PANEL, end - begin, (int)least(d - i, TILE_ROWS), PANEL / LANES, true);
}

static void backward_head(backward *b) {
    for (int64_t key = 0; key < b->rows; key += KEY_BLOCK)
        for (int64_t query = key / QUERY_BLOCK * QUERY_BLOCK; query < b->columns; query += QUERY_BLOCK)
            backward_block(b, key, query);
}

static void store_dq(const backward *b, act *dq) {
    int64_t d = b->shape->head_dim, T = b->shape->queries;
    lanes scale = lanes_all(b->scale * LN_2);
    for (int64_t t = 0; t < T; t += LANES)
        for (int64_t i = 0; i < d; i += LANES) {
            lanes block[LANES];
            const float *columns = b->dq_transpose + t / PANEL * PANEL * d + t % PANEL + i * PANEL;
            for (int r = 0; r < LANES; r++) block[r] = i + r < d ? lanes_get(columns + r * PANEL, LANES) : lanes_all(0);
            transpose_lanes(block);
            for (int r = 0; r < LANES && t + r < T; r++)
                act_put(dq + (t + r) * b->shape->q_stride + i, block[r] * scale, d - i);
        }
}

static void store_rows(const backward *b, act *out, const float *x, float scale) {
    int64_t d = b->shape->head_dim;
    for (int64_t t = 0; t < b->shape->keys; t++)
        for (int64_t i = 0; i < d; i += LANES)
            act_put(out + t * b->shape->kv_stride + i, lanes_get(x + t * b->width + i, LANES) * lanes_all(scale),
                    d - i);
}

void KERNEL(attention_backward)(void *dq, void *dk, void *dv, const void *dy, const void *y, const float *lse,
                                const void *q, const void *k, const void *v, const int32_t *first,
                                const attention_shape *shape) {
    const attention_shape *s = shape;
    int64_t T = s->queries, d = s->head_dim, group = s->heads / s->kv_heads;
    const backward sizes = {.shape = s,
                            .rows = round_up(T, KEY_BLOCK),
                            .columns = round_up(T, QUERY_BLOCK),
                            .width = round_up(d, LANES),
                            .scale = LOG2_E / sqrtf((float)d)};
    backward measured = sizes;
    size_t own = lay_out(&measured, 0);
    KERNEL(scratch_reserve)(own);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < s->batch * s->kv_heads; i++) {
        int64_t sequence = i / s->kv_heads, kv_head = i % s->kv_heads;
        int64_t kv = sequence * s->kv_batch_stride + kv_head * d;
        backward b = sizes;
        lay_out(&b, (uintptr_t)KERNEL(scratch)(SCRATCH_OWN, own));
        load_first(&b, first ? first + sequence * T : NULL);
        load_kv_head(&b, (const act *)k + kv, (const act *)v + kv);
        for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
            int64_t at = sequence * T * s->q_stride + head * d;
            load_head(&b, (const act *)q + at, (const act *)dy + at, (const act *)y + at,
                      lse + (sequence * s->heads + head) * T);
            backward_head(&b);
            store_dq(&b, (act *)dq + at);
        }
        store_rows(&b, (act *)dk + kv, b.dk, b.scale * LN_2);
        store_rows(&b, (act *)dv + kv, b.dv, 1);
    }
}
