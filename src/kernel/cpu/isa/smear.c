/* SmearGate: the first channels of a position take a share of the position before,
 * y_t = x_t + σ(w) ⊙ (x_{t−1} − x_t), within a document; the other channels pass. */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/lanes_math.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/stream.h"

/* Does row n, position t of its sequence, go on with the document of row n − 1? */
static bool continues(const int32_t *first, int64_t n, int64_t t) {
    return t > 0 && !(first && first[n] == t);
}

static void gates_of(float *gate, const float *w, int64_t count) {
    for (int64_t c = 0; c < count; c += LANES)
        lanes_put(gate + c, lanes_sigmoid(lanes_get(w + c, count - c)), count - c);
}

/* Channels `from` … `from + count` of all rows, the first `gated` of them with a gate. */
static void smear_block(act *y, const act *x, const float *w, const act *carry, const int32_t *first, int64_t B,
                        int64_t T, int64_t d, int64_t width, int64_t from, int64_t count, int64_t gated) {
    static const act nothing[ROW_BLOCK]; /* what was before a document */
    float gate[ROW_BLOCK];
    gates_of(gate, w + from, gated);
#pragma omp parallel for schedule(static) if (B * T * count > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < B * T; n++) {
        int64_t t = n % T;
        const act *now = x + n * d + from, *before = nothing;
        act *out = y + n * d + from;
        if (t == 0 && carry) before = carry + n / T * width + from;
        if (continues(first, n, t)) before = now - d;
        for (int64_t c = 0; c < gated; c += LANES) {
            lanes own = act_get(now + c, gated - c);
            lanes share = lanes_get(gate + c, gated - c);
            act_put(out + c, own + share * (act_get(before + c, gated - c) - own), gated - c);
        }
        memcpy(out + gated, now + gated, (count - gated) * sizeof(act));
    }
}

static void smear(void *y, const void *x, const float *w, const void *carry, const int32_t *first, int64_t B, int64_t T,
                  int64_t d, int64_t width) {
    for (int64_t c = 0; c < d; c += ROW_BLOCK) {
        int64_t count = least(d - c, ROW_BLOCK), gated = c < width ? least(width - c, count) : 0;
        smear_block(y, x, w, carry, first, B, T, d, width, c, count, gated);
    }
}

/* dx_t = (1 − σ) ⊙ dy_t + σ ⊙ dy_{t+1}, and dgate += Σ dy_t ⊙ (x_{t−1} − x_t) */
static void smear_backward_block(grad_out dx, float *dgate, const act *dy, const act *x, const float *gate,
                                 const int32_t *first, int64_t B, int64_t T, int64_t d, int64_t from, int64_t count,
                                 int64_t gated) {
    static const act nothing[ROW_BLOCK];
    int64_t N = B * T;
#pragma omp parallel if (N * count > PARALLEL_ELEMENTS)
    {
        float sums[ROW_BLOCK] = {0};
        int thread = omp_get_thread_num();
        int64_t end = chunk_start(N, thread + 1);
        for (int64_t n = chunk_start(N, thread); n < end; n++) {
            int64_t t = n % T, at = n * d + from;
            const act *before = continues(first, n, t) ? x + at - d : nothing;
            const act *after = t + 1 < T && continues(first, n + 1, t + 1) ? dy + at + d : nothing;
            for (int64_t c = 0; c < gated; c += LANES) {
                int64_t left = gated - c;
                lanes given = act_get(dy + at + c, left), share = lanes_get(gate + c, left);
                lanes step = act_get(before + c, left) - act_get(x + at + c, left);
                lanes_put(sums + c, lanes_get(sums + c, left) + given * step, left);
                grad_put(dx, at + c, given + share * (act_get(after + c, left) - given), left);
            }
            for (int64_t c = gated; c < count; c += LANES)
                grad_put(dx, at + c, act_get(dy + at + c, count - c), count - c);
        }
        add_partials(dgate, sums, gated);
    }
}

static void smear_backward(grad_out dx, float *dw, const void *dy, const void *x, const float *w, const int32_t *first,
                           int64_t B, int64_t T, int64_t d, int64_t width) {
    for (int64_t c = 0; c < d; c += ROW_BLOCK) {
        float gate[ROW_BLOCK], dgate[ROW_BLOCK] = {0};
        int64_t count = least(d - c, ROW_BLOCK), gated = c < width ? least(width - c, count) : 0;
        gates_of(gate, w + c, gated);
        smear_backward_block(dx, dgate, dy, x, gate, first, B, T, d, c, count, gated);
        for (int64_t i = 0; dw && i < gated; i++) dw[c + i] += gate[i] * (1 - gate[i]) * dgate[i];
    }
}

void KERNEL(fill_smear)(kernels *table) {
    table->smear = smear;
    table->smear_backward = smear_backward;
}
