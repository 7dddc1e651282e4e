/* A request whose answer is collected, and waited for. */
#ifndef MOEC_TESTS_GENERATE_ASKED_H
#define MOEC_TESTS_GENERATE_ASKED_H

#include "base/progress.h"
#include "generate/scheduler.h"
#include "texts.h"
#include <pthread.h>
#include <semaphore.h>

enum { ASKED_BYTES = 8192, ASKED_TOKENS = 1024 };
typedef struct asked {
    scheduler *s;
    ticket t;
    char text[ASKED_BYTES];
    size_t bytes;
    int32_t ids[ASKED_TOKENS];
    float log_probs[ASKED_TOKENS];
    int tokens;
    text_end end; /* without what its pointers point to, but: */
    char error[256], stopped[64];
    int ends;      /* calls of on_end */
    int cancel_at; /* cancels itself with so many tokens; 0: never */
    sem_t *hold;   /* the first token waits for it; NULL */
    sem_t *began;  /* is posted with the first token; NULL */
    bool watch;    /* `most_used` and `most_shared` are found out, and that blocks add up */
    int64_t most_used, most_shared;
    double first;         /* when the first token came */
    int most[8], entries; /* choices of each route, at most; of the last token */
    bool used[TEXTS_EXPERTS];
    float top[2];
    sem_t done;
} asked;

static inline void asked_watch(asked *a) {
    scheduler_statistics figures;
    scheduler_read(a->s, &figures);
    const cache_figures *c = &figures.cache;
    assert_int_equal(c->used + c->kept + c->free, c->blocks);
    assert_true(c->used >= 0 && c->kept >= 0 && c->free >= 0);
    if (c->used > a->most_used) a->most_used = c->used;
    if (c->shared > a->most_shared) a->most_shared = c->shared;
}

static inline void asked_token(void *context, const token_event *e) {
    asked *a = context;
    if (a->tokens == 0) a->first = clock_seconds();
    if (a->watch) asked_watch(a);
    if (a->tokens == 0 && a->began) sem_post(a->began);
    if (a->tokens == 0 && a->hold) sem_wait(a->hold);
    assert_int_equal(e->text[e->bytes], 0);
    assert_true(a->bytes + e->bytes < ASKED_BYTES && a->tokens < ASKED_TOKENS);
    memcpy(a->text + a->bytes, e->text, e->bytes);
    a->bytes += e->bytes;
    a->log_probs[a->tokens] = e->log_prob;
    a->ids[a->tokens++] = e->id;
    a->entries = e->route_count;
    for (int i = 0; i < e->route_count && i < 8; i++) {
        if (e->routes[i].count > a->most[i]) a->most[i] = e->routes[i].count;
        for (int j = 0; j < e->routes[i].count; j++) a->used[e->routes[i].experts[j]] = true;
    }
    for (int i = 0; i < e->top_count && i < 2; i++) a->top[i] = e->top[i].log_prob;
    if (a->tokens == a->cancel_at) scheduler_cancel(a->s, a->t);
}

static inline void asked_end(void *context, const text_end *e) {
    asked *a = context;
    memcpy(a->text + a->bytes, e->text, e->bytes);
    a->bytes += e->bytes;
    a->text[a->bytes] = 0;
    a->end = *e;
    snprintf(a->error, sizeof a->error, "%s", e->error ? e->error : "");
    snprintf(a->stopped, sizeof a->stopped, "%s", e->stopped ? e->stopped : "");
    a->ends++;
    if (a->watch) asked_watch(a);
    sem_post(&a->done);
}

/* Into *a, which lives until its end; what the test set in it before (cancel_at, hold, began) stays. */
static inline submit_answer ask(scheduler *s, asked *a, text_request r) {
    a->s = s;
    sem_init(&a->done, 0, 0);
    r.on_token = asked_token;
    r.on_end = asked_end;
    r.context = a;
    return scheduler_submit(s, &r, &a->t);
}

static inline void asked_wait(asked *a) {
    sem_wait(&a->done);
    sem_destroy(&a->done);
}

/* "the cat" as bytes behind BOS. */
typedef struct prompt_ids {
    int32_t ids[512];
    size_t count;
} prompt_ids;
static inline prompt_ids prompt_of(const char *text) {
    prompt_ids p = {.ids = {TEXTS_BOS}, .count = 1};
    for (; *text; text++) p.ids[p.count++] = TEXTS_BYTES + (unsigned char)*text;
    return p;
}

/* Of so many blocks of keys and values, where texts have up to `context` tokens. */
static inline int64_t blocks_bytes(model *m, const tokenizer *t, int64_t context, int64_t blocks) {
    scheduler *s;
    scheduler_statistics figures;
    assert_ok(scheduler_start(&s, m, t, &(scheduler_options){.slots = 1, .context = context}));
    scheduler_read(s, &figures);
    scheduler_destroy(s);
    return figures.cache.token_bytes * figures.cache.block_tokens * blocks;
}

#endif
