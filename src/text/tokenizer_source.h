/* A tokenizer from the arrays that a GGUF file has of it (tokenizer.ggml.*), whoever reads the file.
 *
 * Byte-level vocabularies ("gpt2") become the tokenizer.json that their model has, and SentencePiece's ("llama") one with scores, so
 * that both are stored and opened again like any other. They encode as llama.cpp's llm_tokenizer_bpe and llm_tokenizer_spm do. */
#ifndef MOEC_TEXT_TOKENIZER_SOURCE_H
#define MOEC_TEXT_TOKENIZER_SOURCE_H

#include "text/tokenizer.h"

/* Not NUL-terminated: as in the file. */
typedef struct source_string {
    const char *text;
    size_t bytes;
} source_string;

/* tokenizer.ggml.token_type */
typedef enum source_type {
    SOURCE_NORMAL = 1,
    SOURCE_UNKNOWN = 2,
    SOURCE_CONTROL = 3,
    SOURCE_USER_DEFINED = 4,
    SOURCE_UNUSED = 5,
    SOURCE_BYTE = 6
} source_type;

typedef enum source_answer { SOURCE_UNSAID, SOURCE_NO, SOURCE_YES } source_answer;

/* What is absent is NULL, or < 0. Nothing is taken over. */
typedef struct tokenizer_source {
    const char *model;           /* tokenizer.ggml.model: "gpt2" or "llama" */
    const char *pre;             /* tokenizer.ggml.pre, of "gpt2": how words are split (word_patterns.h) */
    const source_string *tokens; /* [count] */
    const float *scores;         /* [count], of "llama" */
    const int32_t *types;        /* [count] source_type; absent: all are normal */
    size_t count;
    const source_string *merges; /* [merge_count], of "gpt2": "left right", the first to merge first */
    size_t merge_count;
    int64_t bos, eos, eot, eom, unknown; /* ids */
    source_answer adds_bos, adds_space;  /* add_bos_token; add_space_prefix, of "llama" */
    const char *chat_template;
} tokenizer_source;

/* With nothing in it. */
tokenizer_source tokenizer_source_empty(void);
status tokenizer_from_source(tokenizer **out, const tokenizer_source *s, const char *where);

#endif
