/* Arrays of the device to safetensors files and back, under their parameters' names. */
#ifndef MOEC_STORE_TENSOR_FILE_H
#define MOEC_STORE_TENSOR_FILE_H

#include "formats/safetensors.h"
#include "nn/model.h"

/* Tensors on their way from the device to a safetensors file. */
typedef struct tensor_file {
    const kernels *k;
    safetensor *tensors; /* data: floats on the device, integers malloc'ed on the host */
    int count;
} tensor_file;

/* `device` (p's shape, DTYPE_F32 or DTYPE_BF16) under the name prefix + p's name; it is read when the file is written, piece by
 * piece. */
void tensor_file_add(tensor_file *f, const kernels *k, const char *prefix, const param *p, const void *device,
                     dtype type);
void tensor_file_add_int(tensor_file *f, const char *prefix, const param *p, int32_t value);
status tensor_file_write(tensor_file *f, const char *path, uint64_t *crc); /* frees what f holds either way */
/* The way back, whichever of the two types the file has. Errors name the file and the tensor. */
status tensor_file_read(const safetensors *s, const kernels *k, const char *prefix, const param *p, void *device,
                        dtype type);
status tensor_file_read_int(const safetensors *s, const char *prefix, const param *p, int32_t *value);

/* The weights of a model, as model.safetensors has them: every parameter that is not derived. */
status weights_save(const model *m, const char *path, uint64_t *crc);
/* Every parameter by name and shape, and what products read. Floats that the model has no parameter for are an error;
 * integers are no weights (an average's counts) and are passed over. */
status weights_load(model *m, const char *path);

#endif
