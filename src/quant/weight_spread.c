#include "quant/weight_spread.h"

#include "base/memory.h"
#include <stdlib.h>

void weight_spread_start(weight_spread *s, int64_t cols, uint32_t mean) {
    *s = (weight_spread){.start = mean, .column = xmalloc((size_t)cols * sizeof(uint32_t))};
    for (int64_t c = 0; c < cols; c++) s->column[c] = mean << 8;
}

void weight_spread_end(weight_spread *s) {
    free(s->column);
    *s = (weight_spread){0};
}

void weight_spread_row(weight_spread *s) {
    s->seen = s->expected = (uint64_t)SPREAD_ROW_WEIGHT * s->start;
    s->rate = 2 * 65536 / (2 * (uint32_t)s->rows + 5);
    if (s->rows < SPREAD_MOST_ROWS) s->rows++;
    weight_spread_refresh(s);
}
