#include "generate/writing.h"

#include "base/memory.h"
#include "generate/stop_text.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct writing {
    const tokenizer *tok;
    int vocab;
    sampling *sampling;
    stop_text *stops; /* NULL: no strings stop it */
    detokenizer d;
    int32_t *stop_tokens; /* [stop_token_count] */
    int stop_token_count;
    int32_t *barred; /* [barred_count]: end tokens, where they are ignored */
    int barred_count;
    bool log_probs;
    int top_count;
    token_probability top[TOP_LOG_PROBS_OF_TOKEN];
    int64_t tokens, max_tokens;
};

const char *end_reason_name(end_reason r) {
    static const char *const names[END_REASONS] = {"stop", "length", "cancelled", "error"};
    return names[r];
}

static void bar_ends(writing *w) {
    for (int32_t id = 0; id < w->vocab; id++)
        if (tokenizer_is_end(w->tok, id)) w->barred_count++;
    w->barred = xmalloc((size_t)(w->barred_count + 1) * sizeof *w->barred);
    w->barred_count = 0;
    for (int32_t id = 0; id < w->vocab; id++)
        if (tokenizer_is_end(w->tok, id)) w->barred[w->barred_count++] = id;
}

writing *writing_create(const tokenizer *tok, json_masks *masks, int vocab, const writing_options *o,
                        const int32_t *prompt, size_t count) {
    writing *w = xcalloc(1, sizeof *w);
    const size_t stops = (size_t)o->stop_token_count * sizeof *w->stop_tokens;
    *w = (writing){.tok = tok, .vocab = vocab, .max_tokens = o->max_tokens, .log_probs = o->log_probs};
    w->top_count = !o->log_probs ? 0 : o->top_log_probs < vocab ? o->top_log_probs : vocab;
    w->sampling = sampling_create(&o->sampler, masks, vocab, prompt, count);
    if (o->stop_count > 0) w->stops = stop_text_create(o->stops, o->stop_count);
    w->stop_tokens = xmalloc(stops + 1);
    if (stops > 0) memcpy(w->stop_tokens, o->stop_tokens, stops);
    w->stop_token_count = o->stop_token_count;
    if (o->ignore_end) bar_ends(w);
    w->d = detokenizer_start(tok);
    for (size_t i = 0; i < count; i++) { /* the prompt's text is known; what follows depends on it */
        size_t bytes;
        detokenizer_feed(&w->d, prompt[i], &bytes);
    }
    return w;
}

void writing_free(writing *w) {
    if (!w) return;
    detokenizer_free(&w->d);
    stop_text_free(w->stops);
    sampling_free(w->sampling);
    free(w->stop_tokens);
    free(w->barred);
    free(w);
}

int64_t writing_tokens(const writing *w) {
    return w->tokens;
}

static bool stops_at(const writing *w, int32_t id) {
    for (int i = 0; i < w->stop_token_count; i++)
        if (w->stop_tokens[i] == id) return true;
    return !w->barred && tokenizer_is_end(w->tok, id);
}

/* Nothing is held back any longer. */
static void end(writing *w, written *out, end_reason reason) {
    out->ended = true;
    out->reason = reason;
    if (!w->stops || out->stopped) return;
    if (out->drew)
        out->event.text = stop_text_all(w->stops, &out->event.bytes);
    else
        out->rest = stop_text_rest(w->stops, &out->rest_bytes);
}

/* What can be read of the text now. */
static void show(writing *w, int32_t id, written *out) {
    out->event.text = detokenizer_feed(&w->d, id, &out->event.bytes);
    if (w->stops)
        out->stopped = stop_text_feed(w->stops, out->event.text, out->event.bytes, &out->event.text, &out->event.bytes);
}

/* The id that is drawn; with its own log-probability, which needs the logits as they were, where that is wanted. */
static int32_t draw(writing *w, float *logits, float *log_prob) {
    const size_t bytes = (size_t)w->vocab * sizeof *logits;
    float *own = w->log_probs ? memcpy(xmalloc(bytes), logits, bytes) : NULL;
    const double log_sum = own ? top_probabilities(own, w->vocab, w->top_count, w->top) : 0;
    for (int i = 0; i < w->barred_count; i++) logits[w->barred[i]] = -INFINITY;
    const int32_t id = sampling_next(w->sampling, logits);
    if (own && id >= 0) *log_prob = (float)(own[id] - log_sum);
    free(own);
    return id;
}

status writing_next(writing *w, float *logits, written *out) {
    *out = (written){.rest = ""};
    if (!logits_are_finite(logits, w->vocab))
        return fail("the model's logits behind token %lld are not finite", (long long)w->tokens);
    const int32_t id = draw(w, logits, &out->event.log_prob);
    if (id < 0) return fail("no token of the vocabulary can go on the text as its grammar asks");
    if (stops_at(w, id)) {
        end(w, out, END_STOP);
        return STATUS_OK;
    }
    w->tokens++;
    sampling_accept(w->sampling, id);
    out->drew = true;
    out->event.id = id;
    out->event.top = w->top;
    out->event.top_count = w->top_count;
    show(w, id, out);
    if (out->stopped || sampling_is_whole(w->sampling))
        end(w, out, END_STOP);
    else if (w->tokens >= w->max_tokens)
        end(w, out, END_LENGTH);
    return STATUS_OK;
}
