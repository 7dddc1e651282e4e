#include "grad/param.h"

#include "base/memory.h"
#include <stdlib.h>

param *param_create(const char *name, int ndim, const int64_t *shape) {
    param *p = xcalloc(1, sizeof *p);
    p->name = xstrdup(name);
    p->value = (tensor){.type = DTYPE_F32, .ndim = ndim};
    p->offset = -1;
    for (int i = 0; i < ndim; i++) p->value.shape[i] = shape[i];
    return p;
}

void param_destroy(param *p, const kernels *k) {
    if (!p) return;
    if (p->is_matrix) k->weight_destroy(&p->matrix);
    free(p->name);
    free(p);
}

int64_t param_count(const param *p) {
    return tensor_count(&p->value);
}

status param_refresh(param *p, const kernels *k, int quantize_levels) {
    if (!p->is_matrix || !p->value.data) return STATUS_OK;
    if (quantize_levels <= 0) {
        k->weight_update(&p->matrix, p->value.data, 0, p->matrix.rows);
        return STATUS_OK;
    }
    float *quantized;
    TRY(k->alloc((void **)&quantized, tensor_bytes(&p->value)));
    k->fake_quantize(quantized, p->value.data, p->matrix.rows, p->matrix.cols, quantize_levels, 1);
    k->weight_update(&p->matrix, quantized, 0, p->matrix.rows);
    k->release(quantized);
    return STATUS_OK;
}

/* Without values of its own the matrix gets them by way of a temporary array. */
static status set_matrix(param *p, const kernels *k, int64_t first, int64_t rows, const float *values) {
    float *device;
    size_t bytes = (size_t)(rows * p->matrix.cols) * sizeof *device;
    if (!p->matrix.plain) {
        k->weight_destroy(&p->matrix);
        TRY(k->weight_create(&p->matrix, p->value.shape[0], p->value.shape[1], p->room));
    }
    TRY(k->alloc((void **)&device, bytes));
    k->upload(device, values, bytes);
    k->weight_update(&p->matrix, device, first, rows);
    k->release(device);
    return STATUS_OK;
}

status param_set_rows(param *p, const kernels *k, int64_t first, int64_t rows, const float *values) {
    if (p->away) return STATUS_OK;
    if (!p->value.data) return set_matrix(p, k, first, rows, values);
    int64_t cols = tensor_cols(&p->value);
    float *place = (float *)p->value.data + first * cols;
    k->upload(place, values, (size_t)(rows * cols) * sizeof *place);
    if (p->is_matrix) k->weight_update(&p->matrix, place, first, rows);
    return STATUS_OK;
}

status param_set(param *p, const kernels *k, const float *values) {
    return param_set_rows(p, k, 0, tensor_rows(&p->value), values);
}

status param_set_quantized(param *p, const kernels *k, const quantized *q) {
    k->weight_destroy(&p->matrix);
    return k->weight_quantized(&p->matrix, q, p->room);
}

status param_set_packed(param *p, const kernels *k, const quantized *q, int input_bits) {
    k->weight_destroy(&p->matrix);
    return k->weight_packed(&p->matrix, q, input_bits, p->room);
}

status param_adopt(param *p, const kernels *k, const stored_weight *s) {
    if (s->rows != p->value.shape[0] || s->cols != p->value.shape[1])
        return fail("expected a matrix of %lld x %lld, found %lld x %lld", (long long)p->value.shape[0],
                    (long long)p->value.shape[1], (long long)s->rows, (long long)s->cols);
    k->weight_destroy(&p->matrix);
    return k->weight_adopt(&p->matrix, s, p->room);
}

static status get_matrix(const param *p, const kernels *k, int64_t first, int64_t rows, float *values) {
    const size_t bytes = (size_t)(rows * p->matrix.cols) * sizeof *values;
    float *device;
    TRY(k->alloc((void **)&device, bytes));
    k->weight_values(device, &p->matrix, first, rows);
    k->download(values, device, bytes);
    k->release(device);
    return STATUS_OK;
}

status param_get_rows(const param *p, const kernels *k, int64_t first, int64_t rows, float *values) {
    if (p->value.data) {
        const int64_t cols = tensor_cols(&p->value);
        k->download(values, (const float *)p->value.data + first * cols, (size_t)(rows * cols) * sizeof *values);
        return STATUS_OK;
    }
    return get_matrix(p, k, first, rows, values);
}

status param_get(const param *p, const kernels *k, float *values) {
    return param_get_rows(p, k, 0, tensor_rows(&p->value), values);
}
