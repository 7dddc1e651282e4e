/* Causal attention, forward: y = softmax(q kᵀ / √head_dim) v in blocks, with the running maximum and sum of FlashAttention
 * (Dao 2022; Milakov and Gimelshein 2018). A query block walks over the key blocks that it sees; only blocks at the
 * diagonal or at a document's start are masked. Powers of 2 take e's place: p = 2^(s·log₂e/√head_dim − top).
 *
 * Where queries < keys, `first` (or NULL) still has one entry a query, [batch, queries], and counts positions among the keys. */
#include "kernel/cpu/isa/attention.h"

#include "kernel/cpu/isa/block_product.h"
#include "kernel/cpu/isa/cache_rows.h"
#include "kernel/cpu/isa/scratch.h"
#include <math.h>

enum { QUERY_BLOCK = 96, KEY_BLOCK = 256 / sizeof(act) }; /* a block of k and one of v fill two thirds of 48 KiB */

/* Where a row's maximum grows by less than 2⁸ the old one serves on: y and lse are the same for any `top`, and sums of
 * p ≤ 2⁸ are far from overflow. Most blocks then need no rescaling. */
static const float SLACK = 8;

/* One head's keys and values, packed: keysᵀ [capacity / PANEL][head_dim / STEP][PANEL][STEP] and
 * values [⌈head_dim / PANEL⌉][capacity / STEP][PANEL][STEP]; capacity is keys rounded up to KEY_BLOCK. */
typedef struct packed_cache {
    act *keys, *values;
    int64_t capacity;
} packed_cache;

/* A query block of one head on its way over the keys. */
typedef struct query_block {
    packed_cache cache;
    const act *q;         /* [rows, head_dim] */
    float *out;           /* [rows, out_stride]: Σ p v so far */
    const int32_t *first; /* [rows], or NULL */
    int64_t position;     /* of the first row */
    int64_t rows, head_dim, out_stride;
    float scale;                                      /* log₂e / √head_dim */
    float top[QUERY_BLOCK];                           /* each row's exponent base */
    _Alignas(64) float total[QUERY_BLOCK * LANES];    /* each row's Σ p, one sum a lane */
    _Alignas(64) float scores[TILE_ROWS * KEY_BLOCK]; /* of one tile of rows and one block of keys */
    _Alignas(64) act probabilities[TILE_ROWS * KEY_BLOCK];
} query_block;

static int64_t first_seen(const query_block *b, int64_t row) {
    return b->first ? b->first[row] : 0;
}

static int64_t first_seen_by_any(const query_block *b, int64_t row, int64_t rows) {
    int64_t lowest = first_seen(b, row);
    for (int64_t r = row + 1; r < row + rows; r++) lowest = least(lowest, first_seen(b, r));
    return lowest;
}

static bool any_above(lanes x, float bound) {
#ifdef __AVX512F__
    return _mm512_cmp_ps_mask(x, lanes_all(bound), _CMP_GT_OQ) != 0;
#else
    return _mm256_movemask_ps(_mm256_cmp_ps(x, lanes_all(bound), _CMP_GT_OQ)) != 0;
#endif
}

static __attribute__((noinline)) void raise_top(query_block *b, int64_t row, float top) {
    float old = b->top[row], *total = b->total + row * LANES, *out = b->out + row * b->out_stride;
    b->top[row] = top;
    if (lanes_sum(lanes_get(total, LANES)) == 0) return; /* the first block that the row sees: out is 0 */
    lanes factor = lanes_all(exp2f(old - top));
    lanes_put(total, lanes_get(total, LANES) * factor, LANES);
    for (int64_t c = 0; c < b->out_stride; c += LANES) lanes_put(out + c, lanes_get(out + c, LANES) * factor, LANES);
}

/* Columns [begin, end) of a row's scores become probabilities. */
static inline __attribute__((always_inline)) void
softmax_columns(query_block *b, act *probabilities, const float *scores, int64_t row, int64_t begin, int64_t end) {
    lanes largest = lanes_all(-INFINITY), scale = lanes_all(b->scale);
#pragma GCC unroll 8
    for (int64_t c = begin; c < end; c += LANES) largest = lanes_max(largest, lanes_get(scores + c, LANES));
    if (any_above(largest * scale, b->top[row] + SLACK)) raise_top(b, row, lanes_largest(largest) * b->scale);
    lanes base = lanes_all(-b->top[row]), sum = lanes_get(b->total + row * LANES, LANES);
#pragma GCC unroll 8
    for (int64_t c = begin; c < end; c += LANES) {
        lanes p = lanes_exp2(lanes_multiply_add(lanes_get(scores + c, LANES), scale, base));
        sum = lanes_multiply_add(p, lanes_all(1),
                                 sum); /* one after another: + may be reordered where the bounds are known */
        act_put(probabilities + c, p, LANES);
    }
    lanes_put(b->total + row * LANES, sum, LANES);
}

/* The same, where only the columns in [low, high] are seen. */
static void softmax_row(query_block *b, act *probabilities, float *scores, int64_t row, int64_t begin, int64_t end,
                        int64_t low, int64_t high) {
    for (int64_t c = begin; c < least(low, end); c++) scores[c] = -INFINITY;
    for (int64_t c = most(high + 1, begin); c < end; c++) scores[c] = -INFINITY;
    if (begin == 0 && end == KEY_BLOCK)
        softmax_columns(b, probabilities, scores, row, 0, KEY_BLOCK);
    else
        softmax_columns(b, probabilities, scores, row, begin, end);
}

/* Up to TILE_ROWS queries look at the keys [start, start + KEY_BLOCK). */
static void attend_tile(query_block *b, int64_t row, int rows, int64_t start) {
    int64_t low = first_seen_by_any(b, row, rows) - start, high = b->position + row + rows - 1 - start;
    int64_t begin = low > 0 ? low / PANEL * PANEL : 0, end = least(round_up(high + 1, LANES), KEY_BLOCK);
    if (begin >= end) return;
    for (int64_t c = begin; c < end; c += PANEL) KERNEL(tile_product)
    (b->scores + c, KEY_BLOCK, b->q + row * b->head_dim, b->head_dim, b->cache.keys + (start + c) * b->head_dim,
     b->head_dim, rows, (int)(least(end - c, PANEL) / LANES), false);
    for (int r = 0; r < rows; r++)
        softmax_row(b, b->probabilities + r * KEY_BLOCK, b->scores + r * KEY_BLOCK, row + r, begin, end,
                    first_seen(b, row + r) - start, b->position + row + r - start);
    for (int64_t c = 0; c < b->out_stride; c += PANEL) KERNEL(tile_product)
    (b->out + row * b->out_stride + c, b->out_stride, b->probabilities + begin, KEY_BLOCK,
     b->cache.values + c * b->cache.capacity + (start + begin) * PANEL, end - begin, rows,
     (int)(least(b->out_stride - c, PANEL) / LANES), true);
}

static void attend(query_block *b) {
    for (int64_t r = 0; r < b->rows; r++) b->top[r] = -1e30f; /* not −∞: ∞ − ∞ is no number */
    memset(b->total, 0, sizeof b->total);
    memset(b->out, 0, (size_t)(b->rows * b->out_stride) * sizeof(float));
    int64_t begin = first_seen_by_any(b, 0, b->rows) / KEY_BLOCK * KEY_BLOCK, end = b->position + b->rows;
    for (int64_t start = begin; start < end; start += KEY_BLOCK)
        for (int64_t row = 0; row < b->rows; row += TILE_ROWS)
            attend_tile(b, row, (int)least(b->rows - row, TILE_ROWS), start);
}

static void put_results(const query_block *b, act *y, int64_t stride, float *lse) {
    for (int64_t r = 0; r < b->rows; r++) {
        float total = lanes_sum(lanes_get(b->total + r * LANES, LANES));
        lanes factor = lanes_all(1 / total);
        for (int64_t c = 0; c < b->head_dim; c += LANES)
            act_put(y + r * stride + c, lanes_get(b->out + r * b->out_stride + c, LANES) * factor, b->head_dim - c);
        if (lse) lse[r] = b->top[r] * LN_2 + logf(total);
    }
}

/* The packed cache of kv head `index` = sequence · kv_heads + head, in the memory that all threads share. */
static packed_cache cache_at(void *memory, int64_t index, const attention_shape *s) {
    int64_t capacity = round_up(s->keys, KEY_BLOCK), columns = round_up(s->head_dim, PANEL);
    act *keys = (act *)memory + index * capacity * (s->head_dim + columns);
    return (packed_cache){keys, keys + capacity * s->head_dim, capacity};
}

typedef struct attention_call {
    act *y;
    float *lse;
    const act *q;
    const void *k, *v;
    cache_type type;
    const attention_span *span; /* whose table k and v are read through; NULL: they are rows of all sequences */
    const int32_t *first;
    const attention_shape *shape;
} attention_call;

/* k or v as kv head `index` = sequence · kv_heads + head sees it. */
static cache_head head_of(const attention_call *call, const void *rows, int64_t index) {
    const attention_shape *s = call->shape;
    const int64_t head = index % s->kv_heads;
    if (call->span) return cache_head_at(rows, call->type, call->span->table, (int)head, s->kv_heads, s->head_dim);
    return cache_head_plain((const act *)rows + index / s->kv_heads * s->kv_batch_stride + head * s->head_dim,
                            s->kv_stride);
}

/* Rows of a head as act, where they lie if they do so one behind another, else in `room`. */
static const act *rows_of(cache_head h, cache_type type, int64_t start, int64_t count, int64_t d, act *room,
                          int64_t *stride) {
    if (type == CACHE_ACT && cache_table_run(h.table, start, count) == count) {
        *stride = (int64_t)(h.stride / sizeof(act));
        return (const act *)cache_numbers(h, cache_table_row(h.table, start));
    }
    *stride = d;
    KERNEL(cache_expand)(room, h, type, start, count, d);
    return room;
}

static size_t room_bytes(const attention_shape *s) {
    return KEY_BLOCK * s->head_dim * sizeof(act);
}

static void pack_block(packed_cache cache, const attention_call *call, int64_t index, int64_t start) {
    const int64_t d = call->shape->head_dim, count = least(call->shape->keys - start, KEY_BLOCK);
    act *room = KERNEL(scratch)(SCRATCH_OWN, room_bytes(call->shape));
    int64_t stride;
    const act *k = rows_of(head_of(call, call->k, index), call->type, start, count, d, room, &stride);
    for (int64_t c = 0; c < KEY_BLOCK; c += PANEL) KERNEL(pack_transposed)
    (cache.keys + (start + c) * d, k + c * stride, stride, most(0, least(count - c, PANEL)), d);
    const act *v = rows_of(head_of(call, call->v, index), call->type, start, count, d, room, &stride);
    KERNEL(pack_rows)(cache.values + start * PANEL, cache.capacity * PANEL, v, stride, count, KEY_BLOCK, d);
}

static size_t query_bytes(const attention_shape *s) {
    return QUERY_BLOCK * (s->head_dim * sizeof(act) + round_up(s->head_dim, LANES) * sizeof(float)) + 64;
}

/* The queries from `start` on, by every head that reads this cache. */
static void attend_group(const attention_call *call, packed_cache cache, int64_t sequence, int kv_head, int64_t start) {
    const attention_shape *s = call->shape;
    int64_t d = s->head_dim, columns = round_up(d, LANES), row = sequence * s->queries + start;
    act *q = KERNEL(scratch)(SCRATCH_OWN, query_bytes(s));
    query_block b = {.cache = cache,
                     .q = q,
                     .out = (float *)(q + round_up(QUERY_BLOCK * d, 64)),
                     .first = call->first ? call->first + row : NULL,
                     .position = s->keys - s->queries + start,
                     .rows = least(s->queries - start, QUERY_BLOCK),
                     .head_dim = d,
                     .out_stride = columns,
                     .scale = LOG2_E / sqrtf((float)d)};
    int group = s->heads / s->kv_heads;
    for (int head = kv_head * group; head < (kv_head + 1) * group; head++) {
        int64_t at = row * s->q_stride + head * d;
        for (int64_t r = 0; r < b.rows; r++) memcpy(q + r * d, call->q + at + r * s->q_stride, d * sizeof(act));
        attend(&b);
        put_results(&b, call->y + at, s->q_stride,
                    call->lse ? call->lse + (sequence * s->heads + head) * s->queries + start : NULL);
    }
}

static void attend_all(const attention_call *call) {
    const attention_shape *shape = call->shape;
    int64_t caches = shape->batch * shape->kv_heads, d = shape->head_dim;
    int64_t key_blocks = (shape->keys + KEY_BLOCK - 1) / KEY_BLOCK;
    int64_t query_blocks = (shape->queries + QUERY_BLOCK - 1) / QUERY_BLOCK;
    size_t elements = (size_t)(caches * key_blocks * KEY_BLOCK * (d + round_up(d, PANEL)));
    KERNEL(scratch_reserve)((size_t)most((int64_t)query_bytes(shape), (int64_t)room_bytes(shape)));
    void *memory = KERNEL(scratch)(SCRATCH_SHARED, elements * sizeof(act));
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < caches * key_blocks; i++)
            pack_block(cache_at(memory, i / key_blocks, shape), call, i / key_blocks, i % key_blocks * KEY_BLOCK);
            /* Every task writes rows of its own, so it does not matter who takes it; the longest ones of a sequence first. */
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < caches * query_blocks; i++) {
            int64_t cache = i / query_blocks, block = query_blocks - 1 - i % query_blocks;
            attend_group(call, cache_at(memory, cache, shape), cache / shape->kv_heads, (int)(cache % shape->kv_heads),
                         block * QUERY_BLOCK);
        }
    }
}

void KERNEL(attention)(void *y, float *lse, const void *q, const void *k, const void *v, const int32_t *first,
                       const attention_shape *shape) {
    const attention_call call = {
        .y = y, .lse = lse, .q = q, .k = k, .v = v, .type = CACHE_ACT, .first = first, .shape = shape};
    if (shape->queries <= FEW_QUERIES)
        KERNEL(attention_few)(y, lse, q, k, v, first, shape);
    else
        attend_all(&call);
}

void KERNEL(attention_table)(void *y, const void *q, const void *k, const void *v, cache_type type,
                             const attention_span *span, const attention_shape *shape) {
    attention_shape one = *shape;
    one.batch = 1;
    one.queries = span->queries;
    one.keys = span->keys;
    const int64_t at = span->row * shape->q_stride;
    const attention_call call = {
        .y = (act *)y + at, .q = (const act *)q + at, .k = k, .v = v, .type = type, .span = span, .shape = &one};
    attend_all(&call);
}

void KERNEL(fill_attention)(kernels *table) {
    table->attention = KERNEL(attention);
    table->attention_spans = KERNEL(attention_spans);
    table->cache_put = KERNEL(cache_put);
    table->attention_backward = KERNEL(attention_backward);
    table->xsa = KERNEL(xsa);
    table->xsa_backward = KERNEL(xsa_backward);
    table->head_rotate = KERNEL(head_rotate);
    table->head_rotate_backward = KERNEL(head_rotate_backward);
}
