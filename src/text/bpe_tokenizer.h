/* The tokenizers of pretrained models: control tokens are found, what lies between them is normalised and split into words,
 * and each word is merged from its characters. Hugging Face's tokenizer.json says all of it; a GGUF's metadata is
 * rewritten as one (tokenizer_source.h). */
#ifndef MOEC_TEXT_BPE_TOKENIZER_H
#define MOEC_TEXT_BPE_TOKENIZER_H

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/json_fields.h"
#include "text/normalize.h"
#include "text/pre_tokenize.h"
#include "text/tokenizer_kind.h"

typedef struct bpe_tokenizer {
    added_tokens raw, normalized; /* found before and after the text is normalised */
    normalizer normal;
    pre_tokenizer words;
    bpe model;
} bpe_tokenizer;

/* How pieces become text: the decoder of a tokenizer.json, as far as it acts on one token. */
typedef struct piece_decoder {
    bool byte_level;    /* characters stand for bytes */
    bool byte_fallback; /* "<0x0A>" is a byte */
    char *space;        /* what a piece writes for a space ("▁"); NULL: a space */
    bool strips_space;  /* a space where a text begins goes */
} piece_decoder;

void bpe_tokenizer_free(bpe_tokenizer *b);
status bpe_tokenizer_encode(const bpe_tokenizer *b, const char *text, size_t bytes, bool special, int32_t **ids,
                            size_t *count);

/* ---- reading tokenizer.json ---- */

extern const tokenizer_kind bpe_tokenizer_kind;
/* Of a control token that ends a text or a turn in whatever vocabulary it is. */
bool is_end_name(const char *name, size_t bytes);

/* tokenizer_json_steps.c: members of a tokenizer.json, NULL where they are null; what moec does not support is refused by name. */
status read_normalizer(const cJSON *json, normalizer *n, const char *where);
status read_pre_tokenizer(const cJSON *json, pre_tokenizer *p, const char *where);
status read_decoder(const cJSON *json, piece_decoder *d, const char *where);
/* *bos, a new string: the token that is put in front of a text; NULL: none. */
status read_post_processor(const cJSON *json, char **bos, const char *where);

/* tokenizer_json_model.c: pieces, merges and options. names gets for each id its piece, NULL for holes. */
typedef struct piece_names {
    char **list; /* [size] */
    int32_t size, capacity, count;
    int32_t
        most; /* ids are below that: a file of so many bytes has room for no more of them and the holes between them */
} piece_names;
piece_names piece_names_of(size_t bytes);
/* false: the id has another name already, or is not below `most`. */
bool piece_names_set(piece_names *n, int32_t id, const char *name);
void piece_names_free(piece_names *n);
status read_model(json_scan json, bpe *m, piece_names *names, const char *where);

#endif
