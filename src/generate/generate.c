#include "generate/generate.h"

#include "base/memory.h"
#include "base/progress.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How much of text is whole UTF-8: an unfinished character at the end waits for its other bytes. */
static size_t whole_utf8(const char *text, size_t bytes) {
    for (size_t back = 1; back <= 3 && back <= bytes; back++) {
        unsigned char c = (unsigned char)text[bytes - back];
        if ((c & 0xc0) == 0x80) continue; /* a continuation byte: look further back for its start */
        size_t needs = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return needs > back ? bytes - back : bytes;
    }
    return bytes;
}

typedef struct generation {
    pass *p;
    const tokenizer *tok;
    int32_t *ids; /* BOS, prompt, new tokens */
    int64_t count;
    size_t shown; /* bytes of the decoded text that the sink has had */
    generate_sink sink;
    void *context;
} generation;

static bool all_finite(const float *values, int count) {
    for (int i = 0; i < count; i++)
        if (!isfinite(values[i])) return false;
    return true;
}

/* Hand over what became readable; the whole text is decoded since pieces join only in context. */
static status show(generation *g, bool *go_on) {
    char *text;
    size_t bytes;
    TRY(tokenizer_decode(g->tok, g->ids, (size_t)g->count, &text, &bytes));
    size_t whole = whole_utf8(text, bytes);
    if (whole > g->shown) {
        *go_on = g->sink(g->context, text + g->shown, whole - g->shown);
        g->shown = whole;
    }
    free(text);
    return STATUS_OK;
}

static status continue_text(generation *g, kv_cache *cache, float *logits, const sampler *s, int64_t max_tokens,
                            generate_result *result) {
    rng r = rng_seed(s->seed);
    int bos = tokenizer_bos(g->tok);
    bool go_on = true;
    double started = clock_seconds();
    TRY(pass_decode(g->p, cache, g->ids, g->count, logits));
    result->prompt_seconds = clock_seconds() - started;
    started = clock_seconds();
    for (int64_t i = 0; i < max_tokens && go_on && !interrupt_requested(); i++) {
        if (!all_finite(logits, pass_model(g->p)->config.vocab_size))
            return fail("the model's logits at token %lld are not finite", (long long)g->count);
        int32_t next = sample(s, logits, pass_model(g->p)->config.vocab_size, &r);
        if (next == bos) break;
        g->ids[g->count++] = next;
        result->new_tokens++;
        TRY(show(g, &go_on));
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
    char *text = NULL;
    status outcome = tokenizer_decode(tok, g.ids, (size_t)g.count, &text, &g.shown);
    free(text);
    if (outcome == STATUS_OK) outcome = kv_cache_create(&cache, pass_model(p), 1, capacity);
    if (outcome == STATUS_OK) outcome = continue_text(&g, cache, logits, s, max_tokens, result);
    kv_cache_destroy(cache);
    free(logits);
    free(g.ids);
    return outcome;
}
