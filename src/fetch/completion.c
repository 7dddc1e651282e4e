#include "fetch/completion.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include "fetch/json_members.h"
#include "fetch/mend.h"
#include "fetch/row.h"
#include "fetch/url.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SHOWN = 200, MOST_LISTED = 600, MODELS_BYTES = 8 << 20 };

/* ---- the question ---- */

char *completion_url(const http_client *c, const char *path) {
    const char *host = strstr(c->endpoint, "://") + 3;
    return xasprintf("%s%s/%s", c->endpoint, strchr(host, '/') ? "" : "/v1", path);
}

void completion_put_number(FILE *out, double number) {
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    fputs(text, out);
}

static void put_message(FILE *out, const char *role, const char *content) {
    fprintf(out, "{\"role\": \"%s\", \"content\": ", role);
    row_put_string(out, content);
    fputc('}', out);
}

char *completion_body(const completion_request *q, size_t *bytes) {
    text_stream t;
    FILE *out = text_stream_begin(&t);
    fputs("{\"model\": ", out);
    row_put_string(out, q->model);
    if (q->chat) {
        fputs(", \"messages\": [", out);
        if (q->system) put_message(out, "system", q->system);
        if (q->system) fputs(", ", out);
        put_message(out, "user", q->prompt);
        fputc(']', out);
    } else {
        char *text = q->system ? xasprintf("%s\n\n%s", q->system, q->prompt) : xstrdup(q->prompt);
        fputs(", \"prompt\": ", out);
        row_put_string(out, text);
        free(text);
    }
    fputs(", \"temperature\": ", out);
    completion_put_number(out, q->temperature);
    fprintf(out, ", \"max_tokens\": %" PRId64 ", \"seed\": %" PRId64 "}", q->max_tokens, q->seed);
    char *body = text_stream_end(&t);
    *bytes = t.bytes;
    return body;
}

/* ---- the answer ---- */

void completion_free(completion *a) {
    free(a->text);
    free(a->model);
    free(a->finish);
    *a = (completion){0};
}

static status take_tokens(json_members *p, int64_t *count) {
    uint64_t tokens;
    if (json_take_null(p)) return STATUS_OK;
    if (!json_scan_size(&p->scan, &tokens)) return json_malformed(p, "a number of tokens");
    *count = (int64_t)tokens;
    return STATUS_OK;
}

typedef struct answer {
    completion *a;
    bool chat, chosen;
    char *error; /* what the server says went wrong; NULL: nothing */
} answer;

static status take_usage(json_members *p, void *context, bool *taken) {
    completion *a = ((answer *)context)->a;
    if (strcmp(p->text, "prompt_tokens") == 0) return take_tokens(p, &a->prompt_tokens);
    if (strcmp(p->text, "completion_tokens") == 0) return take_tokens(p, &a->completion_tokens);
    *taken = false;
    return STATUS_OK;
}

static status take_message(json_members *p, void *context, bool *taken) {
    if (strcmp(p->text, "content") == 0)
        return json_take_text(p, &((answer *)context)->a->text, "a message's content, a text");
    *taken = false;
    return STATUS_OK;
}

static status take_choice(json_members *p, void *context, bool *taken) {
    answer *x = context;
    if (x->chat && strcmp(p->text, "message") == 0) {
        x->chosen = true;
        return json_take_members(p, "a message", take_message, x);
    }
    if (!x->chat && strcmp(p->text, "text") == 0) {
        x->chosen = true;
        return json_take_text(p, &x->a->text, "a choice's text");
    }
    if (strcmp(p->text, "finish_reason") == 0) return json_take_text(p, &x->a->finish, "a finish_reason");
    *taken = false;
    return STATUS_OK;
}

static status take_choices(json_members *p, answer *x) {
    if (!json_scan_take(&p->scan, '[')) return json_malformed(p, "a list of choices");
    if (json_scan_take(&p->scan, ']')) return STATUS_OK;
    TRY(json_take_members(p, "a choice", take_choice, x));
    while (json_scan_take(&p->scan, ','))
        if (!json_scan_skip(&p->scan)) return json_malformed(p, "a choice"); /* one was asked for */
    return json_scan_take(&p->scan, ']') ? STATUS_OK : json_malformed(p, "']' behind the choices");
}

static status take_answer(json_members *p, void *context, bool *taken) {
    answer *x = context;
    if (strcmp(p->text, "choices") == 0) return take_choices(p, x);
    if (strcmp(p->text, "model") == 0) return json_take_text(p, &x->a->model, "a model's name");
    if (strcmp(p->text, "usage") == 0)
        return json_take_null(p) ? STATUS_OK : json_take_members(p, "usage", take_usage, x);
    if (strcmp(p->text, "error") == 0) return json_take_excerpt(p, &x->error, "an error");
    *taken = false;
    return STATUS_OK;
}

status completion_refused(const http_client *c, const char *error, const char *where) {
    char *shown = http_shown(c, error, MOST_SHOWN);
    status s = fail("%s: the server says: %s", where, shown);
    free(shown);
    return s;
}

status completion_parse(completion *a, bool chat, const http_client *c, char *text, size_t bytes, const char *where) {
    answer x = {.a = a, .chat = chat};
    *a = (completion){.prompt_tokens = -1, .completion_tokens = -1};
    mend_utf8(text, bytes);
    mend_escapes(text, bytes);
    json_members p = {
        .scan = {text, text + bytes}, .where = where, .what = " in the answer", .text = xmalloc(bytes + 1)};
    status s = json_take_whole(&p, take_answer, &x);
    if (s == STATUS_OK && x.error)
        s = completion_refused(c, x.error, where);
    else if (s == STATUS_OK && !x.chosen)
        s = fail("%s: expected a choice with a %s, found none", where, chat ? "message" : "text");
    if (s == STATUS_OK && !a->text) a->text = xstrdup("");
    free(x.error);
    free(p.text);
    return s;
}

/* ---- models ---- */

typedef struct models {
    const http_client *c;
    char *only, *list; /* names with commas */
    int count;
    char *error;
} models;

static status take_model(json_members *p, void *context, bool *taken) {
    models *m = context;
    *taken = strcmp(p->text, "id") == 0;
    if (!*taken) return STATUS_OK;
    TRY(json_take_text(p, &m->only, "a model's name"));
    m->count++;
    if (!m->only || strlen(m->list) > MOST_LISTED) return STATUS_OK;
    char *shown = http_shown(m->c, m->only, 80), *longer = xasprintf("%s%s%s", m->list, *m->list ? ", " : "", shown);
    free(shown);
    free(m->list);
    m->list = longer;
    return STATUS_OK;
}

static status take_models(json_members *p, void *context, bool *taken) {
    models *m = context;
    if (strcmp(p->text, "error") == 0) return json_take_excerpt(p, &m->error, "an error");
    *taken = strcmp(p->text, "data") == 0;
    if (!*taken) return STATUS_OK;
    if (!json_scan_take(&p->scan, '[')) return json_malformed(p, "a list of models");
    if (json_scan_take(&p->scan, ']')) return STATUS_OK;
    do TRY(json_take_members(p, "a model", take_model, m));
    while (json_scan_take(&p->scan, ','));
    return json_scan_take(&p->scan, ']') ? STATUS_OK : json_malformed(p, "']' behind the models");
}

status completion_parse_models(char **model, const http_client *c, char *text, size_t bytes, const char *where) {
    models m = {.c = c, .list = xstrdup("")};
    *model = NULL;
    mend_utf8(text, bytes);
    mend_escapes(text, bytes);
    json_members p = {
        .scan = {text, text + bytes}, .where = where, .what = " in the list of models", .text = xmalloc(bytes + 1)};
    status s = json_take_whole(&p, take_models, &m);
    if (s == STATUS_OK && m.error)
        s = completion_refused(c, m.error, where);
    else if (s == STATUS_OK && m.count != 1)
        s = m.count ? fail_usage("%s: which model? Choose with --model among %s", where, m.list)
                    : fail_usage("%s: lists no models; name one with --model", where);
    else if (s == STATUS_OK && !m.only)
        s = fail_usage("%s: lists a model without a name; name one with --model", where);
    if (s == STATUS_OK)
        *model = m.only;
    else
        free(m.only);
    free(m.error);
    free(m.list);
    free(p.text);
    return s;
}

status completion_explain(const http_client *c, const http_response *r, const char *model, status s) {
    if (s != STATUS_FAILED) return s;
    if (r->code == 401 || r->code == 403)
        return fail("%s; %s", error_message(),
                    c->token ? "the key in MOEC_API_KEY or OPENAI_API_KEY does not open it"
                             : "a key for it goes into MOEC_API_KEY or OPENAI_API_KEY");
    if (r->code != 404) return s;
    char *shown = text_shown(model ? model : "", 80);
    s = fail("%s; there is no such path (--endpoint) or no model%s%s%s", error_message(), model ? " " : "", shown,
             model ? " (--model)" : "");
    free(shown);
    return s;
}

status completion_find_model(const http_client *like, double timeout, char **model) {
    http_client c;
    http_response r = {0};
    char *url = completion_url(like, "models"), *shown = url_shown(url);
    const http_request q = {.url = url, .most_bytes = MODELS_BYTES, .most_seconds = timeout};
    *model = NULL;
    status s = http_open_like(&c, like);
    if (s == STATUS_OK) s = completion_explain(like, &r, NULL, http_send(&c, &q, &r));
    if (s == STATUS_OK) s = completion_parse_models(model, like, (char *)r.body, r.bytes, shown);
    http_response_clear(&r);
    http_close(&c);
    free(shown);
    free(url);
    return s;
}
