#include "moec.h"

#include "base/memory.h"
#include "eval/bpb.h"
#include "generate/generate.h"
#include "store/open.h"
#include "train/train.h"
#include <math.h>
#include <stdlib.h>

struct moec_model {
    model *m;
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

moec_model *moec_open(const char *path) {
    moec_model opened = {0};
    if (kernels_check() != STATUS_OK) return NULL;
    if (open_model(path, kernels_for(kernels_best_act()), "ema", &opened.m, &opened.tok, &opened.context_tokens) !=
        STATUS_OK)
        return NULL;
    moec_model *m = xmalloc(sizeof *m);
    *m = opened;
    return m;
}

void moec_close(moec_model *m) {
    if (!m) return;
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

typedef struct sink_adapter {
    moec_sink sink;
    void *context;
} sink_adapter;

static bool pass_on(void *context, const char *text, size_t bytes) {
    const sink_adapter *a = context;
    return a->sink(a->context, text, bytes) != 0;
}

int moec_generate(moec_model *m, const char *prompt, const moec_sampler *s, int64_t max_tokens, moec_sink sink,
                  void *context) {
    sampler used = {.temperature = 0.8f, .top_p = 0.95f, .seed = 1};
    if (s) used = (sampler){.temperature = s->temperature, .top_k = s->top_k, .top_p = s->top_p, .seed = s->seed};
    generate_result result;
    sink_adapter adapter = {.sink = sink, .context = context};
    return generate(m->m, m->tok, prompt, &used, max_tokens, pass_on, &adapter, &result);
}

/* The text as a shard of one document: BOS and its tokens. */
static status as_shard(const moec_model *m, const char *text, size_t bytes, shard *s, uint16_t **tokens) {
    int32_t *ids;
    size_t count;
    int bos = tokenizer_bos(m->tok);
    TRY(tokenizer_encode(m->tok, text, bytes, &ids, &count));
    *tokens = xmalloc((count + 1) * sizeof **tokens);
    (*tokens)[0] = (uint16_t)(bos >= 0 ? bos : 0);
    for (size_t i = 0; i < count; i++) (*tokens)[i + 1] = (uint16_t)ids[i];
    free(ids);
    *s = (shard){.path = (char *)"text", .tokens = *tokens, .count = (int64_t)count + 1};
    return STATUS_OK;
}

int moec_score(moec_model *m, const char *text, size_t bytes, double *bits) {
    shard s;
    uint16_t *tokens;
    bpb_result result;
    int64_t seq = m->context_tokens;
    bpb_options options = {.seq = seq, .stride = (seq + 1) / 2, .batch = 1};
    TRY(as_shard(m, text, bytes, &s, &tokens));
    status outcome = bpb_evaluate(m->m, m->tok, &s, NULL, &options, &result);
    if (outcome == STATUS_OK) *bits = result.total.nll / M_LN2;
    bpb_result_free(&result);
    free(tokens);
    return outcome;
}

int moec_train(const char *config_path, char *const *overrides, int override_count, int resume) {
    run_config config = run_config_default();
    train_result result;
    status s = kernels_check();
    if (s == STATUS_OK) s = run_config_load(&config, config_path, overrides, override_count);
    if (s == STATUS_OK) s = train_run(&config, resume ? TRAIN_RESUME : TRAIN_NEW, &result);
    run_config_free(&config);
    return s;
}
