/* All that a teacher is to be asked, in the order of asking: first every prompt of every domain once, then once more, so that a
 * budget that ends early has asked all alike. */
#ifndef MOEC_FETCH_TEACH_QUESTIONS_H
#define MOEC_FETCH_TEACH_QUESTIONS_H

#include "fetch/seed_prompts.h"
#include <stdbool.h>
#include <stddef.h>

enum { QUESTIONS_MOST = 10 * 1000 * 1000 };

typedef struct question {
    int domain, prompt, repetition;
    int64_t seed; /* for the server */
    bool answered;
} question;

typedef struct questions {
    const seed_prompts *prompts;
    uint64_t seed;
    question *list;
    size_t count;
    size_t *by_seed; /* their numbers, sorted by domain and seed */
} questions;

/* per_prompt repetitions of each prompt. */
status questions_open(questions *q, const seed_prompts *p, uint64_t seed, int64_t per_prompt);
void questions_close(questions *q);
char *question_text(const questions *q, const question *of); /* a new string */
/* NULL: it is none of them. */
question *questions_find(const questions *q, int domain, int64_t seed, const char *text);

#endif
