/* What a SentencePiece model's file says that the library does not show: scores are there for all, but not of what kind the model is
 * and how it treats spaces. Read from its protobuf (sentencepiece_model.proto) in the bytes that the library took before. */
#ifndef MOEC_TEXT_SENTENCEPIECE_FACTS_H
#define MOEC_TEXT_SENTENCEPIECE_FACTS_H

#include "base/status.h"
#include "text/tokenizer_source.h"

enum { SENTENCEPIECE_UNIGRAM = 1, SENTENCEPIECE_BPE = 2 };

typedef struct sentencepiece_facts {
    source_string *pieces; /* [count], in the file's bytes */
    float *scores;         /* [count] */
    int32_t *types;        /* [count], of source_type */
    size_t count;
    int kind; /* SENTENCEPIECE_BPE … */
    bool byte_fallback;
    bool maps_characters; /* by a table, in front of all */
    bool adds_space;      /* in front of a text */
    bool joins_spaces;    /* several become one, those at the ends go */
    bool spaces_are_suffixes;
} sentencepiece_facts;

status sentencepiece_facts_read(sentencepiece_facts *f, const void *bytes, size_t count);
void sentencepiece_facts_free(sentencepiece_facts *f);

#endif
