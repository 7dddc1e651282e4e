/* The numbers of an artifact, taken out of it and put back: floats and scales may have become others on the way, while the codes, the config
 * and the tokenizer stay. */
#ifndef MOEC_STORE_ARTIFACT_NUMBERS_H
#define MOEC_STORE_ARTIFACT_NUMBERS_H

#include "nn/model.h"
#include "store/bytes.h"
#include "tensor/quantized.h"

/* One tensor: a grid, or floats. */
typedef struct stored_numbers {
    quantized q;   /* q.q NULL: floats */
    float *floats; /* [count], or NULL */
    int64_t count;
} stored_numbers;

typedef struct artifact_numbers {
    stored_numbers *tensors; /* in the file's order: a model's parameters but the derived ones */
    int count;
    uint8_t *config, *tokenizer; /* as the file has them, unpacked */
    size_t config_bytes, tokenizer_bytes;
} artifact_numbers;

/* Everything is checked as artifact_parse does it; `where` names the file in messages. artifact_numbers_free it. */
status artifact_numbers_read(artifact_numbers *out, const uint8_t *bytes, size_t count, const char *where);
void artifact_numbers_free(artifact_numbers *n);
/* The file again; m, the model that it is read as, names the tensors. Scales are bfloat16s; one that was 0 or was not stays
 * so, since rows of zeros have no codes. */
status artifact_numbers_write(byte_buffer *file, const artifact_numbers *n, const model *m);

#endif
