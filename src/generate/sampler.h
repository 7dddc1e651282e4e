/* How the next token of a text is chosen: what a request may ask for, and one text's own state of it (its generator, what
 * it has said, its grammar). */
#ifndef MOEC_GENERATE_SAMPLER_H
#define MOEC_GENERATE_SAMPLER_H

#include "base/random.h"
#include "generate/json_masks.h"

typedef struct logit_bias {
    int32_t id;
    float bias; /* is added to the logit; −∞: never */
} logit_bias;

/* Every member at 0 asks for nothing (temperature 0 is the likeliest token), so a request names what it wants. The order
 * is:
 *   1. logits of earlier tokens: those of prompt and text ÷ repetition_penalty where > 0, × where < 0 (Keskar et al.
 *      2019, CTRL); those of the text − frequency_penalty · count − presence_penalty (OpenAI); then + bias
 *   2. what the grammar forbids, and ids without a piece, are out
 *   3. temperature 0: the largest, of equal ones the lowest id. Else of the remaining ones the top_k largest; of them the
 *      fewest whose probabilities at this temperature reach top_p (Holtzman et al. 2020); of them those whose probability
 *      is at least min_p times the largest one's (Nguyen et al. 2024)
 *   4. a draw among them in proportion to their probabilities: one number of the generator a token */
typedef struct sampler {
    float temperature; /* 0: the likeliest token */
    int top_k;         /* 0: all */
    float top_p;       /* 0 ≤ top_p < 1, and at least one token; ≥ 1: all */
    float min_p;       /* 0: all; at most 1 */
    uint64_t seed;
    float repetition_penalty;                  /* 0 and 1: none */
    float presence_penalty, frequency_penalty; /* 0: none */
    const logit_bias *biases;                  /* of ids below the vocabulary, each once */
    int bias_count;
    bool json; /* the text is one JSON object (json_grammar.h), and ends with it */
} sampler;

/* One line that names the value and its range, where a request cannot be meant. vocab_size: of the model. */
status sampler_check(const sampler *s, int vocab_size);

/* ---- one text's ---- */

typedef struct sampling sampling;
/* masks: of the tokenizer that the text is written with, where s->json; else NULL. Lives longer than the sampling. vocab:
 * ids below it may be drawn. Copies s. prompt: what repetition_penalty also counts. */
sampling *sampling_create(const sampler *s, json_masks *masks, int vocab, const int32_t *prompt, size_t count);
void sampling_free(sampling *s); /* NULL is fine */
/* The next token, from logits [vocab], which are finite or −∞ and are changed to what was compared; −1: none may follow. */
int32_t sampling_next(sampling *s, float *logits);
/* This token is now part of the text: whoever draws tells. */
void sampling_accept(sampling *s, int32_t id);
/* The grammar is at its end, and so is the text; never without one. */
bool sampling_is_whole(const sampling *s);

/* The next token by temperature, top_k, top_p and min_p alone from logits [V], in time proportional to V; r advances by
 * one draw (none at temperature 0). */
int32_t sample(const sampler *s, const float *logits, int vocab_size, rng *r);

/* ---- the model's own distribution ---- */

/* What a model that was damaged, or trained to NaN, does not give. */
bool logits_are_finite(const float *logits, int vocab);

typedef struct token_probability {
    int32_t id;
    float log_prob; /* at temperature 1, before penalties, biases and grammar */
} token_probability;
/* The `count` most probable ids below vocab, likeliest first, of equal ones the lower first; returns log Σ exp of the
 * logits, so that an id's own log-probability is logits[id] less that. */
double top_probabilities(const float *logits, int vocab, int count, token_probability *top);

#endif
