/* A SentencePiece model gives each piece a float score; a BPE's are −0, −1, −2, …, which as bytes look like noise to LZMA.
 * The filter replaces every score's bits by their difference (exclusive or) from the score before minus 1, mostly 0. That
 * halves what a small tokenizer needs in an artifact. */
#ifndef MOEC_STORE_SCORE_FILTER_H
#define MOEC_STORE_SCORE_FILTER_H

#include <stddef.h>
#include <stdint.h>

/* In place, for any bytes: what surrounds the scores says where they are and is not changed, so that undo always finds
 * the same places. */
void score_filter_apply(uint8_t *model, size_t count);
void score_filter_undo(uint8_t *model, size_t count);

#endif
