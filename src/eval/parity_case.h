/* What both kinds of parity cases share; private to eval/parity*.c. */
#ifndef MOEC_EVAL_PARITY_CASE_H
#define MOEC_EVAL_PARITY_CASE_H

#include "eval/parity.h"
#include "formats/safetensors.h"

/* Largest |a − b|, infinite where a is not finite. */
double parity_largest(const float *a, const float *b, int64_t count, double *largest_b);
/* What is compared with: a tensor of that shape, finite everywhere. *values is malloc'ed; NULL after a failure. */
status parity_reference(const safetensors *file, const char *name, int ndim, const int64_t *shape, float **values);
/* Token ids within the vocabulary. *ids is malloc'ed either way. */
status parity_ids(const safetensors *io, const char *name, int64_t batch, int64_t seq, int vocabulary, int32_t **ids);
/* The largest difference of the pass's logits from the tensor `logits`. */
status parity_logits(pass *p, const safetensors *io, const batch *b, double *difference);

status parity_run_pretrained(const char *folder, const kernels *k, parity_report *report);

#endif
