#include "generate/conversation.h"

#include "base/memory.h"
#include "base/progress.h"
#include "generate/ahead.h"
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 }; /* tokens of a prompt at a time, between looks for Ctrl-C */

struct conversation {
    pass *p;
    const tokenizer *tok;
    int vocab; /* ids below it are drawn: those that the model and the tokenizer both have */
    int64_t context;
    kv_cache *cache; /* of one sequence: what was said so far */
    ahead *ahead;    /* of the answer */
    float *logits;   /* [the model's vocabulary]: of the question's last token */
};

status conversation_open(conversation **out, pass *p, const tokenizer *tok, int64_t context) {
    const int vocab = pass_model(p)->config.vocab_size, pieces = tokenizer_vocab_size(tok);
    conversation *c = xcalloc(1, sizeof *c);
    *c = (conversation){.p = p, .tok = tok, .vocab = pieces < vocab ? pieces : vocab, .context = context};
    c->logits = xmalloc((size_t)vocab * sizeof *c->logits);
    status s = kv_cache_create(&c->cache, pass_model(p), 1, context);
    if (s == STATUS_OK) s = ahead_create(&c->ahead, p, c->cache, c->vocab, &(draft_source){0});
    if (s == STATUS_OK)
        *out = c;
    else
        conversation_close(c);
    return s;
}

void conversation_close(conversation *c) {
    if (!c) return;
    ahead_free(c->ahead);
    kv_cache_destroy(c->cache);
    free(c->logits);
    free(c);
}

status conversation_speculate(conversation *c, const draft_source *from) {
    ahead *new;
    TRY(ahead_create(&new, c->p, c->cache, c->vocab, from));
    ahead_free(c->ahead);
    c->ahead = new;
    return STATUS_OK;
}

void conversation_forget(conversation *c) {
    kv_cache_cut(c->cache, 0, 0);
}

/* ---- reading ---- */

static int64_t held(const conversation *c) {
    return kv_cache_length(c->cache, 0);
}

static int64_t common(const conversation *c, const int32_t *ids, int64_t count) {
    const int32_t *said = kv_cache_tokens(c->cache, 0);
    int64_t same = 0;
    while (same < held(c) && same < count && said[same] == ids[same]) same++;
    return same;
}

static status read_on(conversation *c, const int32_t *ids, int64_t count) {
    return pass_decode(c->p, c->cache, ids, count, c->logits);
}

static status read_new(conversation *c, const int32_t *ids, int64_t count, conversation_turn *turn) {
    const int64_t same = common(c, ids, count),
                  from = same < count ? same : count - 1; /* the last one's logits are wanted */
    kv_cache_cut(c->cache, 0, from);
    for (int64_t at = from; at < count; at += CHUNK) {
        const int64_t left = count - at;
        if (interrupt_requested()) {
            (void)fail("interrupted: %lld of %lld new tokens were read", (long long)(at - from),
                       (long long)(count - from));
            return STATUS_INTERRUPTED;
        }
        TRY(read_on(c, ids + at, left < CHUNK ? left : CHUNK));
    }
    turn->read = count - from;
    return STATUS_OK;
}

/* ---- answering ---- */

static bool show(detokenizer *d, int32_t id, generate_sink sink, void *context) {
    size_t bytes;
    const char *text = detokenizer_feed(d, id, &bytes);
    return bytes == 0 || sink(context, text, bytes);
}

/* Its last token is read, too: the next turn begins behind it. */
static status say(conversation *c, detokenizer *d, const sampler *s, int64_t most, generate_sink sink, void *context,
                  conversation_turn *turn) {
    rng r = rng_seed(s->seed);
    float *logits = c->logits;
    bool go_on = true;
    while (go_on && turn->new_tokens < most) {
        if (interrupt_requested()) return STATUS_INTERRUPTED;
        if (!logits_are_finite(logits, c->vocab))
            return fail("the model's logits behind token %lld of the answer are not finite",
                        (long long)turn->new_tokens);
        const int32_t next = sample(s, logits, c->vocab, &r);
        if (tokenizer_is_end(c->tok, next)) return STATUS_OK;
        turn->new_tokens++;
        go_on = show(d, next, sink, context);
        TRY(ahead_read(c->ahead, next, go_on ? most - turn->new_tokens : 0, &logits));
    }
    turn->full = go_on && turn->tokens + turn->new_tokens == c->context;
    return STATUS_OK;
}

static status say_behind(conversation *c, const sampler *s, int64_t most, generate_sink sink, void *context,
                         conversation_turn *turn) {
    detokenizer d = detokenizer_start(c->tok);
    const int32_t *said = kv_cache_tokens(c->cache, 0);
    for (int64_t i = 0; i < held(c); i++) { /* how a token reads depends on what comes before it */
        size_t bytes;
        detokenizer_feed(&d, said[i], &bytes);
    }
    ahead_begin(c->ahead);
    const status outcome = say(c, &d, s, most, sink, context, turn);
    ahead_settle(c->ahead);
    turn->drafts = ahead_figures(c->ahead);
    detokenizer_free(&d);
    return outcome;
}

status conversation_answer(conversation *c, const int32_t *ids, int64_t count, const sampler *s, int64_t max_tokens,
                           generate_sink sink, void *context, conversation_turn *turn) {
    const double started = clock_seconds();
    *turn = (conversation_turn){.tokens = count};
    if (count >= c->context)
        return fail("the conversation: expected fewer tokens than the context's %lld, found %lld",
                    (long long)c->context, (long long)count);
    status outcome = read_new(c, ids, count, turn);
    const double read = clock_seconds();
    turn->read_seconds = read - started;
    if (outcome != STATUS_OK) return outcome;
    const int64_t room = c->context - count;
    outcome = say_behind(c, s, max_tokens < room ? max_tokens : room, sink, context, turn);
    turn->seconds = clock_seconds() - read;
    return outcome;
}

int64_t conversation_rows_behind(const conversation *c) {
    return ahead_rows_behind(c->ahead);
}
