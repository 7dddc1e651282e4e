#include "fetch/teach_questions.h"
#include "base/memory.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b, void *context) {
    const question *list = context, *x = &list[*(const size_t *)a], *y = &list[*(const size_t *)b];
    if (x->domain != y->domain) return x->domain < y->domain ? -1 : 1;
    return (x->seed > y->seed) - (x->seed < y->seed);
}

static int most_prompts(const seed_prompts *p) {
    int most = 0;
    for (int i = 0; i < p->count; i++)
        if (p->domains[i].prompts.count > most) most = p->domains[i].prompts.count;
    return most;
}

status questions_open(questions *q, const seed_prompts *p, uint64_t seed, int64_t per_prompt) {
    const int most = most_prompts(p);
    size_t prompts = 0;
    for (int i = 0; i < p->count; i++) prompts += (size_t)p->domains[i].prompts.count;
    *q = (questions){.prompts = p, .seed = seed};
    if (per_prompt > QUESTIONS_MOST / (int64_t)prompts)
        return fail_usage("--per-prompt: expected at most %d questions in all, found %zu prompts × %" PRId64,
                          QUESTIONS_MOST, prompts, per_prompt);
    q->list = xmalloc(prompts * (size_t)per_prompt * sizeof *q->list);
    q->by_seed = xmalloc(prompts * (size_t)per_prompt * sizeof *q->by_seed);
    for (int repetition = 0; repetition < per_prompt; repetition++)
        for (int prompt = 0; prompt < most; prompt++)
            for (int domain = 0; domain < p->count; domain++) {
                if (prompt >= p->domains[domain].prompts.count) continue;
                question *next = &q->list[q->count];
                *next = (question){.domain = domain, .prompt = prompt, .repetition = repetition};
                free(seed_prompts_question(&p->domains[domain], prompt, repetition, seed, &next->seed));
                q->by_seed[q->count] = q->count;
                q->count++;
            }
    qsort_r(q->by_seed, q->count, sizeof *q->by_seed, compare, q->list);
    return STATUS_OK;
}

void questions_close(questions *q) {
    free(q->list);
    free(q->by_seed);
    *q = (questions){0};
}

char *question_text(const questions *q, const question *of) {
    int64_t seed;
    return seed_prompts_question(&q->prompts->domains[of->domain], of->prompt, of->repetition, q->seed, &seed);
}

question *questions_find(const questions *q, int domain, int64_t seed, const char *text) {
    size_t low = 0, high = q->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const question *at = &q->list[q->by_seed[middle]];
        if (at->domain < domain || (at->domain == domain && at->seed < seed))
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < q->count; low++) {
        question *at = &q->list[q->by_seed[low]];
        if (at->domain != domain || at->seed != seed) return NULL;
        char *own = question_text(q, at);
        const bool same = strcmp(own, text) == 0;
        free(own);
        if (same) return at;
    }
    return NULL;
}
