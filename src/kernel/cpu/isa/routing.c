/* Which expert gets which token: the choice and the grouping. router.c makes the scores, dispatch.c moves the rows. */
#include "kernel/cpu/isa/routing.h"
#include "kernel/cpu/isa/rows.h"

/* Insertion into a list that is sorted by falling score; a later expert has to be strictly better. The first k enter
 * whatever they score, so that even with NaNs every choice is an expert. */
static void top_k_row(int32_t *chosen, const float *scores, const float *bias, int64_t E, int k) {
    int count = 0;
    for (int64_t e = 0; e < E; e++) {
        float score = scores[e] + (bias ? bias[e] : 0);
        int place = count;
        for (; place > 0; place--) {
            int32_t rival = chosen[place - 1];
            if (!(score > scores[rival] + (bias ? bias[rival] : 0))) break;
            if (place < k) chosen[place] = rival;
        }
        if (place < k) chosen[place] = (int32_t)e;
        if (count < k) count++;
    }
}

static void top_k(int32_t *chosen, const float *scores, const float *bias, int64_t N, int64_t E, int k) {
#pragma omp parallel for schedule(static) if (N * E > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) top_k_row(chosen + n * k, scores + n * E, bias, E, k);
}

static void limit_choices(int32_t *chosen, const int32_t *most, int64_t N, int k) {
    for (int64_t n = 0; n < N; n++)
        for (int j = most[n]; j < k; j++) chosen[n * k + j] = -1;
}

/* A counting sort: within an expert the pairs keep their order; those of nobody (−1) have no row. */
static void group(int32_t *slot, int32_t *source, int32_t *counts, int32_t *start, const int32_t *chosen, int64_t N,
                  int k, int64_t E, int64_t align) {
    for (int64_t e = 0; e < E; e++) counts[e] = 0;
    for (int64_t pair = 0; pair < N * k; pair++)
        if (chosen[pair] >= 0) counts[chosen[pair]]++;
    start[0] = 0;
    for (int64_t e = 0; e < E; e++) start[e + 1] = (int32_t)(start[e] + (counts[e] + align - 1) / align * align);
    for (int64_t row = 0; row < start[E]; row++) source[row] = -1;
    for (int64_t e = 0; e < E; e++) counts[e] = 0; /* now: how many rows of the group are taken */
    for (int64_t pair = 0; pair < N * k; pair++) {
        int32_t expert = chosen[pair];
        slot[pair] = -1;
        if (expert < 0) continue;
        int32_t row = (int32_t)(start[expert] + counts[expert]++);
        slot[pair] = row;
        source[row] = (int32_t)pair;
    }
}

void KERNEL(fill_routing)(kernels *table) {
    KERNEL(fill_router)(table);
    KERNEL(fill_dispatch)(table);
    KERNEL(fill_label)(table);
    KERNEL(fill_gain)(table);
    KERNEL(fill_sigmoid_gate)(table);
    table->top_k = top_k;
    table->limit_choices = limit_choices;
    table->group = group;
}
