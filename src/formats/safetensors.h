/* The safetensors format (github.com/huggingface/safetensors): u64 header length, JSON header, data.
 * Reading maps the file and checks every offset, shape and type against the file's size before anything is used. */
#ifndef MOEC_FORMATS_SAFETENSORS_H
#define MOEC_FORMATS_SAFETENSORS_H

#include "base/file.h"
#include "tensor/tensor.h"

typedef struct safetensor {
    char *name;
    dtype type;
    int ndim;
    int64_t shape[TENSOR_MAX_DIMS];
    const void *data; /* host memory, inside the map or the caller's (little-endian, unaligned) */
    size_t bytes;
} safetensor;

typedef struct safetensors {
    file_map map;
    char *path;
    char *names;         /* what the tensors' names point into */
    safetensor *tensors; /* sorted by name */
    int count;
} safetensors;

status safetensors_open(safetensors *s, const char *path);
/* The same over bytes in memory (fuzzing, artifacts); `path` only names them in messages. */
status safetensors_parse(safetensors *s, const char *path, const uint8_t *bytes, size_t count);
void safetensors_close(safetensors *s);
const safetensor *safetensors_find(const safetensors *s, const char *name);
/* The tensor of that name and shape; else an error that says what was found. */
status safetensors_expect(const safetensors *s, const char *name, int ndim, const int64_t *shape,
                          const safetensor **found);
/* Copy a tensor as float32 (from F32, BF16 or F16) or int32 (from I32); checks name and shape.
 * errors name the file and the tensor. */
status safetensors_read_f32(const safetensors *s, const char *name, int ndim, const int64_t *shape, float *out);
/* The same of rows first … (a vector is one row). */
status safetensors_read_rows(const safetensors *s, const char *name, int ndim, const int64_t *shape, int64_t first,
                             int64_t rows, float *out);
status safetensors_read_i32(const safetensors *s, const char *name, int ndim, const int64_t *shape, int32_t *out);
/* Writes atomically; *crc (may be NULL) becomes the CRC-64 of the file. */
status safetensors_write(const char *path, const safetensor *tensors, int count, uint64_t *crc);
/* The same for tensors that are made while they are written: `source` writes the t->bytes bytes of each, in the file's order;
 * their data is not read. */
typedef status (*safetensors_source)(void *context, const safetensor *t, file_writer *w);
status safetensors_stream(const char *path, const safetensor *tensors, int count, safetensors_source source,
                          void *context, uint64_t *crc);

#endif
