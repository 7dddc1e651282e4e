#include "tensor/trellis.h"

#include <stddef.h>

#define NEXT(s, h0, h1, parity) (((s) >> 1) ^ ((s)&1 ? (h0) >> 1 : 0) ^ ((parity) ? (h1) >> 1 : 0))
#define STATE(s, h0, h1)                                                                                               \
    { NEXT(s, h0, h1, 0), NEXT(s, h0, h1, 1) }
#define FOUR(s, h0, h1) STATE(s, h0, h1), STATE(s + 1, h0, h1), STATE(s + 2, h0, h1), STATE(s + 3, h0, h1)
#define SIXTEEN(s, h0, h1) FOUR(s, h0, h1), FOUR(s + 4, h0, h1), FOUR(s + 8, h0, h1), FOUR(s + 12, h0, h1)
#define EIGHT(n) n, n, n, n, n, n, n, n
#define QUANTIZERS                                                                                                     \
    { EIGHT(PAIR), EIGHT(PAIR), EIGHT(PAIR), EIGHT(PAIR) }
#define PAIR 0, 1

static const trellis trellises[] = {
    {4, {FOUR(0, 05, 02)}, QUANTIZERS},
    {8, {FOUR(0, 013, 04), FOUR(4, 013, 04)}, QUANTIZERS},
    {16, {SIXTEEN(0, 023, 04)}, QUANTIZERS},
    {32, {SIXTEEN(0, 045, 010), SIXTEEN(16, 045, 010)}, QUANTIZERS},
    {64, {SIXTEEN(0, 0103, 024), SIXTEEN(16, 0103, 024), SIXTEEN(32, 0103, 024), SIXTEEN(48, 0103, 024)}, QUANTIZERS},
};

const trellis *trellis_of(int states) {
    for (size_t i = 0; i < sizeof trellises / sizeof *trellises; i++)
        if (trellises[i].states == states) return &trellises[i];
    return NULL;
}

void trellis_points(const trellis *t, const int8_t *k, int64_t cols, int8_t *r) {
    int state = 0;
    for (int64_t c = 0; c < cols; c++) {
        const int code = k[c];
        r[c] = (int8_t)trellis_point(code, t->quantizer[state]);
        state = t->next[state][code & 1];
    }
}

bool trellis_codes(const trellis *t, const int8_t *r, int64_t cols, int8_t *k) {
    int state = 0;
    for (int64_t c = 0; c < cols; c++) {
        const int point = r[c], quantizer = t->quantizer[state], odd = point & 1;
        if (odd && !quantizer) return false;
        if (!odd && quantizer && point != 0) return false;
        const int code = (point + (odd ? (point > 0) - (point < 0) : 0)) / 2;
        k[c] = (int8_t)code;
        state = t->next[state][code & 1];
    }
    return true;
}
