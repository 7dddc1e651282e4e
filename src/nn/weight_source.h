/* Where a model's weights come from, row by row: a model in memory, a checkpoint's file, other people's files, or a rule that
 * makes new weights of others' (surgery). Whoever takes them, a model or a file that is written, asks for pieces, so that a
 * model larger than the memory can pass by. */
#ifndef MOEC_NN_WEIGHT_SOURCE_H
#define MOEC_NN_WEIGHT_SOURCE_H

#include "nn/model.h"
#include "nn/specs.h"

typedef struct weight_source {
    model_config config;
    /* Rows first … of the parameter as float32 [rows, cols]; a vector or scalar is one row. Parameters that are derived from a
     * seed are not asked for. */
    status (*read)(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out);
    void *context;
    /* NULL, or: a matrix as the codes that it is stored as (quantized_free); of one that is stored as floats q->q stays NULL. */
    status (*codes)(void *context, const param_spec *spec, quantized *q);
} weight_source;

param_spec spec_of_param(const param *p);
int64_t spec_rows(const param_spec *spec);
int64_t spec_cols(const param_spec *spec);
/* How many rows are asked for at a time: some MiB. */
int64_t spec_piece(const param_spec *spec);

/* m's own weights; m outlives it. */
weight_source weight_source_of(const model *m);
/* Every weight of m, whose config is the source's. */
status weight_source_fill(const weight_source *s, model *m);
status weight_source_fill_param(const weight_source *s, param *p, const kernels *k);
/* Tells weights apart, not configurations: CRC-64 of the first and the middle row of every parameter. */
status weight_source_fingerprint(const weight_source *s, uint64_t *crc);
/* The specs of what is stored, in the model's order, as an array (free() it). */
param_spec *stored_specs(const model_config *c, int *count);

#endif
