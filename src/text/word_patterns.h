/* The expressions by which well-known pretrained models split words, and the names that GGUF files (tokenizer.ggml.pre) give to
 * them: llama.cpp's llm_tokenizer_bpe, whose expressions are those of the models' own tokenizer.json but for what its matcher
 * cannot do. */
#ifndef MOEC_TEXT_WORD_PATTERNS_H
#define MOEC_TEXT_WORD_PATTERNS_H

#include <stdbool.h>

extern const char word_pattern_gpt2[];

enum { WORD_PATTERNS = 6 };

typedef struct word_patterns {
    const char *name;                           /* "llama-bpe" */
    const char *expressions[WORD_PATTERNS + 1]; /* one after another, matches isolated; NULL behind the last */
    bool ignores_merges;                        /* a word that is a piece is that piece */
    bool adds_bos;                              /* where the file does not say */
} word_patterns;

const word_patterns *word_patterns_find(const char *name); /* NULL: unknown */
/* The name of these expressions one after another, or of a tokenizer.json's own that mean the same; NULL: they have none. */
const char *word_patterns_name(const char *const *expressions, int count, bool ignores_merges);
/* All names, for messages: "llama-bpe, qwen2, …". Lives as long as the process. */
const char *word_patterns_names(void);

/* Whether matches of the expression end at every newline that stands between a visible character and an ASCII letter,
 * whatever stands around them; or none contains a newline. */
bool word_pattern_cuts_lines(const char *expression);
bool word_pattern_knows_no_lines(const char *expression);

#endif
