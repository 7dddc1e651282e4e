/* Attention of a few queries on a long cache: generation. Each head reads its keys and values once, as they lie. */
#include "kernel/cpu/isa/attention.h"

#include "kernel/cpu/isa/cache_rows.h"
#include "kernel/cpu/isa/scratch.h"
#include <math.h>

/* One query of one head against `count` rows of k and v; returns log Σ exp. scores: [count], overwritten. Codes are multiplied as they
 * are, and their scales with the scores and the probabilities: once a row. */
static inline __attribute__((always_inline)) float attend_rows(act *y, const act *q, cache_head k, cache_head v,
                                                               cache_type type, int64_t count, int64_t head_dim,
                                                               float *scores) {
    const float scale = LOG2_E / sqrtf((float)head_dim);
    float top = -INFINITY, total = 0;
    for (cache_piece p = cache_piece_at(k.table, 0, count); p.rows > 0; p = cache_piece_at(k.table, p.next, count)) {
        const cache_head part = cache_head_block(k, p.block);
        float *to = scores + p.first;
        for (int64_t i = 0; i < p.rows; i++) {
            to[i] = cache_dot(q, cache_numbers(part, i), head_dim, type) * scale;
            if (type == CACHE_INT8) to[i] *= cache_scale(part, i);
        }
    }
    for (int64_t i = 0; i < count; i++) top = scores[i] > top ? scores[i] : top;
    for (int64_t i = 0; i < count; i += LANES) {
        lanes p = lanes_keep(lanes_exp2(lanes_get(scores + i, count - i) - lanes_all(top)), count - i);
        total += lanes_sum(p);
        lanes_put(scores + i, p, count - i);
    }
    for (int64_t c = 0; c < head_dim; c += 4 * LANES) {
        lanes sum[4] = {lanes_all(0), lanes_all(0), lanes_all(0), lanes_all(0)};
        for (cache_piece p = cache_piece_at(v.table, 0, count); p.rows > 0;
             p = cache_piece_at(v.table, p.next, count)) {
            const cache_head part = cache_head_block(v, p.block);
            const float *from = scores + p.first;
            for (int64_t i = 0; i < p.rows; i++) {
                const lanes weight = lanes_all(type == CACHE_INT8 ? from[i] * cache_scale(part, i) : from[i]);
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++)
                    sum[j] = lanes_multiply_add(
                        weight, cache_get(cache_numbers(part, i), c + j * LANES, head_dim - c - j * LANES, type),
                        sum[j]);
            }
        }
        for (int j = 0; j < 4; j++)
            if (c + j * LANES < head_dim)
                act_put(y + c + j * LANES, sum[j] * lanes_all(1 / total), head_dim - c - j * LANES);
    }
    return top * LN_2 + logf(total);
}

/* The same, compiled once for each type. */
static float attend_row(act *y, const act *q, cache_head k, cache_head v, cache_type type, int64_t count,
                        int64_t head_dim, float *scores) {
    switch (type) {
    case CACHE_BF16:
        return attend_rows(y, q, k, v, CACHE_BF16, count, head_dim, scores);
    case CACHE_INT8:
        return attend_rows(y, q, k, v, CACHE_INT8, count, head_dim, scores);
    default:
        return attend_rows(y, q, k, v, CACHE_ACT, count, head_dim, scores);
    }
}

void KERNEL(attention_few)(void *y, float *lse, const void *q, const void *k, const void *v, const int32_t *first,
                           const attention_shape *shape) {
    const attention_shape *s = shape;
    int64_t rows = s->batch * s->heads * s->queries, d = s->head_dim;
    KERNEL(scratch_reserve)((size_t)s->keys * sizeof(float));
#pragma omp parallel for schedule(static) if (rows * s->keys * d > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < rows; i++) { /* in the order of lse: sequence, head, query */
        int64_t query = i % s->queries, head = i / s->queries % s->heads, sequence = i / s->queries / s->heads;
        int64_t row = sequence * s->queries + query, seen = first ? first[row] : 0;
        int64_t at = row * s->q_stride + head * d;
        int64_t cache = sequence * s->kv_batch_stride + seen * s->kv_stride + head / (s->heads / s->kv_heads) * d;
        int64_t count = s->keys - s->queries + query + 1 - seen;
        float *scores = KERNEL(scratch)(SCRATCH_OWN, (size_t)s->keys * sizeof(float));
        const cache_head keys = cache_head_plain((const act *)k + cache, s->kv_stride);
        const cache_head values = cache_head_plain((const act *)v + cache, s->kv_stride);
        float sum = attend_row((act *)y + at, (const act *)q + at, keys, values, CACHE_ACT, count, d, scores);
        if (lse) lse[i] = sum;
    }
}

/* ---- sequences of different lengths ---- */

/* One of the few queries of a span. */
typedef struct span_query {
    int64_t row, keys; /* keys: that it sees */
    cache_table table;
} span_query;

/* The queries of all spans that have a few; returns how many. */
static int64_t few_queries(span_query *out, const attention_span *spans, int64_t count, int64_t *longest) {
    int64_t queries = 0;
    *longest = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; spans[i].queries <= FEW_QUERIES && j < spans[i].queries; j++) {
            const int64_t keys = spans[i].keys - spans[i].queries + 1 + j;
            out[queries++] = (span_query){spans[i].row + j, keys, spans[i].table};
            *longest = most(*longest, keys);
        }
    return queries;
}

/* One head a task, so that all threads have work however few sequences there are. */
static void attend_few(act *y, const act *q, const void *k, const void *v, cache_type type, const span_query *queries,
                       int64_t count, int64_t longest, const attention_shape *s) {
    const int64_t d = s->head_dim;
    KERNEL(scratch_reserve)((size_t)longest * sizeof(float));
#pragma omp parallel for schedule(dynamic) if (count * s->heads * longest * d > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < count * s->heads; i++) {
        const span_query *one = &queries[i / s->heads];
        const int64_t head = i % s->heads, at = one->row * s->q_stride + head * d;
        const int kv_head = (int)head / (s->heads / s->kv_heads);
        const cache_head keys = cache_head_at(k, type, one->table, kv_head, s->kv_heads, (int)d);
        const cache_head values = cache_head_at(v, type, one->table, kv_head, s->kv_heads, (int)d);
        float *scores = KERNEL(scratch)(SCRATCH_OWN, (size_t)longest * sizeof(float));
        attend_row(y + at, q + at, keys, values, type, one->keys, d, scores);
    }
}

void KERNEL(attention_spans)(void *y, const void *q, const void *k, const void *v, cache_type type,
                             const attention_span *spans, int64_t count, const attention_shape *shape) {
    int64_t longest;
    span_query *few = KERNEL(scratch)(SCRATCH_SHARED, (size_t)(count * FEW_QUERIES) * sizeof *few);
    const int64_t queries = few_queries(few, spans, count, &longest);
    if (queries > 0) attend_few(y, q, k, v, type, few, queries, longest, shape);
    for (int64_t i = 0; i < count; i++)
        if (spans[i].queries > FEW_QUERIES) KERNEL(attention_table)(y, q, k, v, type, &spans[i], shape);
}
