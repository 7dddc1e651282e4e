#include "tensor/trellis.h"

#include <stddef.h>

static const trellis trellises[] = {
    {.states = 4, .next = {{0, 2}, {2, 0}, {1, 3}, {3, 1}}, .quantizer = {0, 0, 1, 1}},
    {.states = 8,
     .next = {{0, 2}, {5, 7}, {1, 3}, {6, 4}, {2, 0}, {4, 6}, {3, 1}, {7, 5}},
     .quantizer = {0, 1, 0, 1, 0, 1, 0, 1}},
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
