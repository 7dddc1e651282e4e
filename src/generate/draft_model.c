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

static int32_t token_at(const draft_text *t, int64_t i) {
    return i < t->count ? t->read[i] : t->tokens[i - t->count];
}

/* Cuts off what was proposed and did not come, or belonged to another text; the newest token is always read. */
static int64_t keep_common(const draft_model *d, const draft_text *t) {
    const int32_t *had = kv_cache_tokens(d->cache, t->sequence);
    const int64_t length = kv_cache_length(d->cache, t->sequence);
    int64_t same = 0;
    while (same < length && same < t->count && had[same] == token_at(t, same)) same++;
    kv_cache_cut(d->cache, t->sequence, same);
    return same;
}

/* Ids that the small model does not have, as of a vocabulary that is padded further, are read as the first one. */
static void add_tokens(draft_model *d, draft_text *t, int64_t from, int64_t count, bool logits, int64_t *spans,
                       int64_t *rows, int64_t *asked) {
    for (int64_t i = 0; i < count; i++) {
        const int32_t id = token_at(t, from + i);
        d->ids[(*rows)++] = id < d->m->config.vocab_size ? id : 0;
    }
    d->spans[(*spans)++] = (decode_span){.sequence = t->sequence, .count = count, .logits = logits};
    if (logits) d->who[(*asked)++] = t;
}

/* What is new of all texts, as far as there is room; *asked: how many of them have logits now. */
static status read_along(draft_model *d, draft_text *texts, int64_t count, int64_t *asked) {
    int64_t spans = 0, rows = 0;
    *asked = 0;
    for (int64_t i = 0; i < count; i++) {
        draft_text *t = &texts[i];
        if (t->most == 0) continue;
        const int64_t have = keep_common(d, t), left = t->count + 1 - have, room = PIECE - rows;
        const int64_t taken = left < room ? left : room;
        if (taken > 0) add_tokens(d, t, have, taken, taken == left, &spans, &rows, asked);
    }
    return spans > 0 ? pass_decode_spans(d->p, d->cache, d->spans, spans, d->ids, d->logits) : STATUS_OK;
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
static status propose_round(draft_model *d, int64_t *asked) {
    const int64_t before = *asked, width = d->m->config.vocab_size;
    int64_t spans = 0, rows = 0;
    *asked = 0;
    for (int64_t i = 0; i < before; i++) {
        draft_text *t = d->who[i];
        if (propose_next(d, t, d->logits + i * width))
            add_tokens(d, t, t->count + t->proposed, 1, true, &spans, &rows, asked);
    }
    return spans > 0 ? pass_decode_spans(d->p, d->cache, d->spans, spans, d->ids, d->logits) : STATUS_OK;
}

status draft_model_propose(draft_model *d, draft_text *texts, int64_t count) {
    int64_t asked;
    TRY(read_along(d, texts, count, &asked));
    while (asked > 0) TRY(propose_round(d, &asked));
    return STATUS_OK;
}
