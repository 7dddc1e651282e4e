/* Text from a model, token by token. */
#ifndef MOEC_GENERATE_GENERATE_H
#define MOEC_GENERATE_GENERATE_H

#include "base/random.h"
#include "nn/pass.h"
#include "text/tokenizer.h"

typedef struct sampler {
    float temperature; /* 0: the likeliest token */
    int top_k;         /* 0: all */
    float top_p;       /* 1: all */
    uint64_t seed;
} sampler;

/* The next token from logits [V]; r advances by one draw (none at temperature 0). */
int32_t sample(const sampler *s, const float *logits, int vocab_size, rng *r);

/* Called with each piece of text as soon as it is whole UTF-8; return false to stop. */
typedef bool (*generate_sink)(void *context, const char *text, size_t bytes);
typedef struct generate_result {
    int64_t prompt_tokens, new_tokens;
    double prompt_seconds, seconds;
} generate_result;
/* Continue prompt by up to max_tokens, or to the first of the tokenizer's end tokens. */
status generate(pass *p, const tokenizer *tok, const char *prompt, const sampler *s, int64_t max_tokens,
                generate_sink sink, void *context, generate_result *result);

#endif
