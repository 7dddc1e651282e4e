/* The held-out part of a data folder made by `moec data`: tokens, documents with domains, and the raw text. */
#ifndef MOEC_EVAL_HELDOUT_H
#define MOEC_EVAL_HELDOUT_H

#include "eval/bpb.h"

typedef struct heldout {
    shard s;
    document_table documents; /* count 0: the shard has no table beside it */
    uint8_t *text;            /* documents one after another; NULL: there is no heldout.txt */
    size_t bytes;
    uint64_t seed; /* the data's, which samples are drawn by */
} heldout;

/* path: a data folder (its *_val_*.bin), or a shard. */
status heldout_open(heldout *h, const char *path, int vocab_size);
void heldout_close(heldout *h);
const document_table *heldout_documents(const heldout *h); /* NULL: there is no table */
/* Bits per byte of xz -9e, for the whole text and for each domain's documents (domain[domain_count]). Needs text. */
status heldout_xz(const heldout *h, double *total, double *domain);

#endif
