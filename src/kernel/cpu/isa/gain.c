/* Learned gains: one for a whole array (hash embeddings), one a channel and one a chunk of channels (random up-projections). */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/routing.h"
#include "kernel/cpu/isa/rows.h"

static void scalar_add(void *y, const void *x, const void *z, const float *s, int64_t N, int64_t d) {
    lanes scale = lanes_all(*s);
    int64_t count = N * d;
#pragma omp parallel for schedule(static) if (count > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < count; i += LANES) {
        int64_t left = count - i;
        lanes sum = lanes_multiply_add(scale, act_get((const act *)z + i, left), act_get((const act *)x + i, left));
        act_put((act *)y + i, sum, left);
    }
}

static void scalar_add_backward(grad_out dz, float *ds, const void *dy, const void *z, const float *s, int64_t N,
                                int64_t d) {
    lanes scale = lanes_all(*s);
    float total = 0;
#pragma omp parallel if (N * d > PARALLEL_ELEMENTS)
    {
        float sum = 0;
        int thread = omp_get_thread_num();
        int64_t end = chunk_start(N, thread + 1);
        for (int64_t n = chunk_start(N, thread); n < end; n++) {
            const act *given = (const act *)dy + n * d;
            sum += act_dot(given, (const act *)z + n * d, d);
            for (int64_t c = 0; c < d; c += LANES) grad_put(dz, n * d + c, scale * act_get(given + c, d - c), d - c);
        }
        add_partials(&total, &sum, 1);
    }
    if (ds) *ds += total;
}

/* Where chunk e of h channels begins. */
static int64_t chunk_from(int64_t e, int64_t h, int64_t E) {
    return e * (h / E) + least(e, h % E);
}

static void chunk_gate(void *y, const void *u, const float *gain, const float *gates, int64_t N, int64_t h, int64_t E) {
#pragma omp parallel for schedule(static) if (N * h > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        for (int64_t e = 0; e < E; e++) {
            int64_t end = chunk_from(e + 1, h, E);
            lanes gate = lanes_all(gates ? gates[n * E + e] : 1);
            for (int64_t c = chunk_from(e, h, E); c < end; c += LANES) {
                lanes out = gate * act_get((const act *)u + n * h + c, end - c);
                if (gain) out *= lanes_get(gain + c, end - c);
                act_put((act *)y + n * h + c, out, end - c);
            }
        }
    }
}

/* Where a piece of a chunk lies: channels `from` … `from + count` of h, under column e of the gates. */
typedef struct piece {
    int64_t from, count, h, e, E;
    bool first; /* of its chunk: dgates is overwritten, else added to */
} piece;

static void chunk_piece_backward(grad_out du, float *dgain, float *dgates, const act *dy, const act *u,
                                 const float *gain, const float *gates, int64_t N, const piece *p) {
#pragma omp parallel if (N * p->count > PARALLEL_ELEMENTS)
    {
        float sums[ROW_BLOCK] = {0};
        int thread = omp_get_thread_num();
        int64_t end = chunk_start(N, thread + 1);
        for (int64_t n = chunk_start(N, thread); n < end; n++) {
            int64_t at = n * p->h + p->from, of_gate = n * p->E + p->e;
            lanes gate = lanes_all(gates ? gates[of_gate] : 1), dot = lanes_all(0);
            for (int64_t c = 0; c < p->count; c += LANES) {
                int64_t left = p->count - c;
                lanes given = act_get(dy + at + c, left), in = act_get(u + at + c, left);
                lanes scale = gain ? lanes_get(gain + p->from + c, left) : lanes_all(1);
                dot = lanes_multiply_add(given * scale, in, dot);
                lanes_put(sums + c, lanes_get(sums + c, left) + given * gate * in, left);
                grad_put(du, at + c, given * scale * gate, left);
            }
            if (dgates) dgates[of_gate] = lanes_sum(dot) + (p->first ? 0 : dgates[of_gate]);
        }
        if (dgain) add_partials(dgain + p->from, sums, p->count);
    }
}

static void chunk_gate_backward(grad_out du, float *dgain, float *dgates, const void *dy, const void *u,
                                const float *gain, const float *gates, int64_t N, int64_t h, int64_t E) {
    for (int64_t e = 0; e < E; e++) {
        int64_t start = chunk_from(e, h, E), end = chunk_from(e + 1, h, E);
        for (int64_t c = start; c < end; c += ROW_BLOCK) {
            piece p = {.from = c, .count = least(end - c, ROW_BLOCK), .h = h, .e = e, .E = E, .first = c == start};
            chunk_piece_backward(du, dgain, dgates, dy, u, gain, gates, N, &p);
        }
    }
}

void KERNEL(fill_gain)(kernels *table) {
    table->scalar_add = scalar_add;
    table->scalar_add_backward = scalar_add_backward;
    table->chunk_gate = chunk_gate;
    table->chunk_gate_backward = chunk_gate_backward;
}
