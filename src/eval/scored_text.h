/* A text that is scored: the held-out part of a data folder made by `moec data`, a shard, or files as they are. */
#ifndef MOEC_EVAL_SCORED_TEXT_H
#define MOEC_EVAL_SCORED_TEXT_H

#include "eval/bpb.h"

typedef struct scored_text {
    shard s;
    document_table documents; /* count 0: the shard has no table beside it. Of files each is a document and a domain */
    uint8_t *text;            /* documents one after another; NULL: tokens are all that there is */
    size_t bytes;
    uint64_t seed;   /* the data's, which samples are drawn by; 0 where it has none */
    int32_t *ids;    /* of s, where its tokens were made here from the text; else NULL */
    int64_t inexact; /* documents that those tokens do not give back to the byte */
} scored_text;

/* path: a data folder (its *_val_*.bin), or a shard. */
status scored_text_open(scored_text *t, const char *path, int vocab_size);
/* The same for a model with this tokenizer and vocabulary: where the folder's tokens are those of another tokenizer, others are made
 * from its heldout.txt. */
status scored_text_open_for(scored_text *t, const char *path, const tokenizer *tok, int vocab_size);
/* Files of UTF-8 text, each a domain of the name of its file, or of its path where two have the same name. */
status scored_text_of_files(scored_text *t, const char *const *paths, int count, const tokenizer *tok);
void scored_text_close(scored_text *t);
const document_table *scored_text_documents(const scored_text *t); /* NULL: there is no table */
/* Bits per byte are divided by the text's own bytes where all of it was scored and its tokens were made here: a tokenizer that does not
 * give a text back would else count others. */
void scored_text_count_bytes(const scored_text *t, bpb_result *r);
/* Bits per byte of xz -9e, for the whole text and for each domain's documents (domain[domain_count]). Needs text. */
status scored_text_xz(const scored_text *t, double *total, double *domain);

#endif
