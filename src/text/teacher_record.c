/* One record: k ids of ⌈log₂ V⌉ bits, the first in the lowest bits of the first byte; k float16 log-probabilities; one of the
 * rest. A token that is not there has the logarithm −∞, whatever its id. */
#include "base/half.h"
#include "text/teacher_format.h"
#include <math.h>

static const float LARGEST_HALF = 65504; /* a token that is there never has −∞ */

static int id_bits(int vocab_size) {
    int bits = 1;
    while (1 << bits < vocab_size) bits++;
    return bits;
}

static int64_t id_bytes(int k, int vocab_size) {
    return ((int64_t)k * id_bits(vocab_size) + 7) / 8;
}

int64_t teacher_record_bytes(int k, int vocab_size) {
    return id_bytes(k, vocab_size) + 2 * (int64_t)(k + 1);
}

static uint16_t half_of(float log_prob) {
    return half_from_float(fmaxf(-LARGEST_HALF, fminf(log_prob, 0)));
}

void teacher_record_pack(uint8_t *record, const teacher_facts *f, const int32_t *ids, const float *log_probs,
                         float rest) {
    const int bits = id_bits(f->vocab_size);
    uint64_t held = 0;
    int held_bits = 0;
    for (int i = 0; i < f->k; i++) {
        held |= (uint64_t)(ids[i] < 0 ? 0 : ids[i]) << held_bits;
        for (held_bits += bits; held_bits >= 8; held_bits -= 8, held >>= 8) *record++ = (uint8_t)held;
    }
    if (held_bits > 0) *record++ = (uint8_t)held;
    for (int i = 0; i < f->k; i++, record += 2)
        little_put(record, ids[i] < 0 ? half_from_float(-INFINITY) : half_of(log_probs[i]), 2);
    little_put(record, isinf(rest) ? half_from_float(-INFINITY) : half_of(rest), 2);
}

static float log_of(const uint8_t *half) {
    return half_to_float((uint16_t)little_get(half, 2));
}

/* log(eᵃ + eᵇ) */
static float log_add(float a, float b) {
    const float most = fmaxf(a, b);
    return isinf(most) ? most : fminf(0, most + log1pf(expf(-fabsf(a - b))));
}

bool teacher_record_unpack(const uint8_t *record, const teacher_facts *f, int vocab_size, int32_t *ids,
                           float *log_probs, float *rest) {
    const int bits = id_bits(f->vocab_size);
    const uint8_t *log = record + id_bytes(f->k, f->vocab_size);
    uint64_t held = 0;
    int held_bits = 0, count = 0;
    *rest = log_of(log + 2 * f->k);
    bool good = *rest <= 0;
    for (int i = 0; i < f->k; i++, log += 2, held >>= bits, held_bits -= bits) {
        for (; held_bits < bits; held_bits += 8) held |= (uint64_t)*record++ << held_bits;
        const int32_t id = (int32_t)(held & ((UINT64_C(1) << bits) - 1));
        const float log_prob = log_of(log);
        good = good && log_prob <= 0 && id < f->vocab_size;
        if (isinf(log_prob)) continue;
        if (id >= vocab_size) {
            *rest = log_add(*rest, log_prob);
            continue;
        }
        ids[count] = id;
        log_probs[count++] = log_prob;
    }
    for (; count < f->k; count++) {
        ids[count] = -1;
        log_probs[count] = -INFINITY;
    }
    return good;
}
