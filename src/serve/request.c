#include "serve/request.h"

#include "base/memory.h"
#include "serve/request_parts.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- how long a text is ---- */

enum { DEFAULT_COMPLETION_TOKENS = 16 /* OpenAI's, where a plain completion does not say how many */ };

static status read_length(completion_request *r, const members *m, const request_limits *limits) {
    r->max_tokens = r->chat ? 0 : DEFAULT_COMPLETION_TOKENS;
    if (r->max_tokens > limits->max_tokens) r->max_tokens = limits->max_tokens;
    TRY(member_integer(m, "max_tokens", 1, limits->max_tokens, &r->max_tokens));
    TRY(member_integer(m, "max_completion_tokens", 1, limits->max_tokens, &r->max_tokens));
    if (r->max_tokens == 0) r->max_tokens = limits->max_tokens;
    return STATUS_OK;
}

static status add_stop(completion_request *r, const members *m, const cJSON *value) {
    if (!cJSON_IsString(value) || value->valuestring[0] == '\0' || strlen(value->valuestring) > STOP_BYTES)
        return value_refuse(m->e, "stop", value, "texts of 1 to %d bytes", STOP_BYTES);
    if (r->stop_count == REQUEST_STOPS)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "stop", "expected at most %d texts, found more", REQUEST_STOPS);
    r->stops[r->stop_count++] = value->valuestring;
    return STATUS_OK;
}

static status read_stops(completion_request *r, const members *m) {
    const cJSON *value = member(m, "stop"), *item;
    if (!value) return STATUS_OK;
    if (!cJSON_IsArray(value)) return add_stop(r, m, value);
    cJSON_ArrayForEach(item, value) TRY(add_stop(r, m, item));
    return STATUS_OK;
}

/* ---- what is told of it ---- */

/* Plain completions say how many alternatives, chats whether, and then how many. */
static status read_log_probs(completion_request *r, const members *m) {
    int64_t alternatives = -1;
    bool wanted = false;
    r->top_log_probs = -1;
    if (!r->chat) {
        const cJSON *value = member(m, "logprobs");
        if (cJSON_IsFalse(value)) return STATUS_OK; /* what clients of chats have at hand */
        TRY(member_integer(m, "logprobs", 0, TOP_LOG_PROBS_OF_TOKEN, &alternatives));
        r->top_log_probs = (int)alternatives;
        return STATUS_OK;
    }
    TRY(member_bool(m, "logprobs", &wanted));
    TRY(member_integer(m, "top_logprobs", 0, TOP_LOG_PROBS_OF_TOKEN, &alternatives));
    if (alternatives > 0 && !wanted)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "top_logprobs", "expected \"logprobs\": true beside it, found none");
    if (wanted) r->top_log_probs = alternatives > 0 ? (int)alternatives : 0;
    return STATUS_OK;
}

static status read_stream(completion_request *r, const members *m) {
    const cJSON *options = NULL;
    TRY(member_bool(m, "stream", &r->stream));
    TRY(member_object(m, "stream_options", &options));
    const members inner = {.object = options, .where = "stream_options", .e = m->e};
    return options ? member_bool(&inner, "include_usage", &r->include_usage) : STATUS_OK;
}

/* ---- how many ---- */

static status read_choices(completion_request *r, const members *m, const request_limits *limits) {
    const int prompts = r->chat ? 1 : r->prompt_count;
    int64_t n = 1, best;
    TRY(member_integer(m, "n", 1, limits->choices, &n));
    best = n;
    TRY(member_integer(m, "best_of", n, n, &best)); /* nothing is thrown away */
    if (n * prompts > limits->choices)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "n",
                          "expected at most %d texts of one request, found %d prompts times %d", limits->choices,
                          prompts, (int)n);
    r->n = (int)n;
    return STATUS_OK;
}

/* What moec does not do, and what would silently be something else. */
static status refuse_unknown_wishes(const members *m) {
    bool echo = false;
    const char *suffix = "";
    const cJSON *tools = NULL;
    TRY(member_bool(m, "echo", &echo));
    if (echo)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "echo", "expected false, found true: a prompt is not said again");
    TRY(member_text(m, "suffix", &suffix));
    if (*suffix)
        return api_refuse(m->e, HTTP_BAD_REQUEST, "suffix", "expected none, found one: texts are only continued");
    return member_array(m, "tools", &tools);
}

status completion_request_read(completion_request *r, bool chat, cJSON *body, const request_limits *limits,
                               api_error *e) {
    const members m = {.object = body, .where = "", .e = e};
    *r = (completion_request){.chat = chat, .body = body};
    TRY(model_name_read(&m, limits->model));
    TRY(chat ? messages_read(r, &m) : request_prompts_read(&m, "prompt", limits->vocab, &r->prompts, &r->prompt_count));
    TRY(read_choices(r, &m, limits));
    TRY(read_length(r, &m, limits));
    TRY(sampler_read(r, &m, limits->vocab));
    TRY(read_stops(r, &m));
    TRY(read_log_probs(r, &m));
    TRY(read_stream(r, &m));
    TRY(member_bool(&m, "routing", &r->routing));
    TRY(experts_request_read(&r->experts, &m, limits->config));
    return refuse_unknown_wishes(&m);
}

void completion_request_free(completion_request *r) {
    request_prompts_free(r->prompts, r->prompt_count);
    free(r->messages);
    free(r->biases);
    cJSON_Delete(r->body);
    *r = (completion_request){0};
}
