#include "generate/draft_model.h"

#include "base/memory.h"
#include "generate/sampler.h"
#include <math.h>
#include <stdlib.h>

enum { PIECE = 256 };            /* tokens of all texts in one pass */
static const float SURE = 0.35f; /* what a token's probability must be: a row that is wrong costs a part of a pass */

struct draft_model {
    model *m;
    pass *p;
    kv_cache *cache;
    int vocab; /* ids below it are proposed */
    int64_t sequences;
    decode_span *spans; /* [sequences] */
    draft_text **who;   /* [sequences]: whose logits come */
    int32_t *ids;       /* [PIECE + sequences] */
    float *logits;      /* [sequences, the model's vocabulary] */
    /* of the pass that is being gathered */
    int64_t span_count, row_count, asked; /* asked: of who */
};

status draft_model_create(draft_model **out, model *small, int vocab, int64_t sequences, int64_t capacity) {
    const int own = small->config.vocab_size;
    draft_model *d = xcalloc(1, sizeof *d);
    *d = (draft_model){.m = small, .vocab = vocab < own ? vocab : own, .sequences = sequences};
    d->spans = xcalloc((size_t)sequences, sizeof *d->spans);
    d->who = xcalloc((size_t)sequences, sizeof *d->who);
    d->ids = xmalloc((size_t)(PIECE + sequences) * sizeof *d->ids);
    d->logits = xmalloc((size_t)sequences * (size_t)own * sizeof *d->logits);
    status s = pass_create(&d->p, small);
    if (s == STATUS_OK) s = kv_cache_create(&d->cache, small, sequences, capacity);
    if (s == STATUS_OK)
        *out = d;
    else
        draft_model_free(d);
    return s;
}

void draft_model_free(draft_model *d) {
    if (!d) return;
    kv_cache_destroy(d->cache);
    pass_destroy(d->p);
    free(d->spans);
    free(d->who);
    free(d->ids);
    free(d->logits);
    free(d);
}

/* ---- reading along ---- */

/* Ids that the small model does not have, as of a vocabulary that is padded further, are the first one for it. */
static int32_t token_at(const draft_model *d, const draft_text *t, int64_t i) {
    const int32_t id = i < t->count ? t->read[i] : t->tokens[i - t->count];
    return id < d->m->config.vocab_size ? id : 0;
}

/* Cuts off what was proposed and did not come, or belonged to another text; the newest token is always read. */
static int64_t keep_common(const draft_model *d, const draft_text *t) {
    const int32_t *had = kv_cache_tokens(d->cache, t->sequence);
    const int64_t length = kv_cache_length(d->cache, t->sequence);
    int64_t same = 0;
    while (same < length && same < t->count && had[same] == token_at(d, t, same)) same++;
    kv_cache_cut(d->cache, t->sequence, same);
    return same;
}

static void add_tokens(draft_model *d, draft_text *t, int64_t from, int64_t count, bool logits) {
    for (int64_t i = 0; i < count; i++) d->ids[d->row_count++] = token_at(d, t, from + i);
    d->spans[d->span_count++] = (decode_span){.sequence = t->sequence, .count = count, .logits = logits};
    if (logits) d->who[d->asked++] = t;
}

static void begin_pass(draft_model *d) {
    d->span_count = d->row_count = d->asked = 0;
}

static status run_pass(draft_model *d) {
    if (d->span_count == 0) return STATUS_OK;
    return pass_decode_spans(d->p, d->cache, d->spans, d->span_count, d->ids, d->logits);
}

/* What is new of all texts, as far as there is room. */
static status read_along(draft_model *d, draft_text *texts, int64_t count) {
    begin_pass(d);
    for (int64_t i = 0; i < count; i++) {
        draft_text *t = &texts[i];
        if (t->most == 0) continue;
        const int64_t have = keep_common(d, t), left = t->count + 1 - have, room = PIECE - d->row_count;
        const int64_t taken = left < room ? left : room;
        if (taken > 0) add_tokens(d, t, have, taken, taken == left);
    }
    return run_pass(d);
}

/* ---- proposing ---- */

/* The likeliest next token, if it is likely enough and there is room for it. */
static bool propose_next(const draft_model *d, draft_text *t, const float *logits) {
    token_probability likeliest;
    top_probabilities(logits, d->vocab, 1, &likeliest);
    if (!(likeliest.log_prob >= logf(SURE))) return false; /* not where it is no number either */
    t->tokens[1 + t->proposed++] = likeliest.id;
    return t->proposed < t->most;
}

/* A token for each text whose logits are there; then those that go on are read on. */
static status propose_round(draft_model *d) {
    const int64_t before = d->asked, width = d->m->config.vocab_size;
    begin_pass(d);
    for (int64_t i = 0; i < before; i++) {
        draft_text *t = d->who[i]; /* whose place is free from now on */
        if (propose_next(d, t, d->logits + i * width)) add_tokens(d, t, t->count + t->proposed, 1, true);
    }
    return run_pass(d);
}

status draft_model_propose(draft_model *d, draft_text *texts, int64_t count) {
    TRY(read_along(d, texts, count));
    while (d->asked > 0) TRY(propose_round(d));
    return STATUS_OK;
}
