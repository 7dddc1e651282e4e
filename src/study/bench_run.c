#include "study/bench_run.h"

#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "generate/sampler.h"
#include "nn/pass.h"
#include "study/bandwidth.h"
#include "study/order.h"
#include <stdlib.h>
#include <sys/resource.h>

enum { PIECE = 256 };

typedef struct texts {
    const bench_run_options *o;
    model *m;
    pass *p;
    kv_cache *cache;
    int batch;
    int32_t *prompts; /* [batch, prompt] */
    int32_t *next;    /* [batch]: the newest token of each */
    decode_span *spans;
    float *logits; /* [batch, V] */
    double *times; /* [tokens]: of the steps */
} texts;

static void take_likeliest(texts *t, const float *logits, int text) {
    const sampler greedy = {0};
    rng unused = rng_seed(0);
    t->next[text] = sample(&greedy, logits, t->m->config.vocab_size, &unused);
}

/* Pieces of prompts, as many as fill a pass; a prompt that ends in it gives its text a token. *first: the sum of the
 * seconds that these took. */
static status read_piece(texts *t, int64_t *at, double started, double *first) {
    const int64_t prompt = t->o->prompt, all = t->batch * prompt, begin = *at;
    int64_t count = 0;
    int wanted = 0;
    for (int64_t left = PIECE; left > 0 && *at < all; count++) {
        const int64_t text = *at / prompt, rest = prompt - *at % prompt, taken = rest < left ? rest : left;
        t->spans[count] = (decode_span){.sequence = text, .count = taken, .logits = taken == rest};
        left -= taken;
        *at += taken;
    }
    TRY(pass_decode_spans(t->p, t->cache, t->spans, count, t->prompts + begin, t->logits));
    for (int64_t i = 0; i < count; i++) {
        if (t->spans[i].logits == 0) continue;
        take_likeliest(t, t->logits + wanted++ * (int64_t)t->m->config.vocab_size, (int)t->spans[i].sequence);
        *first += clock_seconds() - started;
    }
    return STATUS_OK;
}

static status read_prompts(texts *t, bench_run_row *row) {
    const double started = clock_seconds();
    int64_t at = 0;
    double first = 0;
    while (at < t->batch * t->o->prompt) TRY(read_piece(t, &at, started, &first));
    row->prefill = (double)(t->batch * t->o->prompt) / (clock_seconds() - started);
    row->first_token = first / t->batch;
    return STATUS_OK;
}

static status write_token(texts *t) {
    for (int i = 0; i < t->batch; i++) t->spans[i] = (decode_span){.sequence = i, .count = 1, .logits = 1};
    TRY(pass_decode_spans(t->p, t->cache, t->spans, t->batch, t->next, t->logits));
    for (int i = 0; i < t->batch; i++) take_likeliest(t, t->logits + i * (int64_t)t->m->config.vocab_size, i);
    return STATUS_OK;
}

static status write_texts(texts *t, bench_run_row *row) {
    const int steps = (int)t->o->tokens - 1; /* the prompts gave the first */
    double seconds = 0;
    for (int i = 0; i < steps; i++) {
        const double started = clock_seconds();
        TRY(write_token(t));
        t->times[i] = clock_seconds() - started;
        seconds += t->times[i];
    }
    row->decode = t->batch * steps / seconds;
    row->token_median = median(t->times, steps);
    row->token_most = t->times[steps - 1];
    return STATUS_OK;
}

/* Shapes that were not run before are prepared by the kernels when they first come. */
static status warm_up(texts *t) {
    double ignored = 0;
    int64_t at = 0;
    TRY(read_piece(t, &at, 0, &ignored));
    for (int i = 0; i < t->batch; i++) t->next[i] = t->prompts[i];
    for (int i = 0; i < t->batch; i++) kv_cache_cut(t->cache, i, 0);
    TRY(write_token(t));
    for (int i = 0; i < t->batch; i++) kv_cache_cut(t->cache, i, 0);
    return STATUS_OK;
}

static status measure(texts *t, bench_run_row *row, double token_bytes) {
    const int64_t ids = t->batch * t->o->prompt;
    rng r = rng_seed(1);
    TRY(kv_cache_create(&t->cache, t->m, t->batch, t->o->prompt + t->o->tokens));
    t->prompts = xmalloc((size_t)ids * sizeof *t->prompts);
    t->next = xcalloc((size_t)t->batch, sizeof *t->next);
    t->spans = xcalloc((size_t)t->batch + PIECE, sizeof *t->spans);
    t->logits = xmalloc((size_t)(t->batch * (int64_t)t->m->config.vocab_size) * sizeof *t->logits);
    t->times = xcalloc((size_t)t->o->tokens, sizeof *t->times);
    for (int64_t i = 0; i < ids; i++) t->prompts[i] = (int32_t)rng_below(&r, (uint64_t)t->m->config.vocab_size);
    TRY(warm_up(t));
    TRY(read_prompts(t, row));
    TRY(write_texts(t, row));
    row->batch = t->batch;
    row->bytes = token_bytes / row->token_median;
    row->resident = memory_resident();
    return STATUS_OK;
}

static void release(texts *t) {
    kv_cache_destroy(t->cache);
    free(t->prompts);
    free(t->next);
    free(t->spans);
    free(t->logits);
    free(t->times);
}

static status measure_batch(model *m, pass *p, const bench_run_options *o, int batch, bench_run_report *report) {
    texts t = {.o = o, .m = m, .p = p, .batch = batch};
    const status s = measure(&t, &report->rows[report->row_count++], report->token_bytes);
    if (s == STATUS_OK) report->cache_bytes = (double)kv_cache_token_bytes(t.cache);
    release(&t);
    return s;
}

status bench_run(model *m, const bench_run_options *o, bench_run_report *report) {
    pass *p;
    *report = (bench_run_report){.parameters = model_param_total(m), .token_bytes = model_token_bytes(m)};
    TRY(pass_create(&p, m));
    status s = STATUS_OK;
    for (int i = 0; i < o->batch_count && s == STATUS_OK; i++) s = measure_batch(m, p, o, o->batches[i], report);
    pass_destroy(p);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    report->peak = (uint64_t)usage.ru_maxrss * 1024;
    if (s == STATUS_OK && o->bandwidth_bytes > 0)
        s = bandwidth_measure(kernels_threads(), o->bandwidth_bytes, &report->bandwidth);
    return s;
}
