/* The values of an artifact's tensors, one tensor after another in the directory's order. */
#include "base/half.h"
#include "base/memory.h"
#include "quant/quantize.h"
#include "store/artifact_format.h"
#include "store/weight_codec.h"
#include "store/weight_codec_v1.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static status read_planes(container *c, section_kind kind, int width, void **values) {
    const uint8_t *bytes;
    size_t count;
    TRY(container_section(c, kind, &bytes, &count));
    *values = xmalloc(count + 1);
    planes_join(*values, bytes, count / (size_t)width, width);
    return STATUS_OK;
}

/* Scales of rows and groups; offsets are as many. */
static size_t row_scales(const tensor_entry *t) {
    return (size_t)(t->rows * (t->cols / t->group));
}

/* Where those of columns begin. */
static size_t column_scales(const tensor_entry *t) {
    return t->scale + (t->offsets ? 2 : 1) * row_scales(t);
}

/* Where those of its correction begin, the last ones. */
static size_t factor_scales(const tensor_entry *t) {
    return t->scale + entry_scales(t) - (size_t)t->rank;
}

/* The scales of grid t among all: of its rows, their offsets, of its columns, and of its correction. Returns how many
 * runs that is. */
static size_t scale_runs(scale_run out[SCALE_KINDS], const directory *d, const tensor_entry *t) {
    const size_t rows = row_scales(t);
    const tensor_entry *twin = t->twin >= 0 ? &d->tensors[t->twin] : NULL;
    size_t count = 0;
    out[count++] = (scale_run){t->scale, rows, SCALES_OF_ROWS, twin != NULL, twin ? twin->scale : 0};
    if (t->offsets)
        out[count++] =
            (scale_run){t->scale + rows, rows, SCALE_OFFSETS, twin && twin->offsets, twin ? twin->scale + rows : 0};
    if (t->input_scales)
        out[count++] = (scale_run){column_scales(t), (size_t)t->cols, SCALES_OF_COLUMNS, twin && twin->input_scales,
                                   twin ? column_scales(twin) : 0};
    if (t->rank) out[count++] = (scale_run){factor_scales(t), (size_t)t->rank, SCALES_OF_FACTORS, false, 0};
    return count;
}

static status read_scale_section(value_reader *v, container *c) {
    if (c->sections[SECTION_SCALES].coding != SECTION_SCALE_CODED)
        return read_planes(c, SECTION_SCALES, 2, (void **)&v->scales);
    const uint8_t *bytes;
    size_t count, runs = 0;
    TRY(container_section(c, SECTION_SCALES, &bytes, &count));
    scale_run *run = xmalloc((SCALE_KINDS * (size_t)v->d->count + 1) * sizeof *run);
    v->scales = xmalloc(count + 1); /* 2 bytes a scale, as the directory says: bounded by its weights */
    for (int i = 0; i < v->d->count; i++)
        if (entry_is_grid(&v->d->tensors[i])) runs += scale_runs(run + runs, v->d, &v->d->tensors[i]);
    status s = fail_in(scales_decode(v->scales, run, runs, bytes, c->sections[SECTION_SCALES].count), "%s: section %s",
                       c->where, section_name(SECTION_SCALES));
    free(run);
    return s;
}

status value_reader_open(value_reader *v, container *c, const directory *d) {
    size_t count;
    *v = (value_reader){.where = c->where, .d = d, .base = -1};
    TRY(read_scale_section(v, c));
    TRY(read_planes(c, SECTION_HALVES, 2, (void **)&v->halves));
    TRY(read_planes(c, SECTION_FLOATS, 4, (void **)&v->floats));
    return container_section(c, SECTION_CODES, &v->codes, &count);
}

void value_reader_close(value_reader *v) {
    free(v->scales);
    free(v->halves);
    free(v->floats);
    quantized_free(&v->base_grid);
}

static status read_scales(float *out, const uint16_t *stored, int64_t count, bool zeros, const value_reader *v,
                          const tensor_entry *t) {
    for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = (uint32_t)stored[i] << 16;
        memcpy(&out[i], &bits, sizeof bits);
        if (!isfinite(out[i]) || out[i] < 0 || (!zeros && out[i] == 0))
            return fail("%s: tensor %s: scale %lld: expected a finite one%s, found %g", v->where, t->name, (long long)i,
                        zeros ? "" : " above 0", (double)out[i]);
    }
    return STATUS_OK;
}

static status read_offsets(float *out, const float *scale, const uint16_t *stored, int64_t count, const value_reader *v,
                           const tensor_entry *t) {
    for (int64_t i = 0; i < count; i++) {
        const int quarters = (int)stored[i] - OFFSET_ZERO;
        if (abs(quarters) > QUANTIZED_MOST_ZERO)
            return fail("%s: tensor %s: offset %lld: expected up to %d quarters of a step, found %d", v->where, t->name,
                        (long long)i, QUANTIZED_MOST_ZERO, quarters);
        out[i] = quantized_offset(scale[i], quarters);
    }
    return STATUS_OK;
}

/* Whether the file can hold the rows that have codes: those of zeros have none. */
static status check_density(const quantized *q, const value_reader *v, const tensor_entry *t) {
    int64_t coded = 0;
    for (int64_t r = 0; r < q->rows; r++) coded += weight_row_is_zero(q, r) ? 0 : q->cols;
    if ((uint64_t)coded <= (uint64_t)t->code_bytes * MAX_PER_CODE_BYTE) return STATUS_OK;
    return fail("%s: tensor %s: %zu bytes of codes cannot hold %lld weights", v->where, t->name, t->code_bytes,
                (long long)coded);
}

static status read_plain(quantized *q, const uint8_t *codes, const value_reader *v, const tensor_entry *t) {
    memcpy(q->q, codes, t->code_bytes);
    for (size_t i = 0; i < t->code_bytes; i++)
        if (q->q[i] < -q->levels || q->q[i] > q->levels)
            return fail("%s: tensor %s: expected codes up to %d, found %d", v->where, t->name, q->levels, q->q[i]);
    return STATUS_OK;
}

static status read_codes(quantized *q, const quantized *twin, const value_reader *v, const tensor_entry *t) {
    const uint8_t *codes = v->codes + t->code;
    if (t->coding == CODING_PLAIN) return read_plain(q, codes, v, t);
    TRY(check_density(q, v, t));
    status s = t->coding == CODING_RANGE ? weights_decode_v1(q, codes, t->code_bytes)
                                         : weights_decode(q, twin, codes, t->code_bytes);
    return fail_in(s, "%s: tensor %s", v->where, t->name);
}

status value_read_floats(value_reader *v, const tensor_entry *t, float *out) {
    if (t->coding == CODING_FLOAT32) {
        memcpy(out, v->floats + v->single, (size_t)t->elements * sizeof *out);
        v->single += (size_t)t->elements;
        return STATUS_OK;
    }
    for (int64_t i = 0; i < t->elements; i++) out[i] = half_to_float(v->halves[v->half++]);
    return STATUS_OK;
}

void value_skip(value_reader *v, const tensor_entry *t) {
    if (t->coding == CODING_FLOAT32) v->single += (size_t)t->elements;
    if (t->coding == CODING_FLOAT16) v->half += (size_t)t->elements;
}

/* A correction as the grid that it is. */
static tensor_entry correction_of(const tensor_entry *t) {
    tensor_entry f = {.coding = t->rank_coding,
                      .bits = t->rank_bits,
                      .rows = t->rank,
                      .cols = t->rows + t->cols,
                      .group = t->rows + t->cols,
                      .elements = entry_factors(t),
                      .twin = -1,
                      .scale = factor_scales(t),
                      .code = t->code + t->code_bytes,
                      .code_bytes = t->rank_bytes};
    memcpy(f.name, t->name, sizeof f.name);
    return f;
}

static status read_grid(quantized *q, const quantized *twin, const value_reader *v, const tensor_entry *t);

static status read_correction(quantized *q, const value_reader *v, const tensor_entry *t) {
    const tensor_entry factors = correction_of(t);
    q->correction = xcalloc(1, sizeof *q->correction);
    return read_grid(q->correction, NULL, v, &factors);
}

/* Allocates q; its twin has been read. */
static status read_grid(quantized *q, const quantized *twin, const value_reader *v, const tensor_entry *t) {
    const int64_t scales = (int64_t)row_scales(t);
    const uint16_t *stored = v->scales + t->scale;
    TRY(quantized_create(q, t->rows, t->cols, t->bits));
    q->group = t->group;
    q->trellis = t->trellis;
    q->rotation = t->rotation;
    q->scale = xrealloc(q->scale, (size_t)scales * sizeof *q->scale);
    status s = read_scales(q->scale, stored, scales, true, v, t);
    if (s == STATUS_OK && t->offsets) {
        q->offset = xmalloc((size_t)scales * sizeof *q->offset);
        s = read_offsets(q->offset, q->scale, stored + scales, scales, v, t);
    }
    if (s == STATUS_OK && t->input_scales) {
        q->input_scale = xmalloc((size_t)t->cols * sizeof *q->input_scale);
        s = read_scales(q->input_scale, v->scales + column_scales(t), t->cols, false, v, t);
    }
    if (s == STATUS_OK) s = read_codes(q, twin, v, t);
    if (s == STATUS_OK && t->rank) s = read_correction(q, v, t);
    if (s != STATUS_OK) quantized_free(q);
    return s;
}

status value_read_grid(value_reader *v, const tensor_entry *t, quantized *q) {
    if (t->twin >= 0 && t->twin != v->base) {
        quantized_free(&v->base_grid);
        v->base = -1;
        TRY(read_grid(&v->base_grid, NULL, v, &v->d->tensors[t->twin]));
        v->base = t->twin;
    }
    return read_grid(q, t->twin >= 0 ? &v->base_grid : NULL, v, t);
}
