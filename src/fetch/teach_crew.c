#include "fetch/teach_crew.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "fetch/url.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_MILLISECONDS = 20 };

typedef struct crew {
    const http_client *like;
    const teach_request *q;
    questions *all;
    char *const *paths;
    char *url, *shown_url;
    pthread_mutex_t mutex; /* of all that follows, of all->list, r and the files */
    teach_result *r;
    size_t next; /* question to be given out */
    double not_before;
    int64_t begun_open, tokens;
    progress shown;
    status outcome; /* of the first worker that failed */
    char *message;
    uint64_t noted; /* the last note: workers that wait for the same say it once */
    atomic_bool stop;
} crew;

typedef struct worker {
    crew *w;
    http_client c;
    completion_request question;
    question *of;
    completion answer;
    http_response r;
} worker;

/* ---- what workers share ---- */

static void lock_crew(crew *w) {
    pthread_mutex_lock(&w->mutex);
}

static void unlock_crew(crew *w) {
    pthread_mutex_unlock(&w->mutex);
}

/* The first failure is the crew's; nobody begins anything afterwards. */
static void give_up(crew *w, status s) {
    lock_crew(w);
    if (w->outcome == STATUS_OK) {
        w->outcome = s;
        w->message = strdup(error_message());
    }
    w->stop = true;
    unlock_crew(w);
}

static bool is_spent(const crew *w) {
    return w->q->requests && w->r->requests >= w->q->requests;
}

static question *take_question(crew *w) {
    question *taken = NULL;
    lock_crew(w);
    while (!taken && !w->stop && !is_spent(w) && w->next < w->all->count) {
        question *next = &w->all->list[w->next++];
        if (!next->answered) taken = next;
    }
    unlock_crew(w);
    return taken;
}

/* One request of the budget. */
static bool take_request(crew *w) {
    lock_crew(w);
    const bool there = !w->stop && !is_spent(w);
    if (there) w->r->requests++;
    unlock_crew(w);
    return there;
}

static void settle_request(crew *w, const http_response *r) {
    lock_crew(w);
    if (!r->reached) w->r->requests--;
    const double until = r->wait > 0 && r->again ? clock_seconds() + r->wait : 0;
    if (until > w->not_before) w->not_before = until;
    unlock_crew(w);
}

static status wait_until(crew *w, double own) {
    const struct timespec slice = {.tv_nsec = POLL_MILLISECONDS * 1000000L};
    for (;;) {
        lock_crew(w);
        const double shared = w->not_before;
        unlock_crew(w);
        if (w->stop || clock_seconds() >= (own > shared ? own : shared)) return STATUS_OK;
        if (interrupt_requested()) return fail("interrupted while waiting"), STATUS_INTERRUPTED;
        nanosleep(&slice, NULL);
    }
}

static void show(crew *w) {
    char detail[160];
    const int64_t done = w->begun_open - w->r->open, wanted = w->begun_open;
    const double seconds = clock_seconds() - w->shown.started;
    double fraction = (double)done / (double)wanted;
    if (w->q->requests && (double)w->r->requests / (double)w->q->requests > fraction)
        fraction = (double)w->r->requests / (double)w->q->requests;
    snprintf(detail, sizeof detail, "%" PRId64 " of %" PRId64 " answers, %" PRId64 " requests, %.0f tokens/s", done,
             wanted, w->r->requests, (double)w->tokens / (seconds > 0 ? seconds : 1));
    progress_show(&w->shown, fraction, detail);
}

/* Under the mutex, and guarded: whoever gives up for want of memory must not keep it. */
static status keep_answer(void *context) {
    worker *k = context;
    crew *w = k->w;
    const int domain = k->of->domain;
    TRY(teach_file_append(w->paths[domain], &k->question, &k->answer));
    k->of->answered = true;
    teach_count(&w->r->domains[domain], k->answer.text, k->answer.finish, k->answer.completion_tokens);
    w->r->asked[domain]++;
    w->r->open--;
    if (k->answer.completion_tokens > 0) w->tokens += k->answer.completion_tokens;
    show(w);
    return STATUS_OK;
}

/* ---- one question ---- */

static status keep(worker *k) {
    lock_crew(k->w);
    status s = memory_guarded(keep_answer, k);
    unlock_crew(k->w);
    return s;
}

/* STATUS_OK: the answer is in k->answer. */
static status attempt(worker *k, const http_request *q) {
    crew *w = k->w;
    status s = http_attempt(&k->c, q, &k->r);
    settle_request(w, &k->r);
    if (s != STATUS_OK) return completion_explain(&k->c, &k->r, w->r->model, s);
    completion_free(&k->answer);
    s = completion_parse(&k->answer, w->q->chat, &k->c, (char *)k->r.body, k->r.bytes, w->shown_url);
    k->r.again = s != STATUS_OK; /* a server that is sound otherwise sends such a thing once */
    return s;
}

static status ask(worker *k, const http_request *q) {
    crew *w = k->w;
    double until = 0, pause;
    for (int number = 1;; number++) {
        TRY(wait_until(w, until));
        if (!take_request(w)) return STATUS_OK;
        http_response_clear(&k->r);
        status s = attempt(k, q);
        if (s == STATUS_OK) return keep(k);
        if (!k->r.again || s == STATUS_INTERRUPTED) return s;
        TRY(http_again(&k->c, &k->r, number, &pause));
        until = clock_seconds() + pause;
    }
}

static status ask_question(worker *k) {
    crew *w = k->w;
    const prompt_domain *d = &w->q->prompts->domains[k->of->domain];
    char *prompt = question_text(w->all, k->of), *body;
    k->question = (completion_request){.chat = w->q->chat,
                                       .model = w->r->model,
                                       .system = d->system,
                                       .prompt = prompt,
                                       .temperature = w->q->temperature,
                                       .max_tokens = w->q->max_tokens,
                                       .seed = k->of->seed};
    http_request q = {.url = w->url, .most_bytes = COMPLETION_BYTES, .most_seconds = w->q->timeout};
    q.body = body = completion_body(&k->question, &q.body_bytes);
    status s = fail_in(ask(k, &q), "%s, prompt %d", d->name, k->of->prompt + 1);
    free(body);
    free(prompt);
    return s;
}

/* ---- a worker ---- */

static void note(void *context, const char *line) {
    crew *w = context;
    const uint64_t of = crc64(0, line, strlen(line));
    lock_crew(w);
    const bool again = of == w->noted;
    w->noted = of;
    unlock_crew(w);
    if (!again && w->like->note) w->like->note(w->like->note_context, line);
}

static status work(void *context) {
    worker *k = context;
    TRY(http_open_like(&k->c, k->w->like));
    k->c.stall_seconds = k->w->q->timeout; /* nothing comes while the model writes */
    k->c.least_speed = 0;
    k->c.note = note;
    k->c.note_context = k->w;
    while ((k->of = take_question(k->w))) TRY(ask_question(k));
    return STATUS_OK;
}

static void *run_worker(void *context) {
    worker *k = context;
    status s = memory_guarded(work, k);
    if (s != STATUS_OK) give_up(k->w, s);
    completion_free(&k->answer);
    http_response_clear(&k->r);
    http_close(&k->c);
    return NULL;
}

static status run_crew(crew *w) {
    const int count = (int64_t)w->q->parallel < w->r->open ? w->q->parallel : (int)w->r->open;
    pthread_t *threads = xcalloc((size_t)count, sizeof *threads);
    worker *workers = xcalloc((size_t)count, sizeof *workers);
    int started = 0;
    status s = STATUS_OK;
    for (; started < count; started++) {
        workers[started].w = w;
        const int error = pthread_create(&threads[started], NULL, run_worker, &workers[started]);
        if (error == 0) continue;
        if (started == 0) s = fail("cannot start a thread: %s", strerror(error)); /* else fewer do it */
        break;
    }
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    free(workers);
    free(threads);
    return s;
}

status crew_ask(const http_client *c, const teach_request *q, questions *all, char *const *paths, teach_result *r) {
    crew w = {.like = c,
              .q = q,
              .all = all,
              .paths = paths,
              .url = completion_url(c, q->chat ? "chat/completions" : "completions"),
              .r = r,
              .begun_open = r->open,
              .shown = progress_start("teach")};
    w.shown_url = url_shown(w.url);
    pthread_mutex_init(&w.mutex, NULL);
    status s = run_crew(&w);
    if (s == STATUS_OK && w.outcome != STATUS_OK) {
        fail("%s", w.message ? w.message : "out of memory");
        s = w.outcome;
    }
    pthread_mutex_destroy(&w.mutex);
    char detail[120];
    snprintf(detail, sizeof detail, "%" PRId64 " answers, %" PRId64 " requests", w.begun_open - r->open, r->requests);
    if (s == STATUS_OK)
        progress_end(&w.shown, detail);
    else
        progress_clear(&w.shown);
    free(w.message);
    free(w.shown_url);
    free(w.url);
    return s;
}
