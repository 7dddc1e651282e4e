#include "serve/log_probs_json.h"

#include "base/memory.h"
#include "serve/json_text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *token_text(const tokenizer *tok, int32_t id, int32_t prev) {
    int bytes;
    const char *text = tokenizer_token_text(tok, id, prev, &bytes);
    const bool shown = bytes > 0 && !memchr(text, 0, (size_t)bytes);
    char *copy = shown ? xasprintf("%.*s", bytes, text) : xstrdup(tokenizer_piece(tok, id)),
         *mended = utf8_mended(copy);
    free(copy);
    return mended;
}

/* As OpenAI's completions name a token that is no text by itself: "bytes:\\xf0\\x9f". */
static char *token_name(const tokenizer *tok, int32_t id, int32_t prev) {
    int count;
    const char *bytes = tokenizer_token_text(tok, id, prev, &count);
    if (utf8_valid_prefix(bytes, (size_t)count) == (size_t)count) return token_text(tok, id, prev);
    char *name = xmalloc(sizeof "bytes:" + 4 * (size_t)count);
    size_t at = (size_t)sprintf(name, "bytes:");
    for (int i = 0; i < count; i++) at += (size_t)sprintf(name + at, "\\x%02x", (unsigned char)bytes[i]);
    return name;
}

static void add_number(cJSON *list, double number) {
    cJSON_AddItemToArray(list, cJSON_CreateNumber(number));
}

cJSON *float_json(double number) {
    char text[32];
    if (!isfinite(number)) return cJSON_CreateNull();
    snprintf(text, sizeof text, "%.9g", number);
    return cJSON_CreateRaw(text);
}

/* {"token", "logprob", "bytes"} */
static cJSON *one_log_prob(const tokenizer *tok, int32_t id, int32_t prev, float log_prob) {
    int count;
    const unsigned char *bytes = (const unsigned char *)tokenizer_token_text(tok, id, prev, &count);
    char *text = token_text(tok, id, prev);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "token", text);
    cJSON_AddItemToObject(json, "logprob", float_json((double)log_prob));
    cJSON *list = cJSON_AddArrayToObject(json, "bytes");
    for (int i = 0; i < count; i++) add_number(list, bytes[i]);
    free(text);
    return json;
}

void chat_log_probs_add(cJSON **list, const tokenizer *tok, const token_event *token, int32_t prev) {
    if (!*list) {
        *list = cJSON_CreateObject();
        cJSON_AddArrayToObject(*list, "content");
        cJSON_AddNullToObject(*list, "refusal");
    }
    cJSON *one = one_log_prob(tok, token->id, prev, token->log_prob),
          *top = cJSON_AddArrayToObject(one, "top_logprobs");
    for (int i = 0; i < token->top_count; i++)
        cJSON_AddItemToArray(top, one_log_prob(tok, token->top[i].id, prev, token->top[i].log_prob));
    cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(*list, "content"), one);
}

static cJSON *list_of(cJSON *lists, const char *name) {
    cJSON *list = cJSON_GetObjectItemCaseSensitive(lists, name);
    return list ? list : cJSON_AddArrayToObject(lists, name);
}

/* Of two alternatives of the same name the likelier one stays. */
static void add_alternative(cJSON *json, const tokenizer *tok, int32_t id, int32_t prev, float log_prob) {
    char *text = token_name(tok, id, prev);
    if (!cJSON_GetObjectItemCaseSensitive(json, text)) cJSON_AddItemToObject(json, text, float_json((double)log_prob));
    free(text);
}

/* The token that was drawn is among them, likely or not: OpenAI's has up to one more than were asked for. */
static cJSON *alternatives(const tokenizer *tok, const token_event *token, int32_t prev) {
    cJSON *json = cJSON_CreateObject();
    for (int i = 0; i < token->top_count; i++)
        add_alternative(json, tok, token->top[i].id, prev, token->top[i].log_prob);
    if (token->top_count > 0) add_alternative(json, tok, token->id, prev, token->log_prob);
    return json;
}

void text_log_probs_add(cJSON **lists, const tokenizer *tok, const token_event *token, int32_t prev, int64_t offset) {
    if (!*lists) *lists = cJSON_CreateObject();
    char *text = token_name(tok, token->id, prev);
    cJSON_AddItemToArray(list_of(*lists, "tokens"), cJSON_CreateString(text));
    cJSON_AddItemToArray(list_of(*lists, "token_logprobs"), float_json((double)token->log_prob));
    cJSON_AddItemToArray(list_of(*lists, "top_logprobs"), alternatives(tok, token, prev));
    add_number(list_of(*lists, "text_offset"), (double)offset);
    free(text);
}

static cJSON *route_json(const token_route *r) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "layer", r->layer);
    if (r->pass > 0) cJSON_AddNumberToObject(json, "pass", r->pass);
    cJSON *experts = cJSON_AddArrayToObject(json, "experts"), *gates = cJSON_AddArrayToObject(json, "gates");
    for (int i = 0; i < r->count; i++) {
        add_number(experts, r->experts[i]);
        cJSON_AddItemToArray(gates, float_json((double)r->gates[i]));
    }
    return json;
}

cJSON *routing_json(const token_event *token) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "id", token->id);
    json_add_text(json, "text", token->text, (size_t)token->bytes);
    cJSON *layers = cJSON_AddArrayToObject(json, "layers");
    for (int i = 0; i < token->route_count; i++) cJSON_AddItemToArray(layers, route_json(&token->routes[i]));
    return json;
}
