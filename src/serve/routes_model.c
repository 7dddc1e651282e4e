/* /v1/models, /tokenize, /detokenize: what there is to know without running the model. */
#include "base/memory.h"
#include "serve/log_probs_json.h"
#include "serve/routes.h"
#include "text/tokenizer_settings.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- models ---- */

static cJSON *moec_json(const served *s) {
    const model_config *c = &s->m->config;
    const bool mixture = model_config_has_moe(c);
    cJSON *json = cJSON_CreateObject(), *routed;
    cJSON_AddNumberToObject(json, "layers", c->num_layers);
    routed = cJSON_AddArrayToObject(json, "routed_layers");
    for (int i = 0; i < c->num_layers; i++)
        if (model_config_is_moe(c, i)) cJSON_AddItemToArray(routed, cJSON_CreateNumber(i));
    cJSON_AddNumberToObject(json, "experts", mixture ? c->moe.experts : 0);
    cJSON_AddItemToObject(json, "expert_names",
                          mixture && c->moe.names.count > 0 ? labels_to_json(&c->moe.names) : cJSON_CreateNull());
    cJSON_AddNumberToObject(json, "top_k", mixture ? model_config_active_experts(c) : 0);
    cJSON_AddNumberToObject(json, "shared", mixture && model_config_shared_hidden(c) > 0 ? 1 : 0);
    cJSON_AddNumberToObject(json, "context", (double)s->context);
    cJSON_AddNumberToObject(json, "max_tokens", (double)s->limits.max_tokens);
    cJSON_AddNumberToObject(json, "vocab", c->vocab_size);
    cJSON_AddBoolToObject(json, "chat", chat_format_family(s->chat) != CHAT_NONE);
    return json;
}

static cJSON *model_json(const served *s) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", s->name);
    cJSON_AddStringToObject(json, "object", "model");
    cJSON_AddNumberToObject(json, "created", (double)s->created);
    cJSON_AddStringToObject(json, "owned_by", "moec");
    cJSON_AddItemToObject(json, "moec", moec_json(s));
    return json;
}

void route_models(call *c) {
    cJSON *json = cJSON_CreateObject(), *data;
    cJSON_AddStringToObject(json, "object", "list");
    data = cJSON_AddArrayToObject(json, "data");
    cJSON_AddItemToArray(data, model_json(c->house->s));
    reply_json(c, HTTP_OK, json);
}

/* A name from a path, where clients may write any byte as %XX. */
static char *without_escapes(const char *text) {
    char *plain = xstrdup(text), *out = plain;
    for (const char *in = text; *in; out++) {
        unsigned byte;
        const bool escaped = in[0] == '%' && isxdigit((unsigned char)in[1]) && isxdigit((unsigned char)in[2]) &&
                             sscanf(in + 1, "%2x", &byte) == 1 && byte != 0;
        *out = escaped ? (char)byte : *in;
        in += escaped ? 3 : 1;
    }
    *out = '\0';
    return plain;
}

void route_model(call *c) {
    api_error e = {0};
    char *name = without_escapes(c->rest);
    const bool is_it = strcmp(name, c->house->s->name) == 0;
    free(name);
    if (is_it) {
        reply_json(c, HTTP_OK, model_json(c->house->s));
        return;
    }
    (void)api_refuse(&e, HTTP_NOT_FOUND, "model", "expected \"%.100s\", which is what is served here, found \"%.60s\"",
                     c->house->s->name, c->rest);
    (void)api_refuse_code(&e, "model_not_found");
    reply_error(c, &e);
}

/* ---- tokens ---- */

/* Tokens may be as many as bytes of a body, which a tree of numbers and strings would make two hundred times as large. */
static void put_tokens(text_buffer *b, const tokenizer *tok, const int32_t *ids, size_t count) {
    text_append_string(b, "{\"tokens\":[");
    for (size_t i = 0; i < count; i++) {
        if (i) text_append_string(b, ",");
        text_append_number(b, ids[i]);
    }
    text_append_string(b, "],\"pieces\":[");
    for (size_t i = 0; i < count; i++) {
        char *piece = token_text(tok, ids[i], i ? ids[i - 1] : -1);
        if (i) text_append_string(b, ",");
        text_append_json(b, piece, strlen(piece));
        free(piece);
    }
    text_append_string(b, "]}");
}

static status tokenize(const served *s, const cJSON *body, text_buffer *text, api_error *e) {
    const members m = {.object = body, .where = "", .e = e};
    const char *content = NULL;
    bool special = false;
    int32_t *ids;
    size_t count;
    TRY(member_text(&m, "content", &content));
    TRY(member_bool(&m, "add_special", &special));
    if (!content) return api_refuse(e, HTTP_BAD_REQUEST, "content", "expected a text, found nothing");
    const status outcome = special ? tokenizer_encode_text(s->tok, content, strlen(content), &ids, &count)
                                   : tokenizer_encode(s->tok, content, strlen(content), &ids, &count);
    if (outcome != STATUS_OK) return api_refuse_failure(e, HTTP_BAD_REQUEST, "content");
    put_tokens(text, s->tok, ids, count);
    free(ids);
    return STATUS_OK;
}

static status detokenize(const served *s, const cJSON *body, text_buffer *to, api_error *e) {
    const members m = {.object = body, .where = "", .e = e};
    const cJSON *list = NULL;
    request_prompt *prompts;
    int count;
    char *text;
    size_t bytes;
    TRY(member_array(&m, "tokens", &list));
    if (!list || (list->child && !cJSON_IsNumber(list->child)))
        return api_refuse(e, HTTP_BAD_REQUEST, "tokens", "expected a list of tokens, found something else");
    TRY(request_prompts_read(&m, "tokens", s->limits.vocab, &prompts, &count));
    status outcome = tokenizer_decode(s->tok, prompts[0].ids, prompts[0].id_count, &text, &bytes);
    request_prompts_free(prompts, count);
    if (outcome != STATUS_OK) return api_refuse_failure(e, HTTP_BAD_REQUEST, "tokens");
    text_append_string(to, "{\"content\":");
    text_append_json(to, text, bytes);
    text_append_string(to, "}");
    free(text);
    return STATUS_OK;
}

static void reply_of(call *c, status (*make)(const served *s, const cJSON *body, text_buffer *text, api_error *e)) {
    cJSON *body;
    text_buffer text = {0};
    api_error e = {0};
    if (call_json(c, &body) != STATUS_OK) return;
    if (make(c->house->s, body, &text, &e) == STATUS_OK) {
        reply_text(c, HTTP_OK, "application/json", text.text);
    } else {
        reply_error(c, &e);
        text_free(&text);
    }
    cJSON_Delete(body);
}

void route_tokenize(call *c) {
    reply_of(c, tokenize);
}

void route_detokenize(call *c) {
    reply_of(c, detokenize);
}
