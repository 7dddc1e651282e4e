/* Rows of tokens to their experts' groups and back. */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/routing.h"
#include "kernel/cpu/isa/rows.h"

static void gather(void *rows, const void *x, const int32_t *source, int k, const int32_t *count, int64_t d) {
    int64_t R = *count;
#pragma omp parallel for schedule(static) if (R * d > PARALLEL_ELEMENTS)
    for (int64_t r = 0; r < R; r++) {
        act *out = (act *)rows + r * d;
        if (source[r] < 0)
            memset(out, 0, d * sizeof(act));
        else
            memcpy(out, (const act *)x + source[r] / k * d, d * sizeof(act));
    }
}

/* out[n] (+)= Σ_j gates[j] · rows[slot[j]] over the k choices of one token; gates NULL: 1 */
static inline void sum_choices(grad_out out, int64_t n, const act *rows, const float *gates, const int32_t *slot, int k,
                               int64_t d) {
    for (int64_t c = 0; c < d; c += LANES) {
        lanes sum = lanes_all(0);
        for (int j = 0; j < k; j++) {
            lanes row = act_get(rows + slot[j] * d + c, d - c);
            if (gates) row *= lanes_all(gates[j]);
            sum += row;
        }
        grad_put(out, n * d + c, sum, d - c);
    }
}

static void sum_all_choices(grad_out out, const act *rows, const float *gates, const int32_t *slot, int k, int64_t N,
                            int64_t d) {
#pragma omp parallel for schedule(static) if (N * k * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        const float *own = gates ? gates + n * k : NULL;
        const int32_t *from = slot + n * k;
        int count = k; /* without those of nobody, which stand behind the others */
        while (count > 0 && from[count - 1] < 0) count--;
        if (count == 1)
            sum_choices(out, n, rows, own, from, 1, d); /* known counts: no inner loop */
        else if (count == 2)
            sum_choices(out, n, rows, own, from, 2, d);
        else
            sum_choices(out, n, rows, own, from, count, d);
    }
}

static void gather_backward(grad_out dx, const void *drows, const int32_t *slot, int k, int64_t N, int64_t d) {
    if (dx.data) sum_all_choices(dx, drows, NULL, slot, k, N, d);
}

static void combine(void *y, const void *rows, const float *gates, const int32_t *slot, int k, int64_t N, int64_t d) {
    sum_all_choices((grad_out){y, false}, rows, gates, slot, k, N, d);
}

static void combine_backward(void *drows, float *dgates, const void *dy, const void *rows, const float *gates,
                             const int32_t *slot, const int32_t *source, int k, int64_t N, const int32_t *count,
                             int64_t d) {
    int64_t R = *count;
#pragma omp parallel for schedule(static) if (R * d > PARALLEL_ELEMENTS)
    for (int64_t r = 0; r < R; r++)
        if (source[r] < 0) memset((act *)drows + r * d, 0, d * sizeof(act));
#pragma omp parallel for schedule(static) if (N * k * d > PARALLEL_ELEMENTS)
    for (int64_t pair = 0; pair < N * k; pair++) {
        const act *given = (const act *)dy + pair / k * d, *row = (const act *)rows + slot[pair] * d;
        act *out = (act *)drows + slot[pair] * d;
        lanes gate = lanes_all(gates[pair]);
        if (dgates) dgates[pair] = act_dot(given, row, d); /* before drows: it may be the same memory as rows */
        for (int64_t c = 0; c < d; c += LANES) act_put(out + c, gate * act_get(given + c, d - c), d - c);
    }
}

void KERNEL(fill_dispatch)(kernels *table) {
    table->gather = gather;
    table->gather_backward = gather_backward;
    table->combine = combine;
    table->combine_backward = combine_backward;
}
