/* One matrix into an artifact's sections and its directory. */
#include "base/memory.h"
#include "store/artifact_format.h"
#include "store/weight_codec.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int entry_flags(const tensor_entry *t) {
    return (t->input_scales ? ENTRY_COLUMNS : 0) | (t->offsets ? ENTRY_OFFSETS : 0) |
           (t->rotation ? ENTRY_ROTATION : 0) | (t->rank ? ENTRY_LOW_RANK : 0);
}

void packed_add_entry(packed_tensors *out, const param *p, const tensor_entry *t) {
    byte_buffer *d = &out->directory;
    const int flags = entry_flags(t);
    const size_t length = strlen(p->name);
    buffer_add_number(d, length, 2);
    buffer_add(d, p->name, length);
    buffer_add_number(d, (uint64_t)t->coding, 1);
    buffer_add_number(d, (uint64_t)t->bits, 1);
    buffer_add_number(d, (uint64_t)p->value.ndim, 1);
    buffer_add_number(d, (uint64_t)t->trellis, 1);
    buffer_add_number(d, (uint64_t)flags, 1);
    buffer_add_number(d, (uint64_t)t->group, 4);
    buffer_add_number(d, t->twin >= 0 ? (uint64_t)(out->tensors - t->twin) : 0, 4);
    if (t->rotation) buffer_add_number(d, t->rotation, 4);
    if (t->rank) {
        buffer_add_number(d, (uint64_t)t->rank, 2);
        buffer_add_number(d, (uint64_t)t->rank_bits, 1);
        buffer_add_number(d, (uint64_t)t->rank_coding, 1);
        buffer_add_number(d, t->rank_bytes, 8);
    }
    const int version = t->rank ? ARTIFACT_VERSION : flags > ENTRY_COLUMNS ? ARTIFACT_CENTRED_VERSION : 0;
    if (version > out->version) out->version = version;
    for (int i = 0; i < p->value.ndim; i++) buffer_add_number(d, (uint64_t)p->value.shape[i], 8);
    buffer_add_number(d, t->code_bytes, 8);
    out->tensors++;
}

/* ---- scales ---- */

/* The run of this kind of the tensor that others are coded given; NULL: it has none. */
static const scale_run *base_run(const packed_tensors *out, int kind) {
    const quantized *base = &out->base.q;
    const size_t runs = 1 + (base->offset != NULL) + (base->input_scale != NULL);
    for (size_t i = out->base.run; i < out->base.run + runs; i++)
        if (out->runs[i].kind == kind) return &out->runs[i];
    return NULL;
}

static void add_run(packed_tensors *out, int64_t count, int kind, bool has_twin) {
    const scale_run *twin = has_twin ? base_run(out, kind) : NULL;
    const scale_run run = {out->scale_count, (size_t)count, kind, twin != NULL, twin ? twin->first : 0};
    out->scales = xrealloc(out->scales, (out->scale_count + run.count) * sizeof(uint16_t));
    out->runs = xrealloc(out->runs, (out->run_count + 1) * sizeof *out->runs);
    out->runs[out->run_count++] = run;
}

/* has_twin: the tensor is coded given the first one of its layer. */
static status add_scales(packed_tensors *out, const float *scales, int64_t count, int kind, bool has_twin) {
    add_run(out, count, kind, has_twin);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &scales[i], sizeof bits);
        if (bits & UINT16_MAX)
            return fail("scale %lld: expected a bfloat16, found %.9g", (long long)i, (double)scales[i]);
        out->scales[out->scale_count++] = (uint16_t)(bits >> 16);
    }
    return STATUS_OK;
}

static status add_offsets(packed_tensors *out, const quantized *q, bool has_twin) {
    const int64_t count = q->rows * quantized_groups(q);
    add_run(out, count, SCALE_OFFSETS, has_twin);
    for (int64_t i = 0; i < count; i++) {
        const float quarters = q->scale[i] > 0 ? nearbyintf(4 * q->offset[i] / q->scale[i]) : 0;
        if (fabsf(quarters) > QUANTIZED_MOST_ZERO || quantized_offset(q->scale[i], (int)quarters) != q->offset[i])
            return fail("offset %lld: expected up to %d quarters of its scale %.9g, found %.9g", (long long)i,
                        QUANTIZED_MOST_ZERO, (double)q->scale[i], (double)q->offset[i]);
        out->scales[out->scale_count++] = (uint16_t)(OFFSET_ZERO + (int)quarters);
    }
    return STATUS_OK;
}

static status add_all_scales(packed_tensors *out, const quantized *q, bool has_twin) {
    TRY(add_scales(out, q->scale, q->rows * quantized_groups(q), SCALES_OF_ROWS, has_twin));
    if (q->offset) TRY(add_offsets(out, q, has_twin));
    if (!q->input_scale) return STATUS_OK;
    return add_scales(out, q->input_scale, q->cols, SCALES_OF_COLUMNS, has_twin);
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

/* The correction's factors, behind the tensor's own codes and scales. */
static status add_correction(packed_tensors *out, tensor_entry *entry, const quantized *factors) {
    uint8_t *codes;
    size_t count;
    tensor_entry own = {.coding = CODING_BINARY};
    TRY(weights_encode(factors, NULL, &codes, &count));
    add_codes(out, &own, factors, codes, count);
    free(codes);
    entry->rank = (int)factors->rows;
    entry->rank_bits = grid_bits(factors);
    entry->rank_coding = own.coding;
    entry->rank_bytes = own.code_bytes;
    return add_scales(out, factors->scale, factors->rows, SCALES_OF_FACTORS, false);
}

status packed_add_grid(packed_tensors *out, const param *p, quantized *q, size_t *code_bytes) {
    uint8_t *codes;
    size_t count;
    const bool fits = base_fits(out, p, q);
    tensor_entry entry = {.coding = CODING_BINARY, .bits = grid_bits(q), .trellis = q->trellis, .twin = -1};
    const size_t first_run = out->run_count;
    entry.input_scales = q->input_scale != NULL;
    entry.offsets = q->offset != NULL;
    entry.rotation = q->rotation;
    entry.group = q->group == q->cols ? 0 : q->group;
    status s = weights_encode(q, fits ? &out->base.q : NULL, &codes, &count);
    if (s == STATUS_OK) {
        if (weights_need_twin(codes, count)) entry.twin = out->base.tensor;
        add_codes(out, &entry, q, codes, count);
        free(codes);
        s = add_all_scales(out, q, entry.twin >= 0);
    }
    if (s == STATUS_OK && q->correction) s = add_correction(out, &entry, q->correction);
    if (s == STATUS_OK && role_has_expert(p->role) && !fits) {
        quantized_free(&out->base.q);
        out->base.q = *q, out->base.p = p, out->base.tensor = out->tensors;
        out->base.run = first_run;
        *q = (quantized){0};
    }
    packed_add_entry(out, p, &entry);
    *code_bytes = entry.code_bytes + entry.rank_bytes;
    quantized_free(q);
    return s;
}
