/* Named tensors of other people's files, whatever the format and however many files: where their numbers lie and how they
 * are stored. Everything is memory-mapped and checked against the files' sizes before it is used. */
#ifndef MOEC_FORMATS_TENSOR_SET_H
#define MOEC_FORMATS_TENSOR_SET_H

#include "formats/storage.h"
#include "tensor/tensor.h"

typedef struct stored_tensor {
    const char *name;
    const char *file; /* for messages */
    storage type;
    int ndim;
    int64_t shape[TENSOR_MAX_DIMS]; /* outermost first; a row is the last dimension, whole blocks */
    const uint8_t *data;            /* inside the map, unaligned */
} stored_tensor;

typedef struct tensor_set {
    stored_tensor *tensors; /* sorted by name */
    int count;
    void *owner; /* what the tensors point into */
    void (*close)(void *owner);
    void (*forget)(void *owner, const void *from, size_t bytes); /* not soon needed again; may be NULL */
} tensor_set;

/* A folder's model.safetensors, or the files that its model.safetensors.index.json names. Tensors of integers are left out:
 * they are no weights. */
status tensor_set_open_safetensors(tensor_set *s, const char *folder);
void tensor_set_close(tensor_set *s);
const stored_tensor *tensor_set_find(const tensor_set *s, const char *name);
int64_t stored_rows(const stored_tensor *t); /* product of all dimensions but the last; 1 for a vector */
int64_t stored_cols(const stored_tensor *t);
/* Rows `first` … as float32 [rows, cols]. */
void stored_read(const stored_tensor *t, int64_t first, int64_t rows, float *out);

/* For the makers of sets: sorts, and refuses two tensors of one name. */
status tensor_set_seal(tensor_set *s);

#endif
