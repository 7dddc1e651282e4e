/* How much a text repeats itself: the share of its 4-grams of words that stood in it before, 1 − different / all (seq-rep-4 of
 * Welleck et al. 2019, arXiv 1908.04319, over words instead of tokens, which differ between tokenizers). A word is what stands
 * between white space. */
#ifndef MOEC_STUDY_REPETITION_H
#define MOEC_STUDY_REPETITION_H

#include <stddef.h>
#include <stdint.h>

typedef struct repetition {
    int64_t grams, repeated; /* of 4 words: all; those that stood there before */
} repetition;

repetition repetition_of(const char *text, size_t bytes);

#endif
