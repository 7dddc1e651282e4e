#include "moec.h"

#include "base/memory.h"
#include "eval/bpb.h"
#include "generate/generate.h"
#include "store/open.h"
#include "train/train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct moec_model {
    model *m;
    pass *p;
    tokenizer *tok;
    int context_tokens;
};

const char *moec_version(void) {
    return MOEC_VERSION;
}
const char *moec_isa(void) {
    return kernels_isa();
}
const char *moec_error(void) {
    return error_message();
}

/* Every call runs guarded: where host memory is out, it fails and the program goes on (base/memory.h). */

typedef struct open_call {
    const char *path;
    moec_model *m;
} open_call;

static status open_all(void *context) {
    open_call *c = context;
    moec_model *m = c->m = xcalloc(1, sizeof *m);
    const kernels *k;
    TRY(device_open("cpu", "auto", &k));
    TRY(open_model(c->path, k, "chosen", MODEL_RUN, &m->m, &m->tok, &m->context_tokens));
    return pass_create(&m->p, m->m);
}

moec_model *moec_open(const char *path) {
    open_call c = {.path = path};
    if (memory_guarded(open_all, &c) == STATUS_OK) return c.m;
    moec_close(c.m);
    return NULL;
}

void moec_close(moec_model *m) {
    if (!m) return;
    pass_destroy(m->p);
    model_destroy(m->m);
    tokenizer_close(m->tok);
    free(m);
}

int64_t moec_parameters(const moec_model *m) {
    return model_param_total(m->m);
}
int moec_vocab_size(const moec_model *m) {
    return m->m->config.vocab_size;
}
int moec_context_tokens(const moec_model *m) {
    return m->context_tokens;
}

/* ---- generating ---- */

typedef struct generate_call {
    moec_model *m;
    const char *prompt;
    sampler s;
    int64_t max_tokens;
    moec_sink sink;
    void *context;
} generate_call;

static bool pass_on(void *context, const char *text, size_t bytes) {
    const generate_call *c = context;
    return c->sink(c->context, text, bytes) != 0;
}

static status generate_guarded(void *context) {
    generate_call *c = context;
    generate_result result;
    return generate(c->m->p, c->m->tok, c->prompt, &c->s, c->max_tokens, pass_on, c, &result);
}

int moec_generate(moec_model *m, const char *prompt, const moec_sampler *s, int64_t max_tokens, moec_sink sink,
                  void *context) {
    generate_call c = {m, prompt, {.temperature = 0.8f, .top_p = 0.95f, .seed = 1}, max_tokens, sink, context};
    if (s) c.s = (sampler){.temperature = s->temperature, .top_k = s->top_k, .top_p = s->top_p, .seed = s->seed};
    return memory_guarded(generate_guarded, &c);
}

/* ---- scoring ---- */

typedef struct score_call {
    moec_model *m;
    const char *text;
    size_t bytes;
    double *bits;
} score_call;

/* The text as a shard of one document: BOS and its tokens. */
static status as_shard(const score_call *c, shard *s, int32_t **tokens) {
    size_t count;
    int bos = tokenizer_bos(c->m->tok);
    TRY(tokenizer_encode(c->m->tok, c->text, c->bytes, tokens, &count));
    *tokens = xrealloc(*tokens, (count + 1) * sizeof **tokens);
    memmove(*tokens + 1, *tokens, count * sizeof **tokens);
    (*tokens)[0] = bos >= 0 ? bos : 0;
    *s = shard_of_ids("text", *tokens, (int64_t)count + 1);
    return STATUS_OK;
}

static status score_guarded(void *context) {
    score_call *c = context;
    shard s;
    int32_t *tokens;
    bpb_result result;
    int64_t seq = c->m->context_tokens;
    bpb_options options = {.seq = seq, .stride = (seq + 1) / 2, .batch = 1};
    TRY(as_shard(c, &s, &tokens));
    status outcome = bpb_evaluate(c->m->p, c->m->tok, &s, NULL, &options, &result);
    if (outcome == STATUS_OK) *c->bits = result.total.nll / M_LN2;
    bpb_result_free(&result);
    shard_close(&s);
    free(tokens);
    return outcome;
}

int moec_score(moec_model *m, const char *text, size_t bytes, double *bits) {
    score_call c = {m, text, bytes, bits};
    return memory_guarded(score_guarded, &c);
}

/* ---- training ---- */

typedef struct train_call {
    const char *config_path;
    char *const *overrides;
    int override_count;
    bool resume;
} train_call;

static status train_guarded(void *context) {
    train_call *c = context;
    run_config config = run_config_default();
    train_result result;
    status s = run_config_load(&config, c->config_path, c->overrides, c->override_count);
    if (s == STATUS_OK) s = train_run(&config, c->resume ? TRAIN_RESUME : TRAIN_NEW, &result);
    run_config_free(&config);
    return s;
}

int moec_train(const char *config_path, char *const *overrides, int override_count, int resume) {
    train_call c = {config_path, overrides, override_count, resume != 0};
    return memory_guarded(train_guarded, &c);
}
