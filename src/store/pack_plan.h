/* What is to become of each tensor of a model, and what became of it: one entry a parameter, in the model's order. */
#ifndef MOEC_STORE_PACK_PLAN_H
#define MOEC_STORE_PACK_PLAN_H

#include "nn/model.h"
#include "quant/candidates.h"
#include "quant/quantizer.h"
#include "quant/sensitivity.h"

typedef struct tensor_plan {
    /* as asked for */
    bool floats;         /* float16 (float32 where float16 does not hold it) */
    quantizer quantizer; /* of a grid */
    double rate;         /* nominal rate (quantizer.h) */
    double given_rate;   /* > 0: this rate, whatever would be best */
    double given_bits;   /* > 0: about these bits a weight, all in */
    int64_t group;       /* columns that share a scale; 0: all */
    bool asymmetric;     /* grids with offsets */
    uint32_t rotation;   /* of the columns, by this seed; 0: none */
    int most_rank;       /* of a correction, from which the bytes choose (candidates.h); 0: none */
    int rank_bits;       /* of its factors */
    int rank;            /* that it has; 0: none */
    /* as it became */
    double bytes;  /* codes and scales, or floats */
    double error;  /* matrix_error: with sensitivities the loss's increase, nats a token; 0 of floats */
    double weight; /* the same of the whole matrix: what it costs to leave it out */
} tensor_plan;

typedef struct pack_plan {
    tensor_plan *tensors; /* [m->param_count] */
    int count;
    const sensitivities *sensitivities; /* NULL: all rows count the same */
    double damp, prune_fraction;
} pack_plan;

/* Everything by `q`; vectors, and matrices of at most keep_float_elements weights, as floats. */
pack_plan pack_plan_create(const model *m, quantizer q, int64_t keep_float_elements);
void pack_plan_free(pack_plan *p);
/* Of those that are stored as grids: a derived parameter, which no file stores, is none. */
bool pack_plan_is_grid(const pack_plan *p, const model *m, int index);
/* Weights of all grids; what `--bits` counts. */
int64_t pack_plan_grid_elements(const pack_plan *p, const model *m);

/* ---- one matrix of a model, ready for a quantiser ---- */

typedef struct packed_matrix {
    matrix_problem problem;
    float *w;        /* owned, [rows, cols] */
    uint8_t *pruned; /* owned, or NULL */
    int64_t pruned_count;
    matrix_curvature curvature;
} packed_matrix;
/* Of the model's parameter `index`; h may be NULL. Messages name it. */
status packed_matrix_open(packed_matrix *out, const pack_plan *p, const model *m, int index, hessians *h);
void packed_matrix_close(packed_matrix *m);
/* About the bytes of its scales, rows', columns' and a correction's. */
double packed_scale_bytes(const quantized *q);
/* Bytes of its codes, and about those of its scales (coded_bytes of candidates.h). */
coded_size packed_matrix_size(const quantized *q);

#endif
