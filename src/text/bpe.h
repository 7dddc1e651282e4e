/* Byte-pair encoding: a word is first its characters; as long as any two neighbours may be merged, the pair of the lowest
 * rank is, the leftmost of equals (Sennrich et al. 2016). With a queue of candidates that takes n log n steps for n characters.
 *
 * Which pairs merge, and to what, is said in one of two ways:
 *   a list of pairs     Hugging Face's tokenizer.json and GPT-2's merges.txt: a pair's rank is its place in the list
 *   a score each piece  SentencePiece's models and llama.cpp's SPM: neighbours merge to any piece that they spell, the best score first */
#ifndef MOEC_TEXT_BPE_H
#define MOEC_TEXT_BPE_H

#include "text/string_map.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BPE_NO_PAIR UINT64_MAX
typedef struct pair_slot {
    uint64_t pair; /* left << 32 | right; BPE_NO_PAIR: the slot is empty */
    uint32_t rank;
    int32_t merged;
} pair_slot;

typedef struct bpe {
    string_map pieces;
    pair_slot *pairs; /* [pair_mask + 1] */
    uint64_t pair_key;
    size_t pair_mask, pair_count;
    uint32_t *ranks;    /* [pieces] by score; NULL: pairs are listed */
    size_t longest;     /* bytes of the longest piece */
    int32_t bytes[256]; /* tokens of single bytes, for characters that are no piece; −1: none */
    bool byte_fallback; /* use them */
    int32_t unknown;    /* for characters that are neither; −1: they are passed over */
    bool fuse_unknown;  /* one token for a run of them */
    bool ignore_merges; /* a word that is a piece is that piece */
    char *prefix;       /* in front of every character of a word but the first; NULL: none */
    char *suffix;       /* behind the last character of a word; NULL: none */
} bpe;

/* A pair that is listed twice has its last rank. */
void bpe_add_pair(bpe *m, int32_t left, int32_t right, uint32_t rank, int32_t merged);
void bpe_free(bpe *m);

/* What encoding needs beside the model: one for each thread. It remembers short words. */
typedef struct bpe_work bpe_work;
bpe_work *bpe_work_create(bool remember);
/* Appends the word's ids. */
void bpe_encode_word(const bpe *m, bpe_work *w, const char *word, size_t bytes);
void bpe_append(bpe_work *w, int32_t id);
/* The ids so far, malloc'ed; w is gone. */
int32_t *bpe_work_finish(bpe_work *w, size_t *count);
void bpe_work_free(bpe_work *w);

#endif
