/* What a teacher is asked, as a YAML file:
 *     domains:
 *       code:
 *         system: You write Python that is short and right.           what it is told before; may be absent
 *         vary: {thing: [a parser, a queue], tone: [plain, terse]}    what stands for {thing} and {tone}; may be absent
 *         prompts: ["Write {thing}, in a {tone} style.", …]
 * A question is a prompt's repetition: with the words that its places got, and a seed of its own for the server. Both are
 * drawn by the domain's name, the system's text, the prompt and the repetition, so that prompts may be added, moved and
 * removed without changing any other question. */
#ifndef MOEC_FETCH_SEED_PROMPTS_H
#define MOEC_FETCH_SEED_PROMPTS_H

#include "base/status.h"
#include <stdint.h>

enum {
    PROMPTS_MAX_DOMAINS = 32,
    PROMPTS_MAX_PLACES = 32, /* of a domain */
    PROMPTS_MAX_NAME = 60,   /* bytes of a domain's name, which becomes a file's, and of a place's */
    PROMPTS_MAX_TEXT = 4096  /* bytes of any other text */
};

typedef struct text_list {
    char **texts;
    int count;
} text_list;

typedef struct prompt_place {
    char *name;
    text_list words;
} prompt_place;

typedef struct prompt_domain {
    char *name;   /* letters, digits, '.', '_', '-' */
    char *system; /* NULL: none */
    text_list prompts;
    prompt_place *places;
    int place_count;
} prompt_domain;

typedef struct seed_prompts {
    prompt_domain domains[PROMPTS_MAX_DOMAINS];
    int count;
} seed_prompts;

/* p is to be freed after a failure too. */
status seed_prompts_read(seed_prompts *p, const char *path);
void seed_prompts_free(seed_prompts *p);
/* The question's text, a new string, and its seed, below 2^31. */
char *seed_prompts_question(const prompt_domain *d, int prompt, int repetition, uint64_t seed, int64_t *question_seed);

#endif
