#include "eval/chunks.h"

#include "base/memory.h"
#include "base/progress.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scoring {
    pass *p;
    const chunk_options *options;
    int32_t *ids; /* of the text */
    int64_t count;
    int32_t bos;               /* < 0: chunks begin as the text has them */
    int32_t *inputs, *targets; /* [batch, length] */
    float *nll;                /* [ranks][batch, length] */
    comm *ranks;
    chunk_score *score;
} scoring;

double chunks_perplexity(const chunk_score *s) {
    return exp(s->nll / (double)s->tokens);
}

double chunks_error(const chunk_score *s) {
    const double mean = s->nll / (double)s->tokens, square = s->squares / (double)s->tokens - mean * mean;
    return s->tokens > 1 && square > 0 ? sqrt(square / (double)(s->tokens - 1)) * chunks_perplexity(s) : 0;
}

static status read_ids(scoring *c, const tokenizer *tok, const char *text, size_t bytes) {
    int32_t *ids;
    size_t count;
    TRY(tokenizer_encode(tok, text, bytes, &ids, &count));
    const bool begins = c->bos >= 0;
    c->count = (int64_t)count + begins;
    c->ids = xmalloc((size_t)(c->count + 1) * sizeof *c->ids);
    if (begins) c->ids[0] = c->bos;
    memcpy(c->ids + begins, ids, count * sizeof *ids);
    free(ids);
    return STATUS_OK;
}

/* The target of a chunk's last token is the next chunk's, and is not scored. */
static void fill(const scoring *c, int64_t chunk, int64_t count) {
    const int64_t length = c->options->length;
    memcpy(c->inputs, c->ids + chunk * length, (size_t)(count * length) * sizeof *c->ids);
    for (int64_t i = 0; i < count; i++) {
        int32_t *input = c->inputs + i * length, *target = c->targets + i * length;
        memcpy(target, input + 1, (size_t)(length - 1) * sizeof *target);
        target[length - 1] = 0;
        if (c->bos >= 0) input[0] = c->bos;
    }
}

static status add(const scoring *c, const float *nll) {
    const int64_t length = c->options->length;
    double *own = &c->score->each[c->score->chunks];
    for (int64_t t = length / 2; t < length - 1; t++) {
        if (!isfinite(nll[t])) return fail("chunk %lld: the model's loss is not finite", (long long)c->score->chunks);
        *own += nll[t];
        c->score->squares += (double)nll[t] * nll[t];
        c->score->tokens++;
    }
    c->score->nll += *own;
    c->score->chunks++;
    return STATUS_OK;
}

/* How many chunks are scored. */
static int64_t chunks_of(const scoring *c) {
    const int64_t length = c->options->length, scored = length - 1 - length / 2, all = c->count / length;
    const int64_t asked = c->options->tokens > 0 ? (c->options->tokens + scored - 1) / scored : all;
    return asked < all ? asked : all;
}

/* Of the batch that begins with `chunk`. */
static int64_t count_from(const scoring *c, int64_t chunk) {
    const int64_t left = chunks_of(c) - chunk;
    return left < 0 ? 0 : left < c->options->batch ? left : c->options->batch;
}

static status run_own(scoring *c, int64_t chunk) {
    const int64_t count = count_from(c, chunk), length = c->options->length;
    const batch b = {.batch = count, .length = length, .input_ids = c->inputs, .target_ids = c->targets};
    if (interrupt_requested()) return STATUS_INTERRUPTED;
    if (count == 0) return STATUS_OK;
    fill(c, chunk, count);
    return pass_evaluate(c->p, &b, c->nll + c->ranks->rank * c->options->batch * length);
}

/* A batch for each rank from `chunk` on; everyone has everyone's losses then. */
static status run_round(scoring *c, int64_t chunk) {
    const size_t each = (size_t)(c->options->batch * c->options->length);
    TRY(comm_agree(c->ranks, run_own(c, chunk + c->ranks->rank * c->options->batch)));
    if (c->ranks->ranks == 1) return STATUS_OK;
    float *own = xmalloc(each * sizeof *own);
    memcpy(own, c->nll + (size_t)c->ranks->rank * each, each * sizeof *own);
    const status s = comm_gather(c->ranks, own, c->nll, each * sizeof *own);
    free(own);
    return s;
}

static status run_chunks(scoring *c) {
    const int64_t length = c->options->length, all = chunks_of(c), round = c->ranks->ranks * c->options->batch;
    progress shown = progress_start("evaluate");
    c->score->each = xcalloc((size_t)all, sizeof *c->score->each);
    for (int64_t chunk = 0; chunk < all; chunk += round) {
        TRY(run_round(c, chunk));
        const int64_t count = all - chunk < round ? all - chunk : round;
        for (int64_t i = 0; i < count; i++) {
            const status s = add(c, c->nll + i * length);
            if (s != STATUS_OK) return comm_alike(c->ranks, s);
        }
        char detail[64];
        snprintf(detail, sizeof detail, "perplexity %.4f", chunks_perplexity(c->score));
        if (c->options->show) progress_show(&shown, (double)(chunk + count) / (double)all, detail);
    }
    if (c->options->show) progress_end(&shown, "");
    return STATUS_OK;
}

void chunk_score_free(chunk_score *score) {
    free(score->each);
    *score = (chunk_score){0};
}

status chunks_score(pass *p, const tokenizer *tok, const char *text, size_t bytes, const chunk_options *options,
                    chunk_score *score) {
    const size_t size = (size_t)(options->length * options->batch);
    scoring c = {.p = p, .options = options, .bos = tokenizer_adds_bos(tok) ? tokenizer_bos(tok) : -1, .score = score};
    c.ranks = options->ranks ? options->ranks : comm_alone();
    *score = (chunk_score){0};
    if (options->length < 3)
        return fail_usage("expected chunks of at least 3 tokens, of which one is scored, found %lld",
                          (long long)options->length);
    TRY(read_ids(&c, tok, text, bytes));
    c.inputs = xmalloc(2 * size * sizeof *c.inputs);
    c.targets = c.inputs + size;
    c.nll = xcalloc((size_t)c.ranks->ranks * size, sizeof *c.nll);
    status s = STATUS_OK;
    if (c.count < 2 * options->length)
        s = fail_usage("expected a text of at least two chunks, %lld tokens, found %lld",
                       (long long)(2 * options->length), (long long)c.count);
    if (s == STATUS_OK) s = run_chunks(&c);
    free(c.ids);
    free(c.inputs);
    free(c.nll);
    return s;
}
