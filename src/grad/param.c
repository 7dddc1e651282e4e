#include "grad/param.h"

#include "base/memory.h"
#include <stdlib.h>

status param_create(param **out, const kernels *k, const char *name, int ndim, const int64_t *shape, bool is_matrix) {
    param *p = xcalloc(1, sizeof *p);
    p->name = xstrdup(name);
    p->value = (tensor){.type = DTYPE_F32, .ndim = ndim};
    for (int i = 0; i < ndim; i++) p->value.shape[i] = shape[i];
    size_t bytes = tensor_bytes(&p->value);
    status s = k->alloc(&p->value.data, bytes);
    if (s == STATUS_OK) s = k->alloc((void **)&p->grad, bytes);
    if (s == STATUS_OK && is_matrix) {
        s = k->weight_create(&p->matrix, shape[0], shape[1]);
        p->is_matrix = s == STATUS_OK;
    }
    if (s != STATUS_OK) {
        param_destroy(p, k);
        return fail_in(s, "%s", name);
    }
    k->zero(p->value.data, bytes);
    k->zero(p->grad, bytes);
    *out = p;
    return STATUS_OK;
}

void param_destroy(param *p, const kernels *k) {
    if (!p) return;
    if (p->is_matrix) k->weight_destroy(&p->matrix);
    k->release(p->value.data);
    k->release(p->grad);
    free(p->name);
    free(p);
}

void param_freeze(param *p, const kernels *k) {
    k->release(p->grad);
    p->grad = NULL;
    p->has_grad = false;
}

int64_t param_count(const param *p) {
    return tensor_count(&p->value);
}

status param_refresh(param *p, const kernels *k, int quantize_levels) {
    if (!p->is_matrix) return STATUS_OK;
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

void param_zero_grad(param *p, const kernels *k) {
    if (p->has_grad) k->zero(p->grad, tensor_bytes(&p->value));
    p->has_grad = false;
}
