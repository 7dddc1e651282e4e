/* Pieces of a text on which models with different tokenizers are compared: bytes, whatever tokens they are for a model.
 *
 * Documents are cut into pieces of at most PIECE_BYTES; of a sample they are the pieces that sample.h takes, drawn over bytes instead
 * of tokens. A token belongs to the piece that its first byte lies in (BOS to its document's first piece), so that every
 * model's nats of a piece are of the same bytes, but for what a token that lies across an end has on the other side. */
#ifndef MOEC_EVAL_PIECES_H
#define MOEC_EVAL_PIECES_H

#include "eval/scored_text.h"

enum { PIECE_BYTES = 2048 };

typedef struct text_piece {
    int64_t first, end;       /* bytes of the text, documents one behind another */
    int64_t document, domain; /* indices */
} text_piece;

typedef struct text_pieces {
    text_piece *items; /* in the text's order */
    int64_t count, bytes;
    bool whole; /* all of the text */
} text_pieces;

/* Of documents that have bytes: about `bytes` of them, the same part of every domain; 0, or as many as there are: all. */
text_pieces text_pieces_take(const document_table *documents, int64_t bytes, uint64_t seed);
void text_pieces_free(text_pieces *p);

/* The documents of t, or where it has no table one of the bytes that its tokens have; to be freed (document_table_free). */
document_table text_pieces_documents(const scored_text *t, const tokenizer *tok);

typedef struct piece_score {
    double nll; /* nats, Σ over its tokens */
    int64_t tokens;
} piece_score;
/* scores [pieces->count]. options: window, stride, batch, and what is shown; others do not count. documents: those that the
 * pieces are of, with t's tokens. */
status text_pieces_score(pass *p, const tokenizer *tok, const shard *s, const document_table *documents,
                         const text_pieces *pieces, const bpb_options *options, piece_score *scores);

#endif
