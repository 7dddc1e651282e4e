/* A tensor is a shape over device memory. It owns nothing: memory comes from a device (kernel/kernel.h), directly or
 * through the tape's pool. Only kernel/ may look behind `data`; everybody else copies with tensor_read/tensor_write. */
#ifndef MOEC_TENSOR_TENSOR_H
#define MOEC_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_F16, DTYPE_I32, DTYPE_I8, DTYPE_U8 } dtype;

enum { TENSOR_MAX_DIMS = 4 };

typedef struct tensor {
    void *data; /* device memory, row-major, contiguous */
    dtype type;
    int ndim;                       /* 0 … TENSOR_MAX_DIMS */
    int64_t shape[TENSOR_MAX_DIMS]; /* outermost first */
} tensor;

size_t dtype_bytes(dtype type);
const char *dtype_name(dtype type);    /* "f32", "bf16", ... */
int64_t tensor_count(const tensor *t); /* number of elements */
size_t tensor_bytes(const tensor *t);
int64_t tensor_rows(const tensor *t); /* product of all dimensions but the last; 1 for ndim < 2 */
int64_t tensor_cols(const tensor *t); /* the last dimension */
/* "[2, 3]", as far as it fits; returns text. */
const char *shape_text(char *text, size_t bytes, int ndim, const int64_t *shape);
bool tensor_same_shape(const tensor *a, const tensor *b);

#endif
