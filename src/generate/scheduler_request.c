/* Requests: whether they can be meant, and copies of them. */
#include "generate/scheduler_state.h"

#include "base/memory.h"
#include "text/utf8.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_STOPS = 64, MOST_STOP_BYTES = 1024 };

/* ---- checks ---- */

static status check_prompt(const scheduler *s, const text_request *r) {
    const int vocab = s->m->config.vocab_size;
    if (r->prompt_count == 0) return fail_usage("prompt: expected at least one token, found none");
    if (r->prompt_count >= (size_t)s->o.context)
        return fail_usage("prompt: expected fewer tokens than the context of %lld, found %zu", (long long)s->o.context,
                          r->prompt_count);
    for (size_t i = 0; i < r->prompt_count; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= vocab)
            return fail_usage("prompt: expected ids below the vocabulary of %d, found %d", vocab, r->prompt[i]);
    return STATUS_OK;
}

static status check_stops(const writing_options *o) {
    if (o->stop_count < 0 || o->stop_count > MOST_STOPS)
        return fail_usage("stop: expected up to %d strings, found %d", MOST_STOPS, o->stop_count);
    for (int i = 0; i < o->stop_count; i++) {
        const size_t bytes = strlen(o->stops[i]);
        if (bytes == 0 || bytes > MOST_STOP_BYTES)
            return fail_usage("stop: expected strings of 1 to %d bytes, found one of %zu", MOST_STOP_BYTES, bytes);
        if (utf8_valid_prefix(o->stops[i], bytes) != bytes)
            return fail_usage("stop: expected UTF-8, found bytes that are none in string %d", i);
    }
    return STATUS_OK;
}

static status check_control(const scheduler *s, const expert_control *c) {
    const model_config *config = &s->m->config;
    const int E = config->moe.experts;
    if (!c->allowed && c->top_k == 0 && !c->layer_top_k) return STATUS_OK;
    if (s->path_routed == 0) return fail_usage("experts: the model has none to choose among");
    if (c->top_k < 0 || c->top_k > E) return fail_usage("top_k: expected 1 to %d experts, found %d", E, c->top_k);
    for (int i = 0; c->layer_top_k && i < config->num_layers; i++)
        if (c->layer_top_k[i] < 0 || c->layer_top_k[i] > E || (c->layer_top_k[i] > 0 && s->route_layers[i] < 0))
            return fail_usage("top_k of layer %d: expected 1 to %d experts of a layer that has some, found %d", i, E,
                              c->layer_top_k[i]);
    bool any = !c->allowed;
    for (int e = 0; e < E && !any; e++) any = c->allowed[e];
    return any ? STATUS_OK : fail_usage("experts: expected at least one that may be chosen, found none");
}

status request_check(const scheduler *s, const text_request *r) {
    const writing_options *o = &r->how;
    TRY(check_prompt(s, r));
    TRY(sampler_check(&o->sampler, s->m->config.vocab_size));
    TRY(check_stops(o));
    if (o->max_tokens < 0) return fail_usage("max_tokens: expected 1 or more, found %lld", (long long)o->max_tokens);
    if (o->log_probs && (o->top_log_probs < 0 || o->top_log_probs > TOP_LOG_PROBS_OF_TOKEN))
        return fail_usage("top_logprobs: expected 0 to %d, found %d", TOP_LOG_PROBS_OF_TOKEN, o->top_log_probs);
    return check_control(s, &r->experts);
}

/* ---- controls ---- */

/* Every layer says its own number, and every expert whether it is allowed. NULL where that is what the model does anyway. */
static expert_control *control_create(const scheduler *s, const expert_control *c) {
    const model_config *config = &s->m->config;
    const int E = config->moe.experts, layers = config->num_layers;
    bool usual = true;
    if (s->path_routed == 0) return NULL;
    bool *allowed = xcalloc((size_t)E, sizeof *allowed);
    int *top_k = xcalloc((size_t)layers, sizeof *top_k);
    for (int e = 0; e < E; e++) {
        allowed[e] = !c->allowed || c->allowed[e];
        usual = usual && allowed[e];
    }
    for (int i = 0; i < layers; i++) {
        const int own = model_plan(config, i).mlp.top_k;
        if (s->route_layers[i] >= 0) top_k[i] = expert_control_top_k(c, i, own, E);
        usual = usual && (s->route_layers[i] < 0 || top_k[i] == own);
    }
    if (usual) {
        free(allowed);
        free(top_k);
        return NULL;
    }
    expert_control *new = xmalloc(sizeof *new);
    *new = (expert_control){.allowed = allowed, .layer_top_k = top_k};
    return new;
}

bool control_equal(const scheduler *s, const expert_control *a, const expert_control *b) {
    const model_config *config = &s->m->config;
    if (!a || !b) return a == b;
    return memcmp(a->allowed, b->allowed, (size_t)config->moe.experts * sizeof *a->allowed) == 0 &&
           memcmp(a->layer_top_k, b->layer_top_k, (size_t)config->num_layers * sizeof *a->layer_top_k) == 0;
}

expert_control *control_copy(const scheduler *s, const expert_control *c) {
    return c ? control_create(s, c) : NULL;
}

void control_free(expert_control *c) {
    if (!c) return;
    free((void *)c->allowed);
    free((void *)c->layer_top_k);
    free(c);
}

/* ---- copies ---- */

static void *copied(const void *from, size_t bytes) {
    return bytes > 0 ? memcpy(xmalloc(bytes), from, bytes) : NULL;
}

job *job_create(const scheduler *s, const text_request *r) {
    job *j = xcalloc(1, sizeof *j);
    const writing_options *o = &r->how;
    const int64_t room = s->o.context - (int64_t)r->prompt_count;
    j->r = *r;
    j->r.prompt = copied(r->prompt, r->prompt_count * sizeof *r->prompt);
    j->r.how.max_tokens = o->max_tokens > 0 && o->max_tokens < room ? o->max_tokens : room;
    j->r.how.stop_tokens = copied(o->stop_tokens, (size_t)o->stop_token_count * sizeof *o->stop_tokens);
    j->r.how.sampler.biases = copied(o->sampler.biases, (size_t)o->sampler.bias_count * sizeof *o->sampler.biases);
    char **stops = xcalloc((size_t)o->stop_count + 1, sizeof *stops);
    for (int i = 0; i < o->stop_count; i++) stops[i] = xstrdup(o->stops[i]);
    j->r.how.stops = (const char *const *)stops;
    j->control = control_create(s, &r->experts);
    j->r.experts = (expert_control){0};
    return j;
}

void job_free(job *j) {
    if (!j) return;
    free((void *)j->r.prompt);
    free((void *)j->r.how.stop_tokens);
    free((void *)j->r.how.sampler.biases);
    for (int i = 0; i < j->r.how.stop_count; i++) free((void *)j->r.how.stops[i]);
    free((void *)j->r.how.stops);
    control_free(j->control);
    free(j);
}
