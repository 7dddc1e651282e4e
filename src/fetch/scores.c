#include "fetch/scores.h"
#include "base/memory.h"
#include "base/progress.h"
#include "fetch/completion.h"
#include "fetch/crew.h"
#include "fetch/url.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SMALL_BYTES = 8 << 20,
    AHEAD = 4 /* windows a worker may be ahead of what is handed on */,
    POLL_MILLISECONDS = 5
};

void scores_result_free(scores_result *r) {
    free(r->model);
    *r = (scores_result){0};
}

/* ---- windows ---- */

scores_window scores_window_at(int64_t begin, int64_t behind, int64_t position, int64_t seq, int64_t stride) {
    scores_window w = {begin, begin, begin + seq + 1};
    if (position >= w.end) {
        w.first = w.end + (position - w.end) / stride * stride;
        w.end = w.first + stride;
    }
    if (w.end > behind) w.end = behind;
    if (w.end - seq - 1 > begin) w.start = w.end - seq - 1;
    return w;
}

typedef struct slot {
    scores_window window;
    int64_t skip; /* places that are there already */
    token_scores scores;
    bool done;
} slot;

/* What the workers share, under the crew's lock. */
typedef struct job {
    crew w;
    const scores_request *q;
    scores_result *r;
    char *url, *shown_url;
    int64_t next;          /* token that the next window is to begin with */
    int64_t begin, behind; /* of the document it is in; behind ≤ next: to be found */
    slot *slots;           /* window n is in slot n mod slot_count while it is under way */
    int slot_count;
    int64_t given, handed; /* windows */
    bool ended;            /* a window was left undone: none is to be begun */
    int64_t begun;
    progress shown;
} job;

static int32_t token_at(const job *j, int64_t position) {
    int32_t id;
    j->q->read(j->q->context, position, 1, &id);
    return id;
}

static void find_document(job *j) {
    int64_t begin = j->next, behind = j->next + 1;
    while (begin > 0 && token_at(j, begin) != j->q->bos) begin--;
    while (behind < j->q->tokens && token_at(j, behind) != j->q->bos) behind++;
    j->begin = begin;
    j->behind = behind;
}

/* Under the lock, guarded. The next window into its slot. */
static status give_window(void *context) {
    job *j = context;
    if (j->behind <= j->next) find_document(j);
    slot *at = &j->slots[j->given++ % j->slot_count];
    at->window = scores_window_at(j->begin, j->behind, j->next, j->q->seq, j->q->stride);
    at->skip = j->next - at->window.first;
    at->done = false;
    j->next = at->window.end;
    scores_open(&at->scores, j->q->k, j->q->vocab_size, at->window.first - at->window.start,
                at->window.end - at->window.first);
    return STATUS_OK;
}

/* *taken NULL: there is none left, or the crew is over. */
static status take_window(job *j, slot **taken) {
    const struct timespec slice = {.tv_nsec = POLL_MILLISECONDS * 1000000L};
    *taken = NULL;
    for (;;) {
        status s = STATUS_OK;
        crew_lock(&j->w);
        const bool left = !j->ended && !crew_is_over(&j->w) && j->next < j->q->tokens,
                   room = j->given - j->handed < j->slot_count;
        if (left && room) {
            slot *at = &j->slots[j->given % j->slot_count];
            s = memory_guarded(give_window, j);
            if (s == STATUS_OK) *taken = at;
        }
        crew_unlock(&j->w);
        if (s != STATUS_OK || *taken || !left) return s;
        if (interrupt_requested()) return fail("interrupted"), STATUS_INTERRUPTED;
        nanosleep(&slice, NULL);
    }
}

/* ---- handing on ---- */

static status hand_on(job *j, slot *of) {
    const token_scores *s = &of->scores;
    for (int64_t i = of->skip; i < s->count; i++) {
        TRY(j->q->add(j->q->context, s->ids + i * s->k, s->log_probs + i * s->k, s->rest[i]));
        j->r->there++;
    }
    return STATUS_OK;
}

static void show(job *j) {
    char detail[160];
    const int64_t done = j->r->there - j->begun, wanted = j->q->tokens - j->begun;
    const double seconds = clock_seconds() - j->shown.started;
    double fraction = (double)done / (double)wanted;
    if (j->w.most_requests && (double)j->w.requests / (double)j->w.most_requests > fraction)
        fraction = (double)j->w.requests / (double)j->w.most_requests;
    snprintf(detail, sizeof detail, "%" PRId64 " of %" PRId64 " tokens, %" PRId64 " requests, %.0f tokens/s",
             j->r->there, j->q->tokens, j->w.requests, (double)done / (seconds > 0 ? seconds : 1));
    progress_show(&j->shown, fraction, detail);
}

/* Under the lock, guarded. What is done and has nothing undone before it. */
static status hand_on_done(void *context) {
    job *j = context;
    for (; j->handed < j->given && j->slots[j->handed % j->slot_count].done; j->handed++) {
        slot *next = &j->slots[j->handed % j->slot_count];
        next->done = false; /* whatever comes of it */
        status s = hand_on(j, next);
        scores_close(&next->scores);
        TRY(s);
    }
    show(j);
    return STATUS_OK;
}

/* ---- asking ---- */

typedef struct asked {
    job *j;
    const int32_t *ids;
    int64_t sent;
    token_scores *scores;
} asked;

static status parse(void *context, const http_client *c, char *text, size_t bytes) {
    asked *k = context;
    return scores_parse(k->scores, k->j->r->dialect, k->ids, k->sent, c, text, bytes, k->j->shown_url);
}

static status ask(crew_worker *worker, asked *k, bool *answered) {
    const job *j = k->j;
    http_request q = {.url = j->url, .most_bytes = SCORES_BYTES, .most_seconds = j->q->timeout};
    char *body = scores_body(j->r->dialect, j->r->model, j->q->k, k->ids, k->sent, &q.body_bytes);
    q.body = body;
    status s = crew_ask(worker, &q, parse, k, answered);
    free(body);
    return s;
}

/* A token at a time: each answer is about the one behind those that were sent. */
static status ask_one_by_one(crew_worker *worker, job *j, slot *of, const int32_t *ids, bool *answered) {
    token_scores one, *all = &of->scores;
    status s = STATUS_OK;
    scores_open(&one, all->k, all->vocab_size, 0, 1);
    *answered = true;
    for (int64_t i = of->skip; s == STATUS_OK && *answered && i < all->count; i++) {
        asked k = {.j = j, .ids = ids, .sent = all->first + i, .scores = &one};
        if (k.sent == 0) continue;
        s = ask(worker, &k, answered);
        memcpy(all->ids + i * all->k, one.ids, (size_t)all->k * sizeof *one.ids);
        memcpy(all->log_probs + i * all->k, one.log_probs, (size_t)all->k * sizeof *one.log_probs);
        all->rest[i] = one.rest[0];
    }
    scores_close(&one);
    return s;
}

static status ask_window(crew_worker *worker, job *j, slot *of, bool *answered) {
    const int64_t count = of->window.end - of->window.start;
    int32_t *ids = xmalloc((size_t)count * sizeof *ids);
    crew_lock(&j->w);
    j->q->read(j->q->context, of->window.start, count, ids);
    crew_unlock(&j->w);
    asked k = {.j = j, .ids = ids, .sent = count, .scores = &of->scores};
    *answered = true;
    status s = STATUS_OK;
    if (j->r->dialect == SCORES_LLAMA_CPP)
        s = ask_one_by_one(worker, j, of, ids, answered);
    else if (count > 1) /* of a first token alone nothing is known */
        s = ask(worker, &k, answered);
    free(ids);
    return fail_in(s, "tokens %" PRId64 " to %" PRId64, of->window.first, of->window.end - 1);
}

static status work(crew_worker *worker, void *context) {
    job *j = context;
    for (;;) {
        slot *of;
        bool answered;
        TRY(take_window(j, &of));
        if (!of) return STATUS_OK;
        TRY(ask_window(worker, j, of, &answered));
        crew_lock(&j->w);
        of->done = answered;
        j->ended = j->ended || !answered;
        crew_unlock(&j->w);
        if (!answered) return STATUS_OK;
        TRY(crew_guarded(&j->w, hand_on_done, j));
    }
}

static status ask_all(const http_client *c, const scores_request *q, scores_result *r) {
    job j = {.w = {.like = c, .model = r->model, .most_requests = q->requests, .timeout = q->timeout},
             .q = q,
             .r = r,
             .url = scores_url(c, r->dialect),
             .next = r->there,
             .begun = r->there,
             .slot_count = AHEAD * q->parallel,
             .shown = progress_start("teach")};
    j.shown_url = url_shown(j.url);
    j.slots = xcalloc((size_t)j.slot_count, sizeof *j.slots);
    status s = crew_run(&j.w, q->parallel, work, &j);
    r->requests = j.w.requests;
    for (; j.handed < j.given; j.handed++) scores_close(&j.slots[j.handed % j.slot_count].scores);
    char detail[120];
    snprintf(detail, sizeof detail, "%" PRId64 " tokens, %" PRId64 " requests", r->there - j.begun, r->requests);
    if (s == STATUS_OK)
        progress_end(&j.shown, detail);
    else
        progress_clear(&j.shown);
    free(j.slots);
    free(j.shown_url);
    free(j.url);
    return s;
}

/* ---- the server ---- */

static status send_to(const http_client *like, double timeout, const char *url, const char *body, size_t body_bytes,
                      http_response *r) {
    http_client c;
    const http_request q = {
        .url = url, .body = body, .body_bytes = body_bytes, .most_bytes = SMALL_BYTES, .most_seconds = timeout};
    *r = (http_response){0};
    status s = http_open_like(&c, like);
    if (s == STATUS_OK) s = http_send(&c, &q, r);
    http_close(&c);
    return s;
}

/* llama.cpp has /props, and vLLM has none. */
static status find_dialect(const http_client *c, double timeout, scores_dialect *dialect) {
    char *url = scores_root_url(c, "props");
    http_response r;
    status s = send_to(c, timeout, url, NULL, 0, &r);
    *dialect = s == STATUS_OK ? SCORES_LLAMA_CPP : SCORES_ECHO;
    if (s == STATUS_FAILED && r.code >= 400 && r.code < 500 && r.code != 401 && r.code != 403) s = STATUS_OK;
    if (s != STATUS_OK) s = completion_explain(c, &r, NULL, s);
    http_response_clear(&r);
    free(url);
    return s;
}

static status check_vocabulary(const http_client *c, const scores_request *q, const char *model) {
    size_t body_bytes;
    char *url = scores_root_url(c, "tokenize"), *shown = url_shown(url),
         *body = scores_tokenize_body(model, q->sample, &body_bytes);
    http_response r;
    status s = send_to(c, q->timeout, url, body, body_bytes, &r);
    if (s == STATUS_FAILED && r.code == 404)
        s = fail("%s; without /tokenize nobody knows whether the server's model has this vocabulary", error_message());
    else
        s = completion_explain(c, &r, model, s);
    if (s == STATUS_OK) s = scores_parse_tokens(q->sample_ids, q->sample_count, c, (char *)r.body, r.bytes, shown);
    http_response_clear(&r);
    free(body);
    free(shown);
    free(url);
    return s;
}

status scores_fetch(const http_client *c, const scores_request *q, scores_result *r) {
    *r = (scores_result){0};
    if (q->model)
        r->model = xstrdup(q->model);
    else
        TRY(completion_find_model(c, q->timeout, &r->model));
    TRY(find_dialect(c, q->timeout, &r->dialect));
    TRY(check_vocabulary(c, q, r->model));
    TRY(q->begin(q->context, r->model, &r->there));
    return r->there < q->tokens ? ask_all(c, q, r) : STATUS_OK;
}
