#include "serve/answer_json.h"

#include "base/memory.h"
#include "base/progress.h"
#include "nn/expert_names.h"
#include "serve/json_text.h"
#include "serve/log_probs_json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* One text. */
typedef struct said_text {
    bool began;     /* its first chunk is out */
    int32_t prev;   /* the token before the next one */
    int64_t offset; /* characters so far */
    char *text;     /* collected */
    size_t bytes, capacity;
    cJSON *log_probs, *tokens; /* collected; NULL: none */
    bool ended;
    end_reason reason;
    int64_t prompt_tokens, cached_tokens, completion_tokens;
} said_text;

struct answer_writer {
    const served *s;
    const completion_request *r;
    const answer *a;
    said_text *texts;
    int count;
    char id[48];
    int64_t created;
    answer_tally tally;
};

answer_writer *answer_writer_create(const served *s, const completion_request *r, const answer *a) {
    answer_writer *w = xcalloc(1, sizeof *w);
    uint64_t number = 0;
    *w = (answer_writer){.s = s, .r = r, .a = a, .count = answer_count(a), .created = (int64_t)time_of_day()};
    if (getrandom(&number, sizeof number, 0) < 0) number = (uint64_t)(clock_seconds() * 1e9);
    snprintf(w->id, sizeof w->id, "%s-%016llx", r->chat ? "chatcmpl" : "cmpl", (unsigned long long)number);
    w->texts = xcalloc((size_t)w->count, sizeof *w->texts);
    for (int i = 0; i < w->count; i++) w->texts[i].prev = answer_last_prompt_token(a, i);
    return w;
}

void answer_writer_free(answer_writer *w) {
    if (!w) return;
    for (int i = 0; i < w->count; i++) {
        free(w->texts[i].text);
        cJSON_Delete(w->texts[i].log_probs);
        cJSON_Delete(w->texts[i].tokens);
    }
    free(w->texts);
    free(w);
}

const answer_tally *answer_writer_tally(const answer_writer *w) {
    return &w->tally;
}

/* ---- what both have ---- */

static void add_log_probs(const answer_writer *w, said_text *t, const token_event *token, cJSON **list) {
    if (w->r->top_log_probs < 0) return;
    if (w->r->chat)
        chat_log_probs_add(list, w->s->tok, token, t->prev);
    else
        text_log_probs_add(list, w->s->tok, token, t->prev, t->offset);
}

static int64_t characters(const char *text, size_t bytes) {
    int64_t count = 0;
    for (size_t i = 0; i < bytes; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

/* What a token is as a text counts, whatever of it waits for a stop string or for the rest of a character. */
static void note_token(const answer_writer *w, said_text *t, const token_event *token) {
    int bytes;
    const char *text = tokenizer_token_text(w->s->tok, token->id, t->prev, &bytes);
    t->prev = token->id;
    t->offset += characters(text, (size_t)bytes);
}

/* What was held back for a stop string that did not come belongs to the last token, but that is out: it is an entry of
 * its own. */
static cJSON *held_json(const text_end *end) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNullToObject(json, "id");
    json_add_text(json, "text", end->text, end->bytes);
    cJSON_AddArrayToObject(json, "layers");
    return json;
}

static void note_end(answer_writer *w, said_text *t, const said *x) {
    static const int badness[END_REASONS] = {[END_STOP] = 0, [END_LENGTH] = 1, [END_CANCELLED] = 2, [END_ERROR] = 3};
    const text_end *end = &x->end;
    answer_tally *sum = &w->tally;
    t->ended = true;
    t->reason = end->reason;
    t->completion_tokens = end->completion_tokens;
    sum->completion_tokens += end->completion_tokens;
    if (x->choice % w->r->n == 0) { /* n texts share a prompt */
        sum->prompt_tokens += end->prompt_tokens;
        sum->cached_tokens += end->cached_tokens;
    }
    if (end->queue_seconds > sum->queue_seconds) sum->queue_seconds = end->queue_seconds;
    if (end->first_token_seconds > sum->first_token_seconds) sum->first_token_seconds = end->first_token_seconds;
    if (badness[end->reason] > badness[sum->worst]) sum->worst = end->reason;
    if (end->reason == END_ERROR) snprintf(sum->error, sizeof sum->error, "%.190s", end->error);
}

static void add_secretary(const answer_writer *w, cJSON *moec, int choice) {
    const secretary_answer *q = answer_secretary(w->a, choice);
    if (!q) return;
    const moe_config *c = &w->s->m->config.moe;
    cJSON *json = cJSON_AddObjectToObject(moec, "secretary"), *list;
    cJSON_AddNumberToObject(json, "expert", q->expert);
    cJSON_AddItemToObject(
        json, "name", q->expert < c->names.count ? cJSON_CreateString(c->names.label[q->expert]) : cJSON_CreateNull());
    list = cJSON_AddArrayToObject(json, "probabilities");
    for (int e = 0; e < c->experts; e++) cJSON_AddItemToArray(list, float_json(q->probabilities[e]));
}

static cJSON *envelope(const answer_writer *w, const char *object) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", w->id);
    cJSON_AddStringToObject(json, "object", object);
    cJSON_AddNumberToObject(json, "created", (double)w->created);
    cJSON_AddStringToObject(json, "model", w->s->name);
    return json;
}

static cJSON *usage_json(const answer_tally *t) {
    cJSON *json = cJSON_CreateObject(), *details;
    cJSON_AddNumberToObject(json, "prompt_tokens", (double)t->prompt_tokens);
    cJSON_AddNumberToObject(json, "completion_tokens", (double)t->completion_tokens);
    cJSON_AddNumberToObject(json, "total_tokens", (double)(t->prompt_tokens + t->completion_tokens));
    details = cJSON_AddObjectToObject(json, "prompt_tokens_details");
    cJSON_AddNumberToObject(details, "cached_tokens", (double)t->cached_tokens);
    return json;
}

/* null where it is NULL; the object becomes json's */
static void add_or_null(cJSON *json, const char *key, cJSON *value) {
    cJSON_AddItemToObject(json, key, value ? value : cJSON_CreateNull());
}

/* ---- in chunks ---- */

static void add_text(const answer_writer *w, cJSON *choice, said_text *t, const char *text, size_t bytes, bool always) {
    if (!w->r->chat) {
        json_add_text(choice, "text", text, bytes);
        return;
    }
    cJSON *delta = cJSON_AddObjectToObject(choice, "delta");
    if (!t->began) cJSON_AddStringToObject(delta, "role", "assistant");
    if (!t->began || always || bytes > 0) json_add_text(delta, "content", text, bytes);
}

static cJSON *moec_chunk(const answer_writer *w, const said *x) {
    cJSON *moec = cJSON_CreateObject();
    if (w->r->routing) {
        cJSON *tokens = cJSON_AddArrayToObject(moec, "tokens");
        if (!x->is_end)
            cJSON_AddItemToArray(tokens, routing_json(&x->token));
        else if (x->end.bytes > 0)
            cJSON_AddItemToArray(tokens, held_json(&x->end));
    }
    if (x->is_end) add_secretary(w, moec, x->choice);
    return moec;
}

cJSON *answer_chunk(answer_writer *w, const said *x) {
    said_text *t = &w->texts[x->choice];
    cJSON *log_probs = NULL;
    if (x->is_end) note_end(w, t, x);
    if (!x->is_end) {
        add_log_probs(w, t, &x->token, &log_probs);
        note_token(w, t, &x->token);
        if (t->began && x->token.bytes == 0 && !log_probs && !w->r->routing) return NULL;
    }
    cJSON *json = envelope(w, w->r->chat ? "chat.completion.chunk" : "text_completion");
    cJSON *choices = cJSON_AddArrayToObject(json, "choices"), *choice = cJSON_CreateObject();
    cJSON_AddItemToArray(choices, choice);
    cJSON_AddNumberToObject(choice, "index", x->choice);
    add_text(w, choice, t, x->is_end ? x->end.text : x->token.text, x->is_end ? x->end.bytes : (size_t)x->token.bytes,
             !x->is_end);
    t->began = true;
    add_or_null(choice, "logprobs", log_probs);
    add_or_null(choice, "finish_reason", x->is_end ? cJSON_CreateString(end_reason_name(x->end.reason)) : NULL);
    if (w->r->routing || (x->is_end && w->r->experts.secretary))
        cJSON_AddItemToObject(choice, "moec", moec_chunk(w, x));
    if (w->r->include_usage) cJSON_AddNullToObject(json, "usage");
    return json;
}

cJSON *answer_usage_chunk(const answer_writer *w) {
    cJSON *json = envelope(w, w->r->chat ? "chat.completion.chunk" : "text_completion");
    cJSON_AddArrayToObject(json, "choices");
    cJSON_AddItemToObject(json, "usage", usage_json(&w->tally));
    return json;
}

/* ---- whole ---- */

static void append(said_text *t, const char *text, size_t bytes) {
    if (t->bytes + bytes + 1 > t->capacity) {
        t->capacity = 2 * (t->bytes + bytes) + 64;
        t->text = xrealloc(t->text, t->capacity);
    }
    memcpy(t->text + t->bytes, text, bytes);
    t->bytes += bytes;
    t->text[t->bytes] = '\0';
}

void answer_collect(answer_writer *w, const said *x) {
    said_text *t = &w->texts[x->choice];
    cJSON *token = NULL;
    if (x->is_end) {
        append(t, x->end.text, x->end.bytes);
        note_end(w, t, x);
        if (x->end.bytes > 0) token = held_json(&x->end);
    } else {
        append(t, x->token.text, x->token.bytes);
        add_log_probs(w, t, &x->token, &t->log_probs);
        note_token(w, t, &x->token);
        token = routing_json(&x->token);
    }
    if (!w->r->routing || !token) {
        cJSON_Delete(token);
        return;
    }
    if (!t->tokens) t->tokens = cJSON_CreateArray();
    cJSON_AddItemToArray(t->tokens, token);
}

static cJSON *whole_choice(answer_writer *w, int i) {
    said_text *t = &w->texts[i];
    cJSON *json = cJSON_CreateObject(), *holder = json;
    cJSON_AddNumberToObject(json, "index", i);
    if (w->r->chat) {
        holder = cJSON_AddObjectToObject(json, "message");
        cJSON_AddStringToObject(holder, "role", "assistant");
    }
    json_add_text(holder, w->r->chat ? "content" : "text", t->text ? t->text : "", t->bytes);
    if (w->r->chat) cJSON_AddNullToObject(holder, "refusal");
    add_or_null(json, "logprobs", t->log_probs);
    t->log_probs = NULL;
    cJSON_AddStringToObject(json, "finish_reason", end_reason_name(t->reason));
    if (!w->r->routing && !w->r->experts.secretary) return json;
    cJSON *moec = cJSON_AddObjectToObject(json, "moec");
    if (w->r->routing) cJSON_AddItemToObject(moec, "tokens", t->tokens ? t->tokens : cJSON_CreateArray());
    t->tokens = NULL;
    add_secretary(w, moec, i);
    return json;
}

cJSON *answer_whole(answer_writer *w) {
    cJSON *json = envelope(w, w->r->chat ? "chat.completion" : "text_completion");
    cJSON *choices = cJSON_AddArrayToObject(json, "choices");
    for (int i = 0; i < w->count; i++) cJSON_AddItemToArray(choices, whole_choice(w, i));
    cJSON_AddItemToObject(json, "usage", usage_json(&w->tally));
    return json;
}
