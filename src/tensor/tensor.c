#include "tensor/tensor.h"

#include <stdio.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [DTYPE_F32] = {"f32", 4}, [DTYPE_BF16] = {"bf16", 2}, [DTYPE_F16] = {"f16", 2},
    [DTYPE_I32] = {"i32", 4}, [DTYPE_I8] = {"i8", 1},     [DTYPE_U8] = {"u8", 1},
};

size_t dtype_bytes(dtype type) {
    return dtypes[type].bytes;
}

const char *dtype_name(dtype type) {
    return dtypes[type].name;
}

int64_t tensor_count(const tensor *t) {
    return tensor_rows(t) * tensor_cols(t);
}

size_t tensor_bytes(const tensor *t) {
    return (size_t)tensor_count(t) * dtype_bytes(t->type);
}

int64_t tensor_rows(const tensor *t) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < t->ndim; i++) rows *= t->shape[i];
    return rows;
}

int64_t tensor_cols(const tensor *t) {
    return t->ndim ? t->shape[t->ndim - 1] : 1;
}

const char *shape_text(char *text, size_t bytes, int ndim, const int64_t *shape) {
    size_t used = (size_t)snprintf(text, bytes, "[");
    for (int i = 0; i < ndim && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
    if (used < bytes) snprintf(text + used, bytes - used, "]");
    return text;
}

bool tensor_same_shape(const tensor *a, const tensor *b) {
    if (a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}
