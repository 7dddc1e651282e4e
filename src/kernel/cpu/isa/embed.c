/* Rows of a table by token id. */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/stream.h"
#include "kernel/cpu/packed.h"

static void expand_row(act *out, const quantized *q, int64_t row) {
    const int8_t *codes = q->q + row * q->cols;
    const float *scale = q->scale + row * quantized_groups(q);
    const float *input_scale = q->input_scale;
    for (int64_t c = 0; c < q->cols; c++)
        out[c] = act_store((float)codes[c] * scale[c / q->group] * (input_scale ? input_scale[c] : 1));
}

static void expand_packed(act *out, const packed_weight *w, int64_t row, int64_t cols) {
    float values[ROW_BLOCK];
    for (int64_t c = 0; c < cols; c += ROW_BLOCK) {
        const int64_t count = least(cols - c, ROW_BLOCK);
        packed_expand(w, row, c, count, values);
        for (int64_t i = 0; i < count; i++) out[c + i] = act_store(values[i]);
    }
}

static void embed(void *y, const weight *table, const int32_t *ids, int64_t N) {
    int64_t d = table->cols;
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        act *out = (act *)y + n * d;
        if (table->packed)
            expand_packed(out, table->packed, ids[n], d);
        else if (table->quantized)
            expand_row(out, table->quantized, ids[n]);
        else
            memcpy(out, (const act *)table->plain + ids[n] * d, d * sizeof(act));
    }
}

/* dtable[ids[n], c] += dy[n, c] for the channels from `from` to `to` */
static void embed_backward_channels(float *dtable, const act *dy, const int32_t *ids, int64_t N, int64_t d,
                                    int64_t from, int64_t to) {
    for (int64_t n = 0; n < N; n++) {
        float *row = dtable + ids[n] * d;
        const act *given = dy + n * d;
        for (int64_t c = from; c < to; c += LANES)
            lanes_put(row + c, lanes_get(row + c, to - c) + act_get(given + c, to - c), to - c);
    }
}

/* Two tokens may share a row of the table, so threads split the channels: every element has one owner, who adds in the
 * order of the tokens, whatever the number of threads. */
static void embed_backward(float *dtable, const void *dy, const int32_t *ids, int64_t N, int64_t d, int64_t V) {
    (void)V;
    int64_t vectors = (d + 15) / 16; /* 64 bytes of dtable: no two threads write to one cache line */
#pragma omp parallel if (N * d > PARALLEL_ELEMENTS)
    {
        int thread = omp_get_thread_num();
        int64_t from = chunk_start(vectors, thread) * 16, to = least(chunk_start(vectors, thread + 1) * 16, d);
        if (from < to) embed_backward_channels(dtable, dy, ids, N, d, from, to);
    }
}

void KERNEL(fill_embed)(kernels *table) {
    table->embed = embed;
    table->embed_backward = embed_backward;
}
