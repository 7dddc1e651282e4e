#include "study/bench_run.h"

#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "generate/sampler.h"
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
    drafts *drafts;
    int batch;
    int32_t *prompts;    /* [batch, prompt] */
    int32_t *next;       /* [batch]: the newest token of each */
    int64_t *left;       /* [batch]: tokens that are to be written behind it */
    draft_text *written; /* [batch]: of a pass, with */
    decode_span *spans;
    int32_t *rows; /* [batch + DRAFT_MOST] */
    float *logits; /* [batch + DRAFT_MOST, V] */
    double *times; /* [tokens]: of the passes */
} texts;

static void take_likeliest(texts *t, const float *logits, int64_t text) {
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

/* The texts that are not at their end, with what they may go on with; returns how many. */
static int64_t find_texts(texts *t) {
    const int64_t share = (1 + DRAFT_MOST) / t->batch - 1;
    int64_t count = 0;
    for (int i = 0; i < t->batch; i++) {
        if (t->left[i] == 0) continue;
        draft_text *one = &t->written[count++];
        const int64_t most = t->left[i] - 1 < share ? t->left[i] - 1 : share;
        *one = (draft_text){.sequence = i,
                            .read = kv_cache_tokens(t->cache, i),
                            .count = kv_cache_length(t->cache, i),
                            .tokens = {t->next[i]},
                            .most = most > 0 ? (int)most : 0};
    }
    return count;
}

static void gather_rows(texts *t, int64_t count) {
    int64_t rows = 0;
    for (int64_t i = 0; i < count; i++) {
        const draft_text *one = &t->written[i];
        const int64_t n = 1 + one->proposed;
        t->spans[i] = (decode_span){.sequence = one->sequence, .count = n, .logits = n, .one_by_one = true};
        for (int64_t j = 0; j < n; j++) t->rows[rows++] = one->tokens[j];
    }
}

/* From the logits of its rows: a token, and one more for each that is what was proposed. */
static void write_text(texts *t, const draft_text *one, const float *logits) {
    int row = 0;
    for (;; row++) {
        take_likeliest(t, logits + (int64_t)row * t->m->config.vocab_size, one->sequence);
        t->left[one->sequence]--;
        if (row == one->proposed || t->next[one->sequence] != one->tokens[1 + row]) break;
    }
    kv_cache_cut(t->cache, one->sequence, one->count + 1 + row);
    drafts_learn(t->drafts, one, row);
}

/* One pass over all that are not at their end; *count: how many that were. */
static status write_on(texts *t, int64_t *count) {
    *count = find_texts(t);
    if (*count == 0) return STATUS_OK;
    TRY(drafts_propose(t->drafts, t->written, *count));
    gather_rows(t, *count);
    TRY(pass_decode_spans(t->p, t->cache, t->spans, *count, t->rows, t->logits));
    const float *logits = t->logits;
    for (int64_t i = 0; i < *count; logits += t->spans[i++].logits * t->m->config.vocab_size)
        write_text(t, &t->written[i], logits);
    return STATUS_OK;
}

static status write_texts(texts *t, bench_run_row *row) {
    const int64_t each = t->o->tokens - 1; /* the prompts gave the first */
    double seconds = 0;
    int passes = 0;
    for (int i = 0; i < t->batch; i++) t->left[i] = each;
    for (int64_t count = 1;; passes++) {
        const double started = clock_seconds();
        TRY(write_on(t, &count));
        if (count == 0) break;
        t->times[passes] = clock_seconds() - started;
        seconds += t->times[passes];
    }
    row->decode = (double)(t->batch * each) / seconds;
    row->token_median = median(t->times, passes);
    row->token_most = t->times[passes - 1];
    row->drafts = drafts_read(t->drafts);
    return STATUS_OK;
}

/* Shapes that were not run before are prepared by the kernels when they first come. */
static status warm_up(texts *t) {
    double ignored = 0;
    int64_t at = 0;
    TRY(read_piece(t, &at, 0, &ignored));
    for (int i = 0; i < t->batch; i++) t->next[i] = t->prompts[i];
    for (int i = 0; i < t->batch; i++) t->left[i] = 1;
    for (int i = 0; i < t->batch; i++) kv_cache_cut(t->cache, i, 0);
    TRY(write_on(t, &at));
    for (int i = 0; i < t->batch; i++) kv_cache_cut(t->cache, i, 0);
    return STATUS_OK;
}

static void make_prompts(texts *t) {
    const int64_t prompt = t->o->prompt, places = t->o->text_count - prompt + 1;
    rng r = rng_seed(1);
    for (int64_t i = 0; i < t->batch * prompt; i++)
        t->prompts[i] = t->o->text ? t->o->text[i / prompt * prompt % places + i % prompt]
                                   : (int32_t)rng_below(&r, (uint64_t)t->m->config.vocab_size);
}

static status measure(texts *t, bench_run_row *row, double token_bytes) {
    const size_t batch = (size_t)t->batch, rows = batch + DRAFT_MOST;
    const int vocab = t->m->config.vocab_size;
    const int64_t capacity = t->o->prompt + t->o->tokens;
    TRY(kv_cache_create(&t->cache, t->m, t->batch, capacity));
    TRY(drafts_create(&t->drafts, &t->o->drafts, vocab, t->batch, capacity));
    t->prompts = xmalloc(batch * (size_t)t->o->prompt * sizeof *t->prompts);
    t->next = xcalloc(batch, sizeof *t->next);
    t->left = xcalloc(batch, sizeof *t->left);
    t->written = xcalloc(batch, sizeof *t->written);
    t->spans = xcalloc(batch + PIECE, sizeof *t->spans);
    t->rows = xmalloc(rows * sizeof *t->rows);
    t->logits = xmalloc(rows * (size_t)vocab * sizeof *t->logits);
    t->times = xcalloc((size_t)t->o->tokens, sizeof *t->times);
    make_prompts(t);
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
    drafts_free(t->drafts);
    free(t->prompts);
    free(t->next);
    free(t->left);
    free(t->written);
    free(t->spans);
    free(t->rows);
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
