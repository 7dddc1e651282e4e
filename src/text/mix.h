/* Rows of tokens drawn so that each domain has its share of them, whatever its share of the text is.
 *
 * The documents of a domain, in the order of the shards, are one stream of tokens, and its rows are cut from that stream: row
 * r covers its tokens r·T … r·T + T, the last one being the last target. So all targets of a row are of one domain, and a
 * share of rows is a share of tokens. Each stream is read on and on, one epoch after another, in order or through a
 * permutation of its own.
 *
 * Which domain row n is drawn from follows from n alone: the one whose share lags furthest behind (smooth weighted round
 * robin; the first of equals). Every domain is at all times within one row of its share (more, but few, where many domains are mixed),
 * in every batch almost so, and a run that is resumed at row n draws the same. */
#ifndef MOEC_TEXT_MIX_H
#define MOEC_TEXT_MIX_H

#include "config/weights.h"
#include "text/shard_set.h"

enum { MIX_UNITS = 1 << 20 }; /* shares are whole multiples of 1 / MIX_UNITS */

typedef struct mix mix;

/* `text` lives as long as the mix. A domain that has no weight, or 0, is not drawn. Names that are no domains are an error that lists those that are. */
status mix_create(mix **out, const shard_set *text, const weight_list *weights, int64_t T, bool shuffle, uint64_t seed);
void mix_destroy(mix *m);
/* The next row, T + 1 tokens; returns its domain. */
int mix_next(mix *m, int32_t *row);
/* Where the last row that was read lies: the part of its tokens from token t on (0 … T) that is together in one shard. */
shard_span mix_span(const mix *m, int64_t t);
uint64_t mix_tell(const mix *m); /* rows drawn */
void mix_seek(mix *m, uint64_t rows);

/* Keep so many rows aside, of each domain its share but at most one row in KEPT_ROWS_SHARE (kept_rows.h): they are never drawn.
 * Before the first row; returns how many there are. */
int64_t mix_keep(mix *m, int64_t rows);
int64_t mix_kept(const mix *m);
/* The i-th of them, domain by domain; returns its domain. */
int mix_read_kept(mix *m, int64_t i, int32_t *row);

double mix_share(const mix *m, int domain);   /* in [0, 1] */
int64_t mix_tokens(const mix *m, int domain); /* of its stream; only of a domain that is drawn */
int64_t mix_drawn(const mix *m, int domain);  /* tokens (targets) drawn so far */

#endif
