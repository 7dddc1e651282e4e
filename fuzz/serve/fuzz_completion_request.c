/* Any bytes as the body of a request: refused with an error that is JSON of one line, or within all limits. */
#include "base/memory.h"
#include "serve/request.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

static void check_error(const api_error *e) {
    require(e->http >= 400 && e->http < 500 && e->message[0]);
    cJSON *json = api_error_json(e);
    char *text = cJSON_PrintUnformatted(json);
    require(text && !strchr(text, '\n'));
    cJSON *back = cJSON_Parse(text);
    require(back != NULL);
    cJSON_Delete(back);
    cJSON_free(text);
    cJSON_Delete(json);
}

static bool within(float value, float least, float most) {
    return isfinite(value) && value >= least && value <= most;
}

static void check_sampler(const sampler *s, int vocab) {
    require(within(s->temperature, 0, 100) && within(s->top_p, 0, 1) && within(s->min_p, 0, 1));
    require(s->top_k >= 0 && s->top_k < vocab && within(s->repetition_penalty, 0.0099F, 100));
    require(within(s->presence_penalty, -2, 2) && within(s->frequency_penalty, -2, 2));
    for (int i = 0; i < s->bias_count; i++) {
        require(s->biases[i].id >= 0 && s->biases[i].id < vocab && within(s->biases[i].bias, -100, 100));
        require(i == 0 || s->biases[i].id > s->biases[i - 1].id);
    }
}

static void check_prompts(const request_prompt *prompts, int count, int vocab) {
    require(count >= 1 && count <= REQUEST_PROMPTS);
    for (int i = 0; i < count; i++) {
        require((prompts[i].text != NULL) != (prompts[i].ids != NULL));
        for (size_t t = 0; t < prompts[i].id_count; t++) require(prompts[i].ids[t] >= 0 && prompts[i].ids[t] < vocab);
    }
}

static void check_experts(const expert_request *x, const model_config *c) {
    int allowed = 0;
    for (int e = 0; e < c->moe.experts; e++) allowed += x->allowed[e];
    require(!x->restricted || allowed > 0);
    require(x->top_k >= 0 && x->top_k <= c->moe.experts);
    for (int i = 0; i < MODEL_MAX_LAYERS; i++)
        require(x->layer_top_k[i] == 0 || (model_config_is_moe(c, i) && x->layer_top_k[i] <= c->moe.experts));
}

static void check_request(const completion_request *r, const request_limits *l) {
    check_sampler(&r->sampler, l->vocab);
    check_experts(&r->experts, l->config);
    require(r->n >= 1 && r->n * (r->chat ? 1 : r->prompt_count) <= l->choices);
    require(r->max_tokens >= 1 && r->max_tokens <= l->max_tokens);
    require(r->top_log_probs >= -1 && r->top_log_probs <= TOP_LOG_PROBS_OF_TOKEN);
    for (int i = 0; i < r->stop_count; i++) require(r->stops[i][0] && strlen(r->stops[i]) <= STOP_BYTES);
    if (!r->chat) check_prompts(r->prompts, r->prompt_count, l->vocab);
    require(!r->chat || r->message_count >= 1);
    for (int i = 0; i < r->message_count; i++) require(r->messages[i].role && r->messages[i].content);
}

static void run(const char *text, size_t bytes, int kind, const request_limits *l) {
    api_error e = {0};
    cJSON *body;
    if (body_parse(&body, text, bytes, &e) != STATUS_OK) {
        check_error(&e);
        return;
    }
    if (kind == 2) {
        embedding_request r;
        if (embedding_request_read(&r, body, l, &e) == STATUS_OK)
            check_prompts(r.inputs, r.input_count, l->vocab);
        else
            check_error(&e);
        embedding_request_free(&r);
        return;
    }
    completion_request r;
    if (completion_request_read(&r, kind == 1, body, l, &e) == STATUS_OK)
        check_request(&r, l);
    else
        check_error(&e);
    completion_request_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    static model_config c;
    if (c.num_layers == 0) {
        c = model_config_default();
        c.num_layers = 6;
        c.moe.layers[4] = c.moe.layers[5] = true;
        c.moe.start_layer = -1;
        c.moe.experts = 3;
        labels_add(&c.moe.names, "code");
        labels_add(&c.moe.names, "prose");
        labels_add(&c.moe.names, "verse");
    }
    const request_limits l = {.model = "m", .config = &c, .vocab = 320, .max_tokens = 128, .choices = 8};
    for (int kind = 0; kind < 3; kind++) {
        char *text =
            xmalloc(count ? count : 1); /* exactly as long, so that a sanitizer sees every byte beyond the end */
        if (count) memcpy(text, bytes, count);
        run(text, count, kind, &l);
        free(text);
    }
    return 0;
}
