/* Rows of a cache of keys or values (cache_type and cache_table in kernel.h): how one is read where it lies. */
#ifndef MOEC_KERNEL_CPU_ISA_CACHE_ROWS_H
#define MOEC_KERNEL_CPU_ISA_CACHE_ROWS_H

#include "kernel/cpu/isa/lanes.h"

/* One head's numbers in the rows of a cache, and which of them are a sequence's. */
typedef struct cache_head {
    const char *numbers; /* of the cache's first row */
    const float *scale;  /* of int8, else NULL; the next row's lies a stride behind it, too */
    size_t stride;       /* bytes from row to row */
    cache_table table;
} cache_head;

static inline cache_head cache_head_at(const void *rows, cache_type type, cache_table table, int head, int heads,
                                       int head_dim) {
    const size_t stride = cache_row_bytes(type, ACT_DTYPE, heads, head_dim);
    const char *first = rows;
    return (cache_head){.numbers = first + (size_t)(head * head_dim) * cache_number_bytes(type, ACT_DTYPE),
                        .scale = type == CACHE_INT8 ? (const float *)(first + stride) - heads + head : NULL,
                        .stride = stride,
                        .table = table};
}

/* Rows of activations, one behind another. */
static inline cache_head cache_head_plain(const act *x, int64_t stride) {
    static const int32_t whole[] = {0};
    return (cache_head){.numbers = (const char *)x, .stride = (size_t)stride * sizeof *x, .table = {whole, INT64_MAX}};
}

/* The head whose first row is that of block i of the table. */
static inline cache_head cache_head_block(cache_head h, int64_t i) {
    const size_t away = (size_t)(h.table.blocks[i] * h.table.rows) * h.stride;
    h.numbers += away;
    if (h.scale) h.scale = (const float *)((const char *)h.scale + away);
    return h;
}

/* The rows of `count` tokens piece by piece: from a block on those that lie one behind another. Nothing is divided. */
typedef struct cache_piece {
    int64_t block, next; /* next: the first block behind the piece */
    int64_t first, rows; /* tokens; rows 0: there is none */
} cache_piece;
static inline cache_piece cache_piece_at(cache_table t, int64_t block, int64_t count) {
    const int64_t first = block * t.rows;
    int64_t next = block + 1;
    if (first >= count) return (cache_piece){0};
    while (next * t.rows < count && t.blocks[next] == t.blocks[next - 1] + 1) next++;
    return (cache_piece){block, next, first, (next * t.rows < count ? next * t.rows : count) - first};
}

static inline const char *cache_numbers(cache_head h, int64_t row) {
    return h.numbers + (size_t)row * h.stride;
}
static inline float cache_scale(cache_head h, int64_t row) {
    return *(const float *)((const char *)h.scale + (size_t)row * h.stride);
}

static inline lanes bf16_lanes(const uint16_t *p) {
#ifdef __AVX512F__
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
#else
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
#endif
}
static inline lanes int8_lanes(const int8_t *p) {
#ifdef __AVX512F__
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#else
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#endif
}

/* Numbers c … of a head, without their scale; `left` as in lanes.h. `type` is a constant where this is inlined. */
static inline __attribute__((always_inline)) lanes cache_get(const char *numbers, int64_t c, int64_t left,
                                                             cache_type type) {
    if (type == CACHE_ACT) return act_get((const act *)numbers + c, left);
    if (type == CACHE_BF16) {
        if (left >= LANES) return bf16_lanes((const uint16_t *)numbers + c);
        uint16_t some[LANES] = {0};
        if (left > 0) memcpy(some, (const uint16_t *)numbers + c, (size_t)left * sizeof *some);
        return bf16_lanes(some);
    }
    if (left >= LANES) return int8_lanes((const int8_t *)numbers + c);
    int8_t some[LANES] = {0};
    if (left > 0) memcpy(some, numbers + c, (size_t)left);
    return int8_lanes(some);
}

/* Σ q ⊙ numbers, in act_dot's order. */
static inline __attribute__((always_inline)) float cache_dot(const act *q, const char *numbers, int64_t count,
                                                             cache_type type) {
    lanes sum[4] = {lanes_all(0), lanes_all(0), lanes_all(0), lanes_all(0)};
    int64_t c = 0;
    for (; c + 4 * LANES <= count; c += 4 * LANES)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            sum[i] = lanes_multiply_add(act_get(q + c + i * LANES, LANES),
                                        cache_get(numbers, c + i * LANES, LANES, type), sum[i]);
    for (; c < count; c += LANES)
        sum[0] = lanes_multiply_add(act_get(q + c, count - c), cache_get(numbers, c, count - c, type), sum[0]);
    return lanes_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

void KERNEL(cache_put)(void *rows, cache_type type, const void *x, int64_t N, int heads, int head_dim);
/* A head of the tokens from `from` on as act: x [count, head_dim]. */
void KERNEL(cache_expand)(act *x, cache_head h, cache_type type, int64_t from, int64_t count, int64_t head_dim);

#endif
