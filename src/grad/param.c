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
        k->weight_update(&p->matrix, p->value.data);
        return STATUS_OK;
    }
    float *quantized;
    TRY(k->alloc((void **)&quantized, tensor_bytes(&p->value)));
    k->fake_quantize(quantized, p->value.data, p->matrix.rows, p->matrix.cols, quantize_levels, 1);
    k->weight_update(&p->matrix, quantized);
    k->release(quantized);
    return STATUS_OK;
}

/* Without values of its own the matrix gets them by way of a temporary array. */
static status set_matrix(param *p, const kernels *k, const float *values) {
    float *device;
    TRY(k->alloc((void **)&device, tensor_bytes(&p->value)));
    k->upload(device, values, tensor_bytes(&p->value));
    k->weight_update(&p->matrix, device);
    k->release(device);
    return STATUS_OK;
}

status param_set(param *p, const kernels *k, const float *values) {
    if (!p->value.data) return set_matrix(p, k, values);
    k->upload(p->value.data, values, tensor_bytes(&p->value));
    return param_refresh(p, k, 0);
}

status param_set_quantized(param *p, const kernels *k, const quantized *q) {
    k->weight_destroy(&p->matrix);
    return k->weight_quantized(&p->matrix, q);
}

static status get_dense(const param *p, const kernels *k, float *values) {
    float *device;
    TRY(k->alloc((void **)&device, tensor_bytes(&p->value)));
    k->to_float(device, p->matrix.plain, param_count(p));
    k->download(values, device, tensor_bytes(&p->value));
    k->release(device);
    return STATUS_OK;
}

static status get_quantized(const quantized *device, const kernels *k, float *values) {
    quantized host = *device;
    size_t scales = (size_t)(host.rows * quantized_groups(&host)) * sizeof(float);
    host.q = xmalloc((size_t)(host.rows * host.cols));
    host.scale = xmalloc(scales);
    k->download(host.q, device->q, (size_t)(host.rows * host.cols));
    k->download(host.scale, device->scale, scales);
    quantized_expand(&host, values);
    quantized_free(&host);
    return STATUS_OK;
}

status param_get(const param *p, const kernels *k, float *values) {
    if (p->value.data) {
        k->download(values, p->value.data, tensor_bytes(&p->value));
        return STATUS_OK;
    }
    return p->matrix.quantized ? get_quantized(p->matrix.quantized, k, values) : get_dense(p, k, values);
}
