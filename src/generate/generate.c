#include "generate/generate.h"

#include "base/memory.h"
#include "base/progress.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct generation {
    pass *p;
    const tokenizer *tok;
    int32_t *ids; /* BOS, prompt, new tokens */
    int64_t count;
    detokenizer decoder;
    generate_sink sink;
    void *context;
} generation;

static bool all_finite(const float *values, int count) {
    for (int i = 0; i < count; i++)
        if (!isfinite(values[i])) return false;
    return true;
}

/* Hand over what became readable with this token. */
static bool show(generation *g, int32_t id) {
    size_t bytes;
    const char *text = detokenizer_feed(&g->decoder, id, &bytes);
    return bytes == 0 || g->sink(g->context, text, bytes);
}

static status continue_text(generation *g, kv_cache *cache, float *logits, const sampler *s, int64_t max_tokens,
                            generate_result *result) {
    rng r = rng_seed(s->seed);
    /* A model's vocabulary may be padded beyond the tokenizer's: what has no piece is never drawn. */
    int vocab = pass_model(g->p)->config.vocab_size, pieces = tokenizer_vocab_size(g->tok);
    if (pieces < vocab) vocab = pieces;
    bool go_on = true;
    double started = clock_seconds();
    TRY(pass_decode(g->p, cache, g->ids, g->count, logits));
    result->prompt_seconds = clock_seconds() - started;
    started = clock_seconds();
    for (int64_t i = 0; i < max_tokens && go_on && !interrupt_requested(); i++) {
        if (!all_finite(logits, vocab))
            return fail("the model's logits at token %lld are not finite", (long long)g->count);
        int32_t next = sample(s, logits, vocab, &r);
        if (tokenizer_is_end(g->tok, next)) break;
        g->ids[g->count++] = next;
        result->new_tokens++;
        go_on = show(g, next);
        if (i + 1 < max_tokens) TRY(pass_decode(g->p, cache, &next, 1, logits));
    }
    result->seconds = clock_seconds() - started;
    return interrupt_requested() ? STATUS_INTERRUPTED : STATUS_OK;
}

status generate(pass *p, const tokenizer *tok, const char *prompt, const sampler *s, int64_t max_tokens,
                generate_sink sink, void *context, generate_result *result) {
    int32_t *prompt_ids;
    size_t prompt_count;
    *result = (generate_result){0};
    TRY(tokenizer_encode(tok, prompt, strlen(prompt), &prompt_ids, &prompt_count));
    generation g = {.p = p, .tok = tok, .sink = sink, .context = context};
    int64_t capacity = (int64_t)prompt_count + 1 + max_tokens;
    g.ids = xmalloc((size_t)capacity * sizeof *g.ids);
    if (tokenizer_bos(tok) >= 0 || prompt_count == 0)
        g.ids[g.count++] = tokenizer_bos(tok) >= 0 ? tokenizer_bos(tok) : 0;
    memcpy(g.ids + g.count, prompt_ids, prompt_count * sizeof *prompt_ids);
    free(prompt_ids);
    g.count += (int64_t)prompt_count;
    result->prompt_tokens = g.count;
    float *logits = xmalloc((size_t)pass_model(p)->config.vocab_size * sizeof *logits);
    kv_cache *cache = NULL;
    g.decoder = detokenizer_start(tok);
    for (int64_t i = 0; i < g.count; i++) { /* the prompt's text is known; what follows depends on it */
        size_t bytes;
        detokenizer_feed(&g.decoder, g.ids[i], &bytes);
    }
    status outcome = kv_cache_create(&cache, pass_model(p), 1, capacity);
    if (outcome == STATUS_OK) outcome = continue_text(&g, cache, logits, s, max_tokens, result);
    detokenizer_free(&g.decoder);
    kv_cache_destroy(cache);
    free(logits);
    free(g.ids);
    return outcome;
}
