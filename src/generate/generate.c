#include "generate/generate.h"

#include "base/memory.h"
#include "base/progress.h"
#include "generate/ahead.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 }; /* tokens of a prompt at a time: wide enough for products, short enough for Ctrl-C */

struct generation {
    pass *p;
    const tokenizer *tok;
    int vocab; /* ids below it are drawn */
    int32_t *ids;
    int64_t max_tokens;
    int64_t chunk;
    bool show_progress;
    prompt_report prompt; /* ids has prompt.read tokens */
    bool read;            /* by the model */
    json_masks *masks;    /* made when a sampler first asks for them */
    kv_cache *cache;      /* its first prompt.read tokens are the prompt's */
    ahead *ahead;         /* of the text behind it */
    float *logits; /* [2 × the model's vocabulary], of the prompt's last token: as they are changed, and as they were */
};

/* ---- the prompt ---- */

/* The prompt's tokens, or BOS and the last of them: `begins` where the first one is BOS. */
static void take_prompt(generation *g, const int32_t *ids, int64_t count, bool begins, int64_t context) {
    const int64_t kept = context > 0 && count > context ? context : count;
    g->ids = xmalloc((size_t)kept * sizeof *g->ids);
    memcpy(g->ids, ids + count - kept, (size_t)kept * sizeof *ids);
    if (begins) g->ids[0] = ids[0];
    g->prompt.tokens = count;
    g->prompt.read = kept;
}

static status interrupted(const generation *g, int64_t at) {
    (void)fail("interrupted: %lld of the prompt's %lld tokens were read", (long long)at, (long long)g->prompt.read);
    return STATUS_INTERRUPTED;
}

static status read_prompt(generation *g) {
    progress shown = progress_start("reading the prompt");
    status s = STATUS_OK;
    for (int64_t at = 0; at < g->prompt.read && s == STATUS_OK; at += g->chunk) {
        int64_t left = g->prompt.read - at, count = left < g->chunk ? left : g->chunk;
        char detail[64];
        snprintf(detail, sizeof detail, "%lld of %lld tokens", (long long)at, (long long)g->prompt.read);
        if (g->show_progress) progress_show(&shown, (double)at / (double)g->prompt.read, detail);
        s = interrupt_requested() ? interrupted(g, at) : pass_decode(g->p, g->cache, g->ids + at, count, g->logits);
    }
    progress_clear(&shown);
    g->prompt.seconds = clock_seconds() - shown.started;
    return s;
}

status generation_read(generation *g) {
    size_t vocab = (size_t)pass_model(g->p)->config.vocab_size;
    if (g->read) return STATUS_OK;
    TRY(read_prompt(g));
    memcpy(g->logits + vocab, g->logits, vocab * sizeof *g->logits);
    g->read = true;
    return STATUS_OK;
}

static status prepare(generation *g, const int32_t *ids, int64_t count, bool begins, int64_t context) {
    model *m = pass_model(g->p);
    int vocab = m->config.vocab_size, pieces = tokenizer_vocab_size(g->tok);
    /* A model's vocabulary may be padded beyond the tokenizer's: what has no piece is never drawn. */
    g->vocab = pieces < vocab ? pieces : vocab;
    take_prompt(g, ids, count, begins, context);
    g->logits = xmalloc(2 * (size_t)vocab * sizeof *g->logits);
    TRY(kv_cache_create(&g->cache, m, 1, g->prompt.read + g->max_tokens));
    return ahead_create(&g->ahead, g->p, g->cache, g->vocab, &(draft_source){0});
}

status generation_speculate(generation *g, const draft_source *from) {
    ahead *new;
    TRY(ahead_create(&new, g->p, g->cache, g->vocab, from));
    ahead_free(g->ahead);
    g->ahead = new;
    return STATUS_OK;
}

status generation_open_ids(generation **out, pass *p, const tokenizer *tok, const int32_t *ids, size_t count,
                           const prompt_options *o, int64_t max_tokens) {
    const int32_t bos = tokenizer_bos(tok), nothing = bos >= 0 ? bos : 0;
    const bool empty = count == 0, begins = empty || (bos >= 0 && ids[0] == bos);
    if (max_tokens < 0 || max_tokens > INT32_MAX)
        return fail_usage("max_tokens: expected 0 to %d, found %lld", INT32_MAX, (long long)max_tokens);
    generation *g = xcalloc(1, sizeof *g);
    *g = (generation){.p = p, .tok = tok, .max_tokens = max_tokens};
    g->chunk = o->chunk > 0 ? o->chunk : CHUNK;
    g->show_progress = o->show_progress;
    status s = prepare(g, empty ? &nothing : ids, empty ? 1 : (int64_t)count, begins, o->context);
    if (s == STATUS_OK)
        *out = g;
    else
        generation_close(g);
    return s;
}

status generation_open(generation **out, pass *p, const tokenizer *tok, const char *prompt, size_t bytes,
                       const prompt_options *o, int64_t max_tokens) {
    int32_t *ids;
    size_t count;
    TRY(tokenizer_encode_text(tok, prompt, bytes, &ids, &count));
    const status s = generation_open_ids(out, p, tok, ids, count, o, max_tokens);
    free(ids);
    return s;
}

void generation_close(generation *g) {
    if (!g) return;
    ahead_free(g->ahead);
    kv_cache_destroy(g->cache);
    json_masks_free(g->masks);
    free(g->logits);
    free(g->ids);
    free(g);
}

prompt_report generation_prompt(const generation *g) {
    return g->prompt;
}

/* ---- what follows ---- */

/* Logits as they were behind the prompt, and the cache. */
static void go_back(generation *g) {
    size_t vocab = (size_t)pass_model(g->p)->config.vocab_size;
    kv_cache_cut(g->cache, 0, g->prompt.read);
    ahead_begin(g->ahead);
    memcpy(g->logits, g->logits + vocab, vocab * sizeof *g->logits);
}

static status continue_text(generation *g, writing *w, generate_sink sink, void *context, generate_result *result) {
    written next = {0};
    float *logits = g->logits;
    bool go_on = true;
    while (go_on && !next.ended && !interrupt_requested()) {
        const int64_t more = g->max_tokens - writing_tokens(w) - 1; /* the last one is not read */
        if (next.drew) TRY(ahead_read(g->ahead, next.event.id, more, &logits));
        TRY(writing_next(w, logits, &next));
        result->new_tokens = writing_tokens(w);
        if (next.drew && next.event.bytes > 0) go_on = sink(context, next.event.text, next.event.bytes);
    }
    return interrupt_requested() ? STATUS_INTERRUPTED : STATUS_OK;
}

status generation_continue(generation *g, const sampler *s, generate_sink sink, void *context,
                           generate_result *result) {
    *result = (generate_result){0};
    TRY(sampler_check(s, pass_model(g->p)->config.vocab_size));
    TRY(generation_read(g));
    if (s->json && !g->masks) g->masks = json_masks_create(g->tok, g->vocab);
    double started = clock_seconds();
    go_back(g);
    const writing_options options = {.sampler = *s, .max_tokens = g->max_tokens};
    writing *w = writing_create(g->tok, g->masks, g->vocab, &options, g->ids, (size_t)g->prompt.read);
    status outcome = g->max_tokens > 0 ? continue_text(g, w, sink, context, result) : STATUS_OK;
    writing_free(w);
    ahead_settle(g->ahead);
    result->drafts = ahead_figures(g->ahead);
    result->seconds = clock_seconds() - started;
    return outcome;
}

status generate(pass *p, const tokenizer *tok, const char *prompt, const sampler *s, int64_t max_tokens,
                generate_sink sink, void *context, generate_result *result) {
    generation *g;
    *result = (generate_result){0};
    TRY(generation_open(&g, p, tok, prompt, strlen(prompt), &(prompt_options){0}, max_tokens));
    status outcome = generation_continue(g, s, sink, context, result);
    generation_close(g);
    return outcome;
}
