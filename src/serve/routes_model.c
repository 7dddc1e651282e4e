/* /v1/models, /tokenize, /detokenize: what there is to know without running the model. */
#include "base/memory.h"
#include "serve/log_probs_json.h"
#include "serve/routes.h"
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

static status tokenize(const served *s, const cJSON *body, cJSON **json, api_error *e) {
    const members m = {.object = body, .where = "", .e = e};
    const char *content = NULL;
    bool special = false;
    int32_t *ids, prev = -1;
    size_t count;
    TRY(member_text(&m, "content", &content));
    TRY(member_bool(&m, "add_special", &special));
    if (!content) return api_refuse(e, HTTP_BAD_REQUEST, "content", "expected a text, found nothing");
    const status outcome = special ? tokenizer_encode_text(s->tok, content, strlen(content), &ids, &count)
                                   : tokenizer_encode(s->tok, content, strlen(content), &ids, &count);
    if (outcome != STATUS_OK) return api_refuse_failure(e, HTTP_BAD_REQUEST, "content");
    *json = cJSON_CreateObject();
    cJSON *tokens = cJSON_AddArrayToObject(*json, "tokens"), *pieces = cJSON_AddArrayToObject(*json, "pieces");
    for (size_t i = 0; i < count; prev = ids[i++]) {
        char *text = token_text(s->tok, ids[i], prev);
        cJSON_AddItemToArray(tokens, cJSON_CreateNumber(ids[i]));
        cJSON_AddItemToArray(pieces, cJSON_CreateString(text));
        free(text);
    }
    free(ids);
    return STATUS_OK;
}

static status detokenize(const served *s, const cJSON *body, cJSON **json, api_error *e) {
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
    *json = cJSON_CreateObject();
    cJSON_AddStringToObject(*json, "content", text);
    free(text);
    return STATUS_OK;
}

static void reply_of(call *c, status (*make)(const served *s, const cJSON *body, cJSON **json, api_error *e)) {
    cJSON *body, *json = NULL;
    api_error e = {0};
    if (call_json(c, &body) != STATUS_OK) return;
    if (make(c->house->s, body, &json, &e) == STATUS_OK)
        reply_json(c, HTTP_OK, json);
    else
        reply_error(c, &e);
    cJSON_Delete(body);
}

void route_tokenize(call *c) {
    reply_of(c, tokenize);
}

void route_detokenize(call *c) {
    reply_of(c, detokenize);
}
