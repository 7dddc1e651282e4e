#include "formats/storage.h"

#include "base/half.h"
#include <math.h>
#include <string.h>
#include <strings.h>

enum { BLOCK = 32, HALF = BLOCK / 2, SUPER = 256 };

static float half_at(const uint8_t *bytes) {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return half_to_float(half);
}

/* ---- floats ---- */

static inline void read_f32(const uint8_t *from, float *to) {
    memcpy(to, from, sizeof *to);
}
static inline void read_f16(const uint8_t *from, float *to) {
    *to = half_at(from);
}
static inline void read_bf16(const uint8_t *from, float *to) {
    uint16_t bits;
    memcpy(&bits, from, sizeof bits);
    *to = bfloat_to_float(bits);
}

/* ---- blocks of 32 ---- */

static inline void read_q8_0(const uint8_t *from, float *to) {
    const float d = half_at(from);
    const int8_t *q = (const int8_t *)from + 2;
    for (int i = 0; i < BLOCK; i++) to[i] = d * q[i];
}

/* d (q − zero) + m for the nibbles q and, where there are some, their fifth bits. */
static inline void read_nibbles(const uint8_t *nibbles, uint32_t fifth, float d, int zero, float m, float *to) {
    for (int i = 0; i < HALF; i++) {
        const int low = (nibbles[i] & 15) | (fifth >> i & 1) << 4, high = nibbles[i] >> 4 | (fifth >> (i + HALF) & 1)
                                                                                                << 4;
        to[i] = d * (float)(low - zero) + m;
        to[i + HALF] = d * (float)(high - zero) + m;
    }
}

static uint32_t number_at(const uint8_t *bytes) {
    uint32_t number;
    memcpy(&number, bytes, sizeof number);
    return number;
}

static inline void read_q4_0(const uint8_t *from, float *to) {
    read_nibbles(from + 2, 0, half_at(from), 8, 0, to);
}
static inline void read_q4_1(const uint8_t *from, float *to) {
    read_nibbles(from + 4, 0, half_at(from), 0, half_at(from + 2), to);
}
static inline void read_q5_0(const uint8_t *from, float *to) {
    read_nibbles(from + 6, number_at(from + 2), half_at(from), 16, 0, to);
}
static inline void read_q5_1(const uint8_t *from, float *to) {
    read_nibbles(from + 8, number_at(from + 4), half_at(from), 0, half_at(from + 2), to);
}

/* ---- blocks of 256 ---- */

/* The j-th of eight 6-bit scales and minima in 12 bytes. */
static void scale_and_minimum(const uint8_t *packed, int j, int *scale, int *minimum) {
    if (j < 4) {
        *scale = packed[j] & 63;
        *minimum = packed[j + 4] & 63;
    } else {
        *scale = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
        *minimum = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
    }
}

/* Each 32 bytes of nibbles: the low ones are 32 elements, the high ones the next 32. */
static inline void read_q4_k(const uint8_t *from, float *to) {
    const float d = half_at(from), m = half_at(from + 2);
    const uint8_t *packed = from + 4, *nibbles = from + 16;
    for (int j = 0; j < SUPER / BLOCK; j++) {
        int scale, minimum;
        scale_and_minimum(packed, j, &scale, &minimum);
        for (int i = 0; i < BLOCK; i++) {
            const uint8_t pair = nibbles[j / 2 * BLOCK + i];
            to[j * BLOCK + i] = d * (float)scale * (float)(j % 2 ? pair >> 4 : pair & 15) - m * (float)minimum;
        }
    }
}

/* Halves of 128 elements: 64 bytes of low nibbles, 32 of the two high bits, 8 scales of 16 elements each. */
static inline int q6_k_at(const uint8_t *from, int i) {
    const int half = i / 128, quarter = i % 128 / 32, at = i % 32;
    const uint8_t *low = from + 64 * half, *high = from + 128 + 32 * half;
    const int nibble = low[at + quarter % 2 * 32] >> quarter / 2 * 4 & 15;
    return (nibble | (high[at] >> 2 * quarter & 3) << 4) - 32;
}

static inline void read_q6_k(const uint8_t *from, float *to) {
    const float d = half_at(from + 208);
    const int8_t *scale = (const int8_t *)from + 192;
    for (int i = 0; i < SUPER; i++) to[i] = d * (float)scale[i / HALF] * (float)q6_k_at(from, i);
}

/* ---- blocks as codes ----
 * q · scale + offset is formed by the same operations as the values above, so it is the same to the bit. */

typedef struct codes {
    int8_t *q;
    float *scale, *offset; /* by group; offset: NULL where there is none */
} codes;

static inline void codes_q8_0(const uint8_t *from, codes to) {
    *to.scale = half_at(from);
    memcpy(to.q, from + 2, BLOCK);
}

static inline void codes_nibbles(const uint8_t *nibbles, uint32_t fifth, int zero, int8_t *q) {
    for (int i = 0; i < HALF; i++) {
        q[i] = (int8_t)(((nibbles[i] & 15) | (fifth >> i & 1) << 4) - (unsigned)zero);
        q[i + HALF] = (int8_t)((nibbles[i] >> 4 | (fifth >> (i + HALF) & 1) << 4) - (unsigned)zero);
    }
}

static inline void codes_q4_0(const uint8_t *from, codes to) {
    *to.scale = half_at(from);
    codes_nibbles(from + 2, 0, 8, to.q);
}
static inline void codes_q4_1(const uint8_t *from, codes to) {
    *to.scale = half_at(from);
    *to.offset = half_at(from + 2);
    codes_nibbles(from + 4, 0, 0, to.q);
}
static inline void codes_q5_0(const uint8_t *from, codes to) {
    *to.scale = half_at(from);
    codes_nibbles(from + 6, number_at(from + 2), 16, to.q);
}
static inline void codes_q5_1(const uint8_t *from, codes to) {
    *to.scale = half_at(from);
    *to.offset = half_at(from + 2);
    codes_nibbles(from + 8, number_at(from + 4), 0, to.q);
}

static inline void codes_q4_k(const uint8_t *from, codes to) {
    const float d = half_at(from), m = half_at(from + 2);
    const uint8_t *packed = from + 4, *nibbles = from + 16;
    for (int j = 0; j < SUPER / BLOCK; j++) {
        int scale, minimum;
        scale_and_minimum(packed, j, &scale, &minimum);
        to.scale[j] = d * (float)scale;
        to.offset[j] = -(m * (float)minimum);
        for (int i = 0; i < BLOCK; i++) {
            const uint8_t pair = nibbles[j / 2 * BLOCK + i];
            to.q[j * BLOCK + i] = (int8_t)(j % 2 ? pair >> 4 : pair & 15);
        }
    }
}

static inline void codes_q6_k(const uint8_t *from, codes to) {
    const float d = half_at(from + 208);
    for (int i = 0; i < SUPER / HALF; i++) to.scale[i] = d * (float)((const int8_t *)from)[192 + i];
    for (int i = 0; i < SUPER; i++) to.q[i] = (int8_t)q6_k_at(from, i);
}

/* ---- writing ---- */

static inline void write_f32(const float *from, uint8_t *to) {
    memcpy(to, from, sizeof *from);
}
static inline void write_f16(const float *from, uint8_t *to) {
    const uint16_t half = half_from_float(*from);
    memcpy(to, &half, sizeof half);
}
static inline void write_bf16(const float *from, uint8_t *to) {
    const uint16_t bits = bfloat_from_float(*from);
    memcpy(to, &bits, sizeof bits);
}

/* d = max |x| / 127, as ggml's reference has it. */
static inline void write_q8_0(const float *from, uint8_t *to) {
    float most = 0;
    for (int i = 0; i < BLOCK; i++) most = fmaxf(most, fabsf(from[i]));
    const float d = most / 127, inverse = d > 0 ? 1 / d : 0;
    const uint16_t half = half_from_float(d);
    memcpy(to, &half, sizeof half);
    for (int i = 0; i < BLOCK; i++) to[2 + i] = (uint8_t)(int8_t)roundf(from[i] * inverse);
}

/* ---- the table ---- */

/* Many blocks one after another; what is done with one is inlined. */
#define ALL(one, block, bytes)                                                                                         \
    static void one##_all(const uint8_t *from, int64_t blocks, float *to) {                                            \
        for (int64_t i = 0; i < blocks; i++) one(from + i * (bytes), to + i * (block));                                \
    }
#define ALL_WRITTEN(one, block, bytes)                                                                                 \
    static void one##_all(const float *from, int64_t blocks, uint8_t *to) {                                            \
        for (int64_t i = 0; i < blocks; i++) one(from + i * (block), to + i * (bytes));                                \
    }
#define ALL_CODES(one, block, bytes, group)                                                                            \
    static void one##_all(const uint8_t *from, int64_t blocks, codes to) {                                             \
        for (int64_t i = 0; i < blocks; i++) {                                                                         \
            const int64_t at = i * ((block) / (group));                                                                \
            one(from + i * (bytes), (codes){to.q + i * (block), to.scale + at, to.offset ? to.offset + at : NULL});    \
        }                                                                                                              \
    }
ALL(read_f32, 1, 4)
ALL(read_f16, 1, 2)
ALL(read_bf16, 1, 2)
ALL(read_q8_0, BLOCK, 34)
ALL(read_q4_0, BLOCK, 18)
ALL(read_q4_1, BLOCK, 20)
ALL(read_q5_0, BLOCK, 22)
ALL(read_q5_1, BLOCK, 24)
ALL(read_q4_k, SUPER, 144)
ALL(read_q6_k, SUPER, 210)
ALL_CODES(codes_q8_0, BLOCK, 34, BLOCK)
ALL_CODES(codes_q4_0, BLOCK, 18, BLOCK)
ALL_CODES(codes_q4_1, BLOCK, 20, BLOCK)
ALL_CODES(codes_q5_0, BLOCK, 22, BLOCK)
ALL_CODES(codes_q5_1, BLOCK, 24, BLOCK)
ALL_CODES(codes_q4_k, SUPER, 144, BLOCK)
ALL_CODES(codes_q6_k, SUPER, 210, HALF)
ALL_WRITTEN(write_f32, 1, 4)
ALL_WRITTEN(write_f16, 1, 2)
ALL_WRITTEN(write_bf16, 1, 2)
ALL_WRITTEN(write_q8_0, BLOCK, 34)

static const struct row {
    const char *name;
    int block, bytes;
    void (*read)(const uint8_t *from, int64_t blocks, float *to);
    void (*write)(const float *from, int64_t blocks, uint8_t *to);
    void (*codes)(const uint8_t *from, int64_t blocks, codes to);
    int group; /* elements that share a scale; 0: no codes */
    bool has_offset;
} table[STORAGES] = {
    [STORAGE_F32] = {"F32", 1, 4, read_f32_all, write_f32_all, NULL, 0, false},
    [STORAGE_F16] = {"F16", 1, 2, read_f16_all, write_f16_all, NULL, 0, false},
    [STORAGE_BF16] = {"BF16", 1, 2, read_bf16_all, write_bf16_all, NULL, 0, false},
    [STORAGE_Q8_0] = {"Q8_0", BLOCK, 34, read_q8_0_all, write_q8_0_all, codes_q8_0_all, BLOCK, false},
    [STORAGE_Q4_0] = {"Q4_0", BLOCK, 18, read_q4_0_all, NULL, codes_q4_0_all, BLOCK, false},
    [STORAGE_Q4_1] = {"Q4_1", BLOCK, 20, read_q4_1_all, NULL, codes_q4_1_all, BLOCK, true},
    [STORAGE_Q5_0] = {"Q5_0", BLOCK, 22, read_q5_0_all, NULL, codes_q5_0_all, BLOCK, false},
    [STORAGE_Q5_1] = {"Q5_1", BLOCK, 24, read_q5_1_all, NULL, codes_q5_1_all, BLOCK, true},
    [STORAGE_Q4_K] = {"Q4_K", SUPER, 144, read_q4_k_all, NULL, codes_q4_k_all, BLOCK, true},
    [STORAGE_Q6_K] = {"Q6_K", SUPER, 210, read_q6_k_all, NULL, codes_q6_k_all, HALF, false},
};

const char *storage_name(storage s) {
    return table[s].name;
}
bool storage_find(const char *name, storage *s) {
    for (int i = 0; i < STORAGES; i++)
        if (strcasecmp(name, table[i].name) == 0) {
            *s = (storage)i;
            return true;
        }
    return false;
}
int64_t storage_block(storage s) {
    return table[s].block;
}
size_t storage_bytes(storage s, int64_t elements) {
    return (size_t)(elements / table[s].block) * (size_t)table[s].bytes;
}

void storage_read(storage s, const void *from, int64_t elements, float *to) {
    table[s].read(from, elements / table[s].block, to);
}

int64_t storage_group(storage s) {
    return table[s].group;
}
bool storage_has_offset(storage s) {
    return table[s].has_offset;
}
void storage_read_codes(storage s, const void *from, int64_t elements, int8_t *q, float *scale, float *offset) {
    table[s].codes(from, elements / table[s].block, (codes){q, scale, offset});
}

bool storage_can_write(storage s) {
    return table[s].write != NULL;
}
void storage_write(storage s, const float *from, int64_t elements, void *to) {
    table[s].write(from, elements / table[s].block, to);
}
