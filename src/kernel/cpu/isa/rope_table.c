#include "kernel/cpu/isa/rope_table.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

enum { TABLES = 4 }; /* a model uses one or two pairs of (rope_dims, base) */

typedef struct rope_table {
    float *values;
    int64_t positions, half;
    float base;
} rope_table;

static rope_table tables[TABLES];
static int replaced_next;

static rope_table *find_table(int64_t half, float base) {
    for (int i = 0; i < TABLES; i++)
        if (tables[i].values && tables[i].half == half && tables[i].base == base) return &tables[i];
    rope_table *table = &tables[replaced_next];
    replaced_next = (replaced_next + 1) % TABLES;
    free(table->values);
    *table = (rope_table){.half = half, .base = base};
    return table;
}

/* Frequencies and angles are rounded to float32 like the record scripts' (1 / base ** (arange / dims), outer product):
 * at position 1000 another rounding moves an angle by 6·10⁻⁵. */
static void fill_positions(rope_table *table, int64_t from) {
    int64_t half = table->half;
    for (int64_t i = 0; i < half; i++) {
        float frequency = 1.0f / powf(table->base, (float)i / (float)half);
        for (int64_t position = from; position < table->positions; position++) {
            float angle = (float)position * frequency, *row = table->values + position * 2 * half;
            row[i] = (float)cos(angle);
            row[half + i] = (float)sin(angle);
        }
    }
}

const float *KERNEL(rope_table)(int64_t positions, int64_t half, float base) {
    rope_table *table = find_table(half, base);
    if (positions > table->positions || !table->values) {
        int64_t known = table->positions;
        table->positions = positions > 2 * known ? positions : 2 * known; /* generation asks for one more each time */
        table->values = xrealloc(table->values, (size_t)(table->positions * 2 * half) * sizeof(float) + 1);
        fill_positions(table, known);
    }
    return table->values;
}
