#include "eval/bpb.h"

#include "base/memory.h"
#include "base/progress.h"
#include "formats/pretrained.h"
#include "text/loader.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double bpb(const bpb_score *s) {
    return s->bytes > 0 ? s->nll / M_LN2 / (double)s->bytes : 0;
}
double bpb_blend(const bpb_score *s) {
    return s->bytes > 0 ? s->nll_blend / M_LN2 / (double)s->bytes : 0;
}

double perplexity(const bpb_score *s) {
    return s->tokens > 0 ? exp(s->nll / (double)s->tokens) : 0;
}

enum { FOREIGN_SEQ = 2048, ROWS = 4096 };

void bpb_windows(bpb_options *o, const char *model, int64_t context, int64_t seq) {
    const bool foreign = pretrained_is(model); /* which may be made for contexts that no memory holds */
    o->seq = seq ? seq : foreign && context > FOREIGN_SEQ ? FOREIGN_SEQ : context;
    o->stride = (o->seq + 1) / 2;
    o->batch = o->seq < ROWS ? ROWS / o->seq : 1;
}

/* One window: inputs are tokens[start … start + length − 1], targets one later; those after `scored`, up to `end`, are scored. */
typedef struct window {
    int64_t start, end, scored;
} window;

typedef struct evaluation {
    pass *p;
    const tokenizer *tok;
    const shard *s;
    const document_table *documents;
    const bpb_options *options;
    bpb_result *result;
    bigram_blend *blend;
    token_sample sample;
    int64_t span, scored; /* which of the sample's spans is scored, and the last token that was */
    int64_t length;       /* of every window */
    int64_t document;     /* the one that the next target is in */
    comm *ranks;
    window *windows; /* [ranks][batch]: of a round, a batch for each rank */
    int64_t *counts; /* [ranks] of those */
    int32_t *ids, *targets, *first;
    float *nll;         /* [ranks][batch, length] */
    int64_t *positions; /* [batch, length] of inputs whose target is scored, else −1; NULL without a probe */
} evaluation;

/* A window scores `stride` targets behind those that were scored before, the text's first one all that it holds; the last one of
 * a span ends with it. False: nothing is left to score. */
static bool next_window(evaluation *e, window *w) {
    if (e->span == e->sample.count) return false;
    const token_span *span = &e->sample.spans[e->span];
    if (e->scored < span->first - 1) e->scored = span->first - 1;
    int64_t end = e->scored + e->options->stride;
    if (end < e->length) end = e->length;
    if (end > span->end - 1) end = span->end - 1;
    *w = (window){.start = end > e->length ? end - e->length : 0, .end = end, .scored = e->scored};
    e->scored = end;
    if (end == span->end - 1) e->span++;
    return true;
}

/* Tell the probe which rows of this pass count. */
static void announce(evaluation *e, const window *windows, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        for (int64_t t = 0; t < e->length; t++) {
            int64_t position = windows[i].start + t;
            const bool scored = position + 1 > windows[i].scored && position + 1 <= windows[i].end;
            e->positions[i * e->length + t] = scored ? position : -1;
        }
    routing_probe_expect(e->options->probe, e->ids, e->positions, count * e->length);
}

/* This rank's own batch of the round; the last round may have none for it. */
static status run_batch(evaluation *e) {
    const int64_t count = e->counts[e->ranks->rank];
    const window *windows = e->windows + e->ranks->rank * e->options->batch;
    int bos = tokenizer_bos(e->tok);
    if (interrupt_requested()) return STATUS_INTERRUPTED;
    if (count == 0) return STATUS_OK;
    for (int64_t i = 0; i < count; i++) {
        int32_t *ids = e->ids + i * e->length;
        shard_read(e->s, windows[i].start, e->length, ids);
        shard_read(e->s, windows[i].start + 1, e->length, e->targets + i * e->length);
        document_starts(ids, e->length, bos, e->first + i * e->length);
    }
    batch b = {.batch = count, .length = e->length, .input_ids = e->ids, .target_ids = e->targets, .first = e->first};
    if (e->positions) announce(e, windows, count);
    return pass_evaluate(e->p, &b, e->nll + e->ranks->rank * e->options->batch * e->length);
}

/* Everyone's losses to everyone: sums are then formed in the order of the text, whoever made what. */
static status run_round(evaluation *e) {
    const int64_t each = e->options->batch * e->length;
    TRY(comm_agree(e->ranks, run_batch(e)));
    if (e->options->probe) TRY(routing_probe_meet(e->options->probe, e->ranks));
    if (e->ranks->ranks == 1) return STATUS_OK;
    float *own = xmalloc((size_t)each * sizeof *own);
    memcpy(own, e->nll + e->ranks->rank * each, (size_t)each * sizeof *own);
    const status s = comm_gather(e->ranks, own, e->nll, (size_t)each * sizeof *own);
    free(own);
    return s;
}

/* Where the score of the target at `position` belongs besides the total; NULL without documents. */
static bpb_score *domain_score(evaluation *e, int64_t position) {
    if (!e->documents) return NULL;
    const document *d = &e->documents->documents[e->document];
    while (position >= d->start + d->count && e->document + 1 < e->documents->count)
        d = &e->documents->documents[++e->document];
    return &e->result->domain[d->domain];
}

static void add_score(bpb_score *s, double nll, double blended, int bytes) {
    s->nll += nll;
    s->nll_blend += blended;
    s->tokens++;
    s->bytes += bytes;
}

static status score_window(evaluation *e, const window *w, const float *nll) {
    for (int64_t position = w->scored + 1; position <= w->end; position++) {
        int32_t token = shard_token(e->s, position), previous = shard_token(e->s, position - 1);
        double loss = nll[position - 1 - w->start];
        if (!isfinite(loss))
            return fail("%s: token %lld: the model's loss is not finite", e->s->path, (long long)position);
        double blended = e->blend ? bigram_blend_score(e->blend, previous, token, loss) : loss;
        int bytes = tokenizer_token_bytes(e->tok, token, previous);
        bpb_score *domain = domain_score(e, position);
        add_score(&e->result->total, loss, blended, bytes);
        if (domain) add_score(domain, loss, blended, bytes);
        if (e->options->listener) e->options->listener(e->options->listener_context, position, loss);
    }
    return STATUS_OK;
}

/* A batch for each rank, in their order; false: nothing is left. */
static bool next_round(evaluation *e) {
    for (int r = 0; r < e->ranks->ranks; r++) {
        e->counts[r] = 0;
        while (e->counts[r] < e->options->batch && next_window(e, &e->windows[r * e->options->batch + e->counts[r]]))
            e->counts[r]++;
    }
    return e->counts[0] > 0;
}

static status score_round(evaluation *e) {
    for (int r = 0; r < e->ranks->ranks; r++)
        for (int64_t i = 0; i < e->counts[r]; i++) {
            const int64_t place = r * e->options->batch + i;
            const status s = score_window(e, &e->windows[place], e->nll + place * e->length);
            if (s != STATUS_OK) return comm_alike(e->ranks, s);
        }
    return STATUS_OK;
}

static status evaluate(evaluation *e) {
    const bpb_score *total = &e->result->total;
    progress p = progress_start("evaluate");
    while (next_round(e)) {
        TRY(run_round(e));
        TRY(score_round(e));
        if (!e->options->shown) continue;
        char detail[128];
        snprintf(detail, sizeof detail, "%s  %.4f bits/byte", e->options->shown, bpb(total));
        progress_show(&p, (double)total->tokens / (double)e->sample.tokens, detail);
    }
    if (e->options->shown) progress_end(&p, e->options->shown);
    return STATUS_OK;
}

static status check(const shard *s, const bpb_options *o) {
    if (s->count < 2)
        return fail("%s: expected at least two tokens to score, found %lld", s->path, (long long)s->count);
    if (o->seq < 1 || o->stride < 1 || o->stride > o->seq || o->batch < 1)
        return fail_usage(
            "%s: expected windows of at least one token and strides within them, found stride %lld, window "
            "%lld, batch %lld",
            s->path, (long long)o->stride, (long long)o->seq, (long long)o->batch);
    return STATUS_OK;
}

status bpb_evaluate(pass *p, const tokenizer *tok, const shard *s, const document_table *documents,
                    const bpb_options *options, bpb_result *result) {
    *result = (bpb_result){0};
    TRY(check(s, options));
    evaluation e = {.p = p, .tok = tok, .s = s, .documents = documents, .options = options, .result = result};
    e.ranks = options->ranks ? options->ranks : comm_alone();
    e.sample = options->sample ? *options->sample : sample_take(s->count, documents, options->tokens, options->seed);
    e.length = options->seq < s->count - 1 ? options->seq : s->count - 1;
    size_t N = (size_t)(options->batch * e.length), ranks = (size_t)e.ranks->ranks;
    e.windows = xmalloc(ranks * (size_t)options->batch * sizeof *e.windows);
    e.counts = xcalloc(ranks, sizeof *e.counts);
    e.ids = xmalloc(3 * N * sizeof(int32_t));
    e.targets = e.ids + N;
    e.first = e.targets + N;
    e.nll = xcalloc(ranks * N, sizeof(float));
    if (options->probe) {
        e.positions = xmalloc(N * sizeof *e.positions);
        routing_probe_attach(options->probe, p);
    }
    if (options->blend_lambda > 0)
        e.blend = bigram_blend_create(pass_model(p)->config.vocab_size, options->blend_lambda);
    result->domain_count = documents ? documents->domain_count : 0;
    for (int i = 0; i < result->domain_count; i++) result->domain_name[i] = xstrdup(documents->domains[i]);
    double started = clock_seconds();
    status outcome = evaluate(&e);
    result->whole = e.sample.whole;
    result->seconds = clock_seconds() - started;
    bigram_blend_destroy(e.blend);
    if (!options->sample) sample_free(&e.sample);
    free(e.windows);
    free(e.counts);
    free(e.ids);
    free(e.nll);
    if (options->probe) routing_probe_attach(options->probe, NULL);
    free(e.positions);
    return outcome;
}

void bpb_result_free(bpb_result *r) {
    for (int i = 0; i < r->domain_count; i++) free(r->domain_name[i]);
    *r = (bpb_result){0};
}

cJSON *bpb_by_domain(const bpb_result *r, double (*measure)(const bpb_score *)) {
    if (r->domain_count == 0) return NULL;
    cJSON *domains = cJSON_CreateObject();
    for (int i = 0; i < r->domain_count; i++)
        if (r->domain[i].bytes > 0) cJSON_AddNumberToObject(domains, r->domain_name[i], measure(&r->domain[i]));
    return domains;
}
