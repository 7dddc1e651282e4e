/* One matrix into an artifact's sections and its directory. */
#include "base/memory.h"
#include "store/artifact_format.h"
#include "store/weight_codec.h"
#include <stdlib.h>
#include <string.h>

void packed_add_entry(packed_tensors *out, const param *p, const tensor_entry *t) {
    byte_buffer *d = &out->directory;
    const size_t length = strlen(p->name);
    buffer_add_number(d, length, 2);
    buffer_add(d, p->name, length);
    buffer_add_number(d, (uint64_t)t->coding, 1);
    buffer_add_number(d, (uint64_t)t->bits, 1);
    buffer_add_number(d, (uint64_t)p->value.ndim, 1);
    buffer_add_number(d, (uint64_t)t->trellis, 1);
    buffer_add_number(d, t->input_scales, 1);
    buffer_add_number(d, (uint64_t)t->group, 4);
    buffer_add_number(d, t->twin >= 0 ? (uint64_t)(out->tensors - t->twin) : 0, 4);
    for (int i = 0; i < p->value.ndim; i++) buffer_add_number(d, (uint64_t)p->value.shape[i], 8);
    buffer_add_number(d, t->code_bytes, 8);
    out->tensors++;
}

/* ---- scales ---- */

/* twin: the run of the same scales of the tensor that this one is coded given. */
static status add_scales(packed_tensors *out, const float *scales, int64_t count, int kind, const scale_run *twin) {
    scale_run run = {out->scale_count, (size_t)count, kind, twin != NULL, twin ? twin->first : 0};
    out->scales = xrealloc(out->scales, (out->scale_count + run.count) * sizeof(uint16_t));
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &scales[i], sizeof bits);
        if (bits & UINT16_MAX)
            return fail("scale %lld: expected a bfloat16, found %.9g", (long long)i, (double)scales[i]);
        out->scales[out->scale_count++] = (uint16_t)(bits >> 16);
    }
    out->runs = xrealloc(out->runs, (out->run_count + 1) * sizeof *out->runs);
    out->runs[out->run_count++] = run;
    return STATUS_OK;
}

static status add_all_scales(packed_tensors *out, const quantized *q, bool has_twin) {
    const quantized *base = &out->base.q;
    const size_t twin = out->base.run;
    const scale_run rows = has_twin ? out->runs[twin] : (scale_run){0};
    const bool columns_too = has_twin && base->input_scale;
    const scale_run columns = columns_too ? out->runs[twin + 1] : (scale_run){0};
    TRY(add_scales(out, q->scale, q->rows * quantized_groups(q), SCALES_OF_ROWS, has_twin ? &rows : NULL));
    if (!q->input_scale) return STATUS_OK;
    return add_scales(out, q->input_scale, q->cols, SCALES_OF_COLUMNS, columns_too ? &columns : NULL);
}

/* ---- codes ---- */

/* Appends them; a reader takes at most MAX_PER_CODE_BYTE weights a byte, and zeros behind a stream change nothing. */
static void add_codes(packed_tensors *out, tensor_entry *t, const quantized *q, const uint8_t *codes, size_t count) {
    const size_t elements = (size_t)(q->rows * q->cols);
    const size_t least = (elements + MAX_PER_CODE_BYTE - 1) / MAX_PER_CODE_BYTE;
    const size_t padded = count > least ? count : least;
    if (padded >= elements) {
        t->coding = CODING_PLAIN;
        t->trellis = 0;
        t->twin = -1;
        t->code_bytes = elements;
        buffer_add(&out->codes, q->q, elements);
        return;
    }
    t->code_bytes = padded;
    buffer_add(&out->codes, codes, count);
    uint8_t *zeros = xcalloc(padded - count + 1, 1);
    buffer_add(&out->codes, zeros, padded - count);
    free(zeros);
}

/* An expert of the same layer and role came before, of the same shape. */
static bool base_fits(const packed_tensors *out, const param *p, const quantized *q) {
    const param *base = out->base.p;
    return base && role_has_expert(p->role) && base->role == p->role && base->layer == p->layer &&
           out->base.q.rows == q->rows && out->base.q.cols == q->cols && out->base.q.group == q->group;
}

static int grid_bits(const quantized *q) {
    int bits = 2;
    while ((1 << (bits - 1)) - 1 < q->levels) bits++;
    return bits;
}

status packed_add_grid(packed_tensors *out, const param *p, quantized *q, size_t *code_bytes) {
    uint8_t *codes;
    size_t count;
    const bool fits = base_fits(out, p, q);
    tensor_entry entry = {.coding = CODING_BINARY, .bits = grid_bits(q), .trellis = q->trellis, .twin = -1};
    entry.input_scales = q->input_scale != NULL;
    entry.group = q->group == q->cols ? 0 : q->group;
    status s = weights_encode(q, fits ? &out->base.q : NULL, &codes, &count);
    if (s == STATUS_OK) {
        if (weights_need_twin(codes, count)) entry.twin = out->base.tensor;
        add_codes(out, &entry, q, codes, count);
        free(codes);
        s = add_all_scales(out, q, entry.twin >= 0);
    }
    if (s == STATUS_OK && role_has_expert(p->role) && !fits) {
        quantized_free(&out->base.q);
        out->base.q = *q, out->base.p = p, out->base.tensor = out->tensors;
        out->base.run = out->run_count - (q->input_scale ? 2 : 1);
        *q = (quantized){0};
    }
    packed_add_entry(out, p, &entry);
    *code_bytes = entry.code_bytes;
    quantized_free(q);
    return s;
}
