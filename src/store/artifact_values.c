/* The values of an artifact's tensors, one tensor after another in the directory's order. */
#include "base/half.h"
#include "base/memory.h"
#include "store/artifact_format.h"
#include "store/weight_codec.h"
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

status value_reader_open(value_reader *v, container *c) {
    size_t count;
    *v = (value_reader){.where = c->where};
    TRY(read_planes(c, SECTION_SCALES, 2, (void **)&v->scales));
    TRY(read_planes(c, SECTION_HALVES, 2, (void **)&v->halves));
    TRY(read_planes(c, SECTION_FLOATS, 4, (void **)&v->floats));
    return container_section(c, SECTION_CODES, &v->codes, &count);
}

void value_reader_close(value_reader *v) {
    free(v->scales);
    free(v->halves);
    free(v->floats);
}

static status read_scales(quantized *q, value_reader *v, const tensor_entry *t) {
    for (int64_t r = 0; r < q->rows; r++) {
        const uint32_t bits = (uint32_t)v->scales[v->scale++] << 16;
        memcpy(&q->scale[r], &bits, sizeof bits);
        if (!isfinite(q->scale[r]) || q->scale[r] < 0)
            return fail("%s: tensor %s: row %lld: expected a finite scale, found %g", v->where, t->name, (long long)r,
                        (double)q->scale[r]);
    }
    return STATUS_OK;
}

static status read_codes(quantized *q, value_reader *v, const tensor_entry *t) {
    const uint8_t *codes = v->codes + v->code;
    v->code += t->code_bytes;
    if (t->coding == CODING_RANGE) {
        int64_t coded = 0;
        for (int64_t r = 0; r < q->rows; r++) coded += q->scale[r] > 0 ? q->cols : 0;
        if ((uint64_t)coded > (uint64_t)t->code_bytes * MAX_PER_CODE_BYTE)
            return fail("%s: tensor %s: %zu bytes of codes cannot hold %lld weights", v->where, t->name, t->code_bytes,
                        (long long)coded);
        return fail_in(weights_decode(q, codes, t->code_bytes), "%s: tensor %s", v->where, t->name);
    }
    memcpy(q->q, codes, t->code_bytes);
    for (size_t i = 0; i < t->code_bytes; i++)
        if (q->q[i] < -q->levels || q->q[i] > q->levels)
            return fail("%s: tensor %s: expected codes up to %d, found %d", v->where, t->name, q->levels, q->q[i]);
    return STATUS_OK;
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
    if (!entry_is_grid(t)) return;
    v->scale += (size_t)t->rows;
    v->code += t->code_bytes;
}

status value_read_grid(value_reader *v, const tensor_entry *t, quantized *q) {
    TRY(quantized_create(q, t->rows, t->cols, t->bits));
    status s = read_scales(q, v, t);
    if (s == STATUS_OK) s = read_codes(q, v, t);
    if (s != STATUS_OK) quantized_free(q);
    return s;
}
