/* /v1/completions, /v1/chat/completions, /v1/embeddings: what the model runs for. */
#include "base/memory.h"
#include "serve/base64.h"
#include "serve/log_probs_json.h"
#include "serve/routes.h"
#include <stdlib.h>
#include <string.h>

static void complete(call *c, bool chat) {
    served *s = c->house->s;
    api_error e = {0};
    cJSON *body;
    answer *a;
    if (call_json(c, &body) != STATUS_OK) return;
    const still_wanted wanted = call_wanted(c);
    completion_request *r = xcalloc(1, sizeof *r);
    status outcome = completion_request_read(r, chat, body, &s->limits, &e);
    if (outcome == STATUS_OK) outcome = answer_start(&a, s, r, &wanted, &e);
    if (outcome != STATUS_OK) {
        completion_request_free(r);
        free(r);
        reply_error(c, &e);
    } else if (r->stream) {
        reply_stream(c, r, a);
    } else {
        reply_answer(c, r, a);
    }
}

void route_completions(call *c) {
    complete(c, false);
}

void route_chat(call *c) {
    complete(c, true);
}

/* ---- embeddings ---- */

static cJSON *values_json(const float *values, int count, bool base64) {
    if (base64) {
        char *text = base64_floats(values, (size_t)count);
        cJSON *json = cJSON_CreateString(text);
        free(text);
        return json;
    }
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < count; i++) cJSON_AddItemToArray(list, float_json((double)values[i]));
    return list;
}

/* One of data, and the tokens that it took. */
static status embed(call *c, const embedding_request *r, int i, float *values, cJSON *data, api_error *e) {
    served *s = c->house->s;
    const still_wanted wanted = call_wanted(c);
    char param[WAY_BYTES];
    int32_t *ids;
    size_t count;
    (void)way_to(param, "input[%d]", i);
    TRY(served_prompt_ids(s, &r->inputs[i], r->input_count > 1 ? param : "input", &ids, &count, e));
    const status outcome = served_embedding(s, ids, count, values, &wanted, e);
    free(ids);
    TRY(outcome);
    cJSON *one = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "object", "embedding");
    cJSON_AddNumberToObject(one, "index", i);
    cJSON_AddItemToObject(one, "embedding", values_json(values, s->m->config.model_dim, r->base64));
    cJSON_AddItemToArray(data, one);
    c->tally.prompt_tokens += (int64_t)count;
    return STATUS_OK;
}

static void embed_all(call *c, const embedding_request *r) {
    served *s = c->house->s;
    cJSON *json = cJSON_CreateObject(), *data, *usage;
    float *values = xcalloc((size_t)s->m->config.model_dim, sizeof *values);
    api_error e = {0};
    status outcome = STATUS_OK;
    cJSON_AddStringToObject(json, "object", "list");
    data = cJSON_AddArrayToObject(json, "data");
    for (int i = 0; i < r->input_count && outcome == STATUS_OK && !c->gone; i++) {
        outcome = embed(c, r, i, values, data, &e);
        c->gone = c->client_left(c->client);
    }
    cJSON_AddStringToObject(json, "model", s->name);
    usage = cJSON_AddObjectToObject(json, "usage");
    cJSON_AddNumberToObject(usage, "prompt_tokens", (double)c->tally.prompt_tokens);
    cJSON_AddNumberToObject(usage, "total_tokens", (double)c->tally.prompt_tokens);
    free(values);
    if (outcome == STATUS_OK) {
        reply_json(c, HTTP_OK, json);
        return;
    }
    cJSON_Delete(json);
    reply_error(c, &e);
}

void route_embeddings(call *c) {
    embedding_request r = {0};
    api_error e = {0};
    cJSON *body;
    if (call_json(c, &body) != STATUS_OK) return;
    if (embedding_request_read(&r, body, &c->house->s->limits, &e) == STATUS_OK)
        embed_all(c, &r);
    else
        reply_error(c, &e);
    embedding_request_free(&r);
}
