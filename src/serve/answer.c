#include "serve/answer.h"

#include "base/memory.h"
#include "eval/secretary.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

typedef struct choice {
    answer *a;
    int index;
    ticket number;
    bool ended;
    /* of the scheduler's thread, once it runs */
    said *spare; /* its end, where there is no memory for another */
    bool failed; /* there was none for a token */
} choice;

typedef struct answer_prompt {
    int32_t *ids;
    size_t count;
    bool *allowed; /* [E]; NULL: all */
    secretary_answer secretary;
} answer_prompt;

struct answer {
    served *s;
    const completion_request *r;
    answer_prompt *prompts;
    int prompt_count;
    choice *choices;
    int count;
    pthread_mutex_t lock; /* of what follows, and of choices' `ended` */
    pthread_cond_t changed;
    said *first, **last;
    int running; /* texts that were accepted, and whose end was not said */
};

/* ---- the scheduler's side ---- */

static void say(choice *c, said *x) {
    answer *a = c->a;
    pthread_mutex_lock(&a->lock);
    *a->last = x;
    a->last = &x->next;
    if (x->is_end) {
        c->ended = true;
        a->running--;
    }
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock); /* behind its last end the answer may be gone */
}

/* A token that cannot be said ends this text, and no other's. */
static void on_token(void *context, const token_event *event) {
    choice *c = context;
    said *x = c->failed ? NULL : said_token(c->index, event);
    if (x)
        say(c, x);
    else
        scheduler_cancel(c->a->s->scheduler, c->number);
    c->failed = !x;
}

static void on_end(void *context, const text_end *end) {
    choice *c = context;
    said *x = c->failed ? NULL : said_end(c->index, end);
    if (!x) {
        x = c->spare;
        c->spare = NULL;
        said_fill_spare(x, end);
    }
    say(c, x);
}

/* ---- submitting ---- */

static status read_prompts(answer *a, api_error *e) {
    const completion_request *r = a->r;
    for (int i = 0; i < a->prompt_count; i++) {
        answer_prompt *p = &a->prompts[i];
        TRY(r->chat ? served_chat_ids(a->s, r->messages, r->message_count, &p->ids, &p->count, e)
                    : served_prompt_ids(a->s, &r->prompts[i], "prompt", &p->ids, &p->count, e));
    }
    return STATUS_OK;
}

/* Of the experts that are allowed the one that the routers find likeliest, alone. */
static status ask_secretary(answer *a, answer_prompt *p, const still_wanted *wanted, api_error *e) {
    const int experts = a->s->m->config.moe.experts;
    double *probabilities = xcalloc((size_t)experts, sizeof *probabilities);
    double *left = xcalloc((size_t)experts, sizeof *left);
    p->secretary.probabilities = probabilities;
    const status s = served_secretary(a->s, p->ids, p->count, probabilities, wanted, e);
    for (int x = 0; x < experts; x++) left[x] = p->allowed[x] ? probabilities[x] : -1;
    p->secretary.expert = secretary_choice(left, experts);
    for (int x = 0; x < experts; x++) p->allowed[x] = x == p->secretary.expert;
    free(left);
    return s;
}

static status choose_experts(answer *a, const still_wanted *wanted, api_error *e) {
    const expert_request *x = &a->r->experts;
    const int experts = a->s->m->config.moe.experts;
    if (!x->restricted && !x->secretary) return STATUS_OK;
    for (int i = 0; i < a->prompt_count; i++) {
        answer_prompt *p = &a->prompts[i];
        p->allowed = xmalloc((size_t)experts * sizeof *p->allowed);
        for (int n = 0; n < experts; n++) p->allowed[n] = !x->restricted || x->allowed[n];
        if (x->secretary) TRY(ask_secretary(a, p, wanted, e));
    }
    return STATUS_OK;
}

static text_request text_of(const answer *a, choice *c, uint64_t seed) {
    const completion_request *r = a->r;
    const answer_prompt *p = &a->prompts[c->index / r->n];
    text_request t = {.prompt = p->ids, .prompt_count = p->count, .routing = r->routing};
    t.how = (writing_options){.sampler = r->sampler,
                              .max_tokens = r->max_tokens,
                              .stops = r->stops,
                              .stop_count = r->stop_count,
                              .log_probs = r->top_log_probs >= 0,
                              .top_log_probs = r->top_log_probs > 0 ? r->top_log_probs : 0};
    t.how.sampler.seed = seed + (uint64_t)(c->index % r->n);
    t.on_token = on_token;
    t.on_end = on_end;
    t.context = c;
    t.experts = (expert_control){.allowed = p->allowed,
                                 .top_k = r->experts.top_k,
                                 .layer_top_k = r->experts.by_layer ? r->experts.layer_top_k : NULL};
    return t;
}

static status refuse_submission(const served *s, submit_answer said, api_error *e) {
    if (said == SUBMIT_CLOSED && scheduler_failed(s->scheduler))
        return api_refuse(e, HTTP_INTERNAL, NULL, "out of memory: the server has to be started again");
    if (said == SUBMIT_FULL) return api_refuse(e, HTTP_TOO_MANY, NULL, "the queue is full: come again");
    if (said == SUBMIT_CLOSED) return api_refuse(e, HTTP_UNAVAILABLE, NULL, "the server stops");
    return api_refuse_failure(e, HTTP_BAD_REQUEST, NULL);
}

static status submit(answer *a, api_error *e) {
    uint64_t seed = a->r->sampler.seed;
    if (!a->r->has_seed && getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = (uint64_t)time(NULL);
    for (int i = 0; i < a->count; i++) {
        choice *c = &a->choices[i];
        const text_request t = text_of(a, c, seed);
        pthread_mutex_lock(&a->lock);
        c->ended = false;
        a->running++;
        pthread_mutex_unlock(&a->lock);
        const submit_answer answered = scheduler_submit(a->s->scheduler, &t, &c->number);
        if (answered == SUBMIT_ACCEPTED) continue;
        pthread_mutex_lock(&a->lock);
        c->ended = true;
        a->running--;
        pthread_mutex_unlock(&a->lock);
        return refuse_submission(a->s, answered, e);
    }
    return STATUS_OK;
}

/* ---- the connection's side ---- */

status answer_start(answer **out, served *s, const completion_request *r, const still_wanted *wanted, api_error *e) {
    answer *a = xcalloc(1, sizeof *a);
    *a = (answer){.s = s, .r = r, .prompt_count = r->chat ? 1 : r->prompt_count};
    a->count = a->prompt_count * r->n;
    a->prompts = xcalloc((size_t)a->prompt_count, sizeof *a->prompts);
    a->choices = xcalloc((size_t)a->count, sizeof *a->choices);
    a->last = &a->first;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&a->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&a->lock, NULL);
    for (int i = 0; i < a->count; i++)
        a->choices[i] = (choice){.a = a, .index = i, .ended = true, .spare = said_spare(i)};
    status outcome = read_prompts(a, e);
    if (outcome == STATUS_OK) outcome = choose_experts(a, wanted, e);
    if (outcome == STATUS_OK) outcome = submit(a, e);
    if (outcome == STATUS_OK)
        *out = a;
    else
        answer_free(a);
    return outcome;
}

static void cancel_all(answer *a) {
    for (int i = 0; i < a->count; i++) {
        pthread_mutex_lock(&a->lock);
        const bool ended = a->choices[i].ended;
        pthread_mutex_unlock(&a->lock);
        if (!ended) scheduler_cancel(a->s->scheduler, a->choices[i].number);
    }
    pthread_mutex_lock(&a->lock);
    while (a->running > 0) pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

void answer_free(answer *a) {
    if (!a) return;
    cancel_all(a);
    for (said *x = a->first, *next; x; x = next) {
        next = x->next;
        free(x);
    }
    for (int i = 0; i < a->prompt_count; i++) {
        free(a->prompts[i].ids);
        free(a->prompts[i].allowed);
        free(a->prompts[i].secretary.probabilities);
    }
    for (int i = 0; i < a->count; i++) free(a->choices[i].spare);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a->prompts);
    free(a->choices);
    free(a);
}

int answer_count(const answer *a) {
    return a->count;
}

static struct timespec in_seconds(double seconds) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const int64_t nanoseconds = t.tv_nsec + (int64_t)(seconds * 1e9);
    return (struct timespec){.tv_sec = t.tv_sec + nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
}

said *answer_next(answer *a, double seconds, bool *over) {
    const struct timespec until = in_seconds(seconds);
    pthread_mutex_lock(&a->lock);
    while (!a->first && a->running > 0)
        if (pthread_cond_timedwait(&a->changed, &a->lock, &until) == ETIMEDOUT) break;
    said *x = a->first;
    if (x) {
        a->first = x->next;
        if (!a->first) a->last = &a->first;
    }
    *over = !x && a->running == 0;
    pthread_mutex_unlock(&a->lock);
    return x;
}

const secretary_answer *answer_secretary(const answer *a, int choice_index) {
    return a->r->experts.secretary ? &a->prompts[choice_index / a->r->n].secretary : NULL;
}

int32_t answer_last_prompt_token(const answer *a, int choice_index) {
    const answer_prompt *p = &a->prompts[choice_index / a->r->n];
    return p->ids[p->count - 1];
}
