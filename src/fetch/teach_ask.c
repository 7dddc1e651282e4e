#include "fetch/teach_ask.h"
#include "base/progress.h"
#include "fetch/crew.h"
#include "fetch/url.h"
#include <inttypes.h>
#include <stdlib.h>

/* What the workers share, under the crew's lock. */
typedef struct job {
    crew w;
    const teach_request *q;
    questions *all;
    char *const *paths;
    char *url, *shown_url;
    teach_result *r;
    size_t next; /* question to be given out */
    int64_t begun_open, tokens;
    progress shown;
} job;

typedef struct asked {
    job *j;
    question *of;
    completion_request question;
    completion answer;
} asked;

static question *take_question(job *j) {
    question *taken = NULL;
    crew_lock(&j->w);
    while (!taken && !crew_is_over(&j->w) && j->next < j->all->count) {
        question *next = &j->all->list[j->next++];
        if (!next->answered) taken = next;
    }
    crew_unlock(&j->w);
    return taken;
}

static void show(job *j) {
    char detail[160];
    const int64_t done = j->begun_open - j->r->open;
    const double seconds = clock_seconds() - j->shown.started;
    double fraction = (double)done / (double)j->begun_open;
    if (j->w.most_requests && (double)j->w.requests / (double)j->w.most_requests > fraction)
        fraction = (double)j->w.requests / (double)j->w.most_requests;
    snprintf(detail, sizeof detail, "%" PRId64 " of %" PRId64 " answers, %" PRId64 " requests, %.0f tokens/s", done,
             j->begun_open, j->w.requests, (double)j->tokens / (seconds > 0 ? seconds : 1));
    progress_show(&j->shown, fraction, detail);
}

static status keep(void *context) {
    asked *k = context;
    job *j = k->j;
    const int domain = k->of->domain;
    TRY(teach_file_append(j->paths[domain], &k->question, &k->answer));
    k->of->answered = true;
    teach_count(&j->r->domains[domain], k->answer.text, k->answer.finish, k->answer.completion_tokens);
    j->r->asked[domain]++;
    j->r->open--;
    if (k->answer.completion_tokens > 0) j->tokens += k->answer.completion_tokens;
    show(j);
    return STATUS_OK;
}

static status parse(void *context, const http_client *c, char *text, size_t bytes) {
    asked *k = context;
    completion_free(&k->answer);
    return completion_parse(&k->answer, k->j->q->chat, c, text, bytes, k->j->shown_url);
}

static status ask(crew_worker *worker, job *j, question *of) {
    const prompt_domain *d = &j->q->prompts->domains[of->domain];
    char *prompt = question_text(j->all, of), *body;
    bool answered;
    asked k = {.j = j,
               .of = of,
               .question = {.chat = j->q->chat,
                            .model = j->r->model,
                            .system = d->system,
                            .prompt = prompt,
                            .temperature = j->q->temperature,
                            .max_tokens = j->q->max_tokens,
                            .seed = of->seed}};
    http_request q = {.url = j->url, .most_bytes = COMPLETION_BYTES, .most_seconds = j->q->timeout};
    q.body = body = completion_body(&k.question, &q.body_bytes);
    status s = crew_ask(worker, &q, parse, &k, &answered);
    if (s == STATUS_OK && answered) s = crew_guarded(&j->w, keep, &k);
    completion_free(&k.answer);
    free(body);
    free(prompt);
    return fail_in(s, "%s, prompt %d", d->name, of->prompt + 1);
}

static status work(crew_worker *worker, void *context) {
    for (question *next; (next = take_question(context));) TRY(ask(worker, context, next));
    return STATUS_OK;
}

status teach_ask(const http_client *c, const teach_request *q, questions *all, char *const *paths, teach_result *r) {
    job j = {.w = {.like = c, .model = r->model, .most_requests = q->requests, .timeout = q->timeout},
             .q = q,
             .all = all,
             .paths = paths,
             .url = completion_url(c, q->chat ? "chat/completions" : "completions"),
             .r = r,
             .begun_open = r->open,
             .shown = progress_start("teach")};
    j.shown_url = url_shown(j.url);
    status s = crew_run(&j.w, (int64_t)q->parallel < r->open ? q->parallel : (int)r->open, work, &j);
    r->requests = j.w.requests;
    char detail[120];
    snprintf(detail, sizeof detail, "%" PRId64 " answers, %" PRId64 " requests", j.begun_open - r->open, r->requests);
    if (s == STATUS_OK)
        progress_end(&j.shown, detail);
    else
        progress_clear(&j.shown);
    free(j.shown_url);
    free(j.url);
    return s;
}
