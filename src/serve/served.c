#include "serve/served.h"

#include "base/memory.h"
#include "base/progress.h"
#include "eval/secretary.h"
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_SLOTS = 8, DEFAULT_WAITING = 64, /* the scheduler's */ SECRETARY_LONGEST = 2048 };

/* ---- starting and stopping ---- */

status served_start(served **out, model *m, const tokenizer *tok, const served_options *o) {
    served *s = xcalloc(1, sizeof *s);
    const int pieces = tokenizer_vocab_size(tok), vocab = m->config.vocab_size;
    *s = (served){
        .name = utf8_mended(o->name), .m = m, .tok = tok, .context = o->context, .created = (int64_t)time_of_day()};
    s->chat = chat_format_create(tokenizer_chat_template(tok));
    s->most_waiting = o->waiting ? o->waiting : DEFAULT_WAITING;
    s->limits = (request_limits){.model = s->name,
                                 .config = &m->config,
                                 .vocab = pieces < vocab ? pieces : vocab,
                                 .max_tokens = o->max_tokens ? o->max_tokens : o->context,
                                 .choices = o->choices};
    const scheduler_options options = {.slots = o->slots,
                                       .queue = o->queue,
                                       .context = o->context,
                                       .cache_bytes = o->cache_bytes,
                                       .drafts = o->drafts};
    const int room = (o->slots ? o->slots : DEFAULT_SLOTS) + (o->queue ? o->queue : DEFAULT_WAITING);
    if (s->limits.choices > room) s->limits.choices = room; /* more could never be accepted together */
    status outcome = side_pass_start(&s->side, m);
    if (outcome == STATUS_OK) outcome = scheduler_start(&s->scheduler, m, tok, &options);
    if (outcome != STATUS_OK) {
        served_stop(s);
        return outcome;
    }
    *out = s;
    return STATUS_OK;
}

void served_stop(served *s) {
    if (!s) return;
    scheduler_destroy(s->scheduler);
    side_pass_stop(s->side);
    chat_format_free(s->chat);
    free(s->name);
    free(s);
}

/* ---- prompts ---- */

/* Ids that are too many are freed. */
static status check_length(const served *s, const char *param, int32_t **ids, size_t count, api_error *e) {
    if (count < (size_t)s->context) return STATUS_OK;
    free(*ids);
    *ids = NULL;
    (void)api_refuse(e, HTTP_BAD_REQUEST, param, "expected fewer than %lld tokens, the context's length, found %zu",
                     (long long)s->context, count);
    return api_refuse_code(e, "context_length_exceeded");
}

/* A model is always asked about some token: of an empty text BOS, and where there is none the first id. */
static void mend_empty(const served *s, int32_t **ids, size_t *count) {
    if (*count > 0) return;
    const int bos = tokenizer_bos(s->tok);
    *ids = xrealloc(*ids, sizeof **ids);
    (*ids)[0] = bos >= 0 ? bos : 0;
    *count = 1;
}

status served_prompt_ids(const served *s, const request_prompt *p, const char *param, int32_t **ids, size_t *count,
                         api_error *e) {
    *ids = NULL;
    if (p->text) {
        if (tokenizer_encode_text(s->tok, p->text, strlen(p->text), ids, count) != STATUS_OK)
            return api_refuse_failure(e, HTTP_BAD_REQUEST, param);
    } else {
        *ids = xmalloc((p->id_count + 1) * sizeof **ids);
        *count = p->id_count;
        memcpy(*ids, p->ids, p->id_count * sizeof **ids);
    }
    mend_empty(s, ids, count);
    return check_length(s, param, ids, *count, e);
}

status served_chat_ids(const served *s, const chat_message *messages, int count, int32_t **ids, size_t *id_count,
                       api_error *e) {
    *ids = NULL;
    if (chat_encode(s->chat, s->tok, messages, count, true, ids, id_count) != STATUS_OK)
        return api_refuse_failure(e, HTTP_BAD_REQUEST, "messages");
    mend_empty(s, ids, id_count);
    return check_length(s, "messages", ids, *id_count, e);
}

/* ---- questions ---- */

status served_ask(served *s, side_work work, void *context, const still_wanted *wanted, api_error *e) {
    if (atomic_fetch_add(&s->waiting, 1) >= s->most_waiting) {
        atomic_fetch_sub(&s->waiting, 1);
        return api_refuse(e, HTTP_TOO_MANY, NULL, "expected at most %d requests that wait, found more: come again",
                          s->most_waiting);
    }
    const status outcome = side_pass_run(s->side, work, context, wanted);
    atomic_fetch_sub(&s->waiting, 1);
    if (outcome != STATUS_OK && !wanted->is(wanted->context))
        return api_refuse(e, HTTP_UNAVAILABLE, NULL, "the server stops");
    return outcome == STATUS_OK ? outcome : api_refuse_failure(e, HTTP_INTERNAL, NULL);
}

typedef struct question {
    const int32_t *ids;
    int64_t count, longest;
    double *probabilities;
} question;

static status ask_secretary(pass *p, void *context) {
    const question *q = context;
    return secretary_ask(p, NULL, q->ids, q->count, q->longest, q->probabilities);
}

status served_secretary(served *s, const int32_t *ids, size_t count, double *probabilities, const still_wanted *wanted,
                        api_error *e) {
    question q = {.ids = ids, .count = (int64_t)count, .probabilities = probabilities};
    q.longest = s->context < SECRETARY_LONGEST ? s->context : SECRETARY_LONGEST;
    return served_ask(s, ask_secretary, &q, wanted, e);
}
