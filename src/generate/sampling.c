/* One text's state of its sampler: what it has said, and how far its grammar is. */
#include "generate/sample.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sampling {
    sampler s;
    rng r;
    int vocab;
    json_masks *masks; /* NULL: no grammar */
    json_grammar grammar;
    candidate *candidates; /* [vocab] */
    /* of penalties; NULL where there are none */
    int32_t *counts; /* [vocab]: how often the text has said an id; of one that only the prompt has, −1 */
    int32_t *said;   /* [said_count]: ids whose count is not 0 */
    int said_count;
};

/* ---- what may be asked for ---- */

static status check_range(const char *name, double value, double least, double most) {
    if (value >= least && value <= most) return STATUS_OK; /* not a NaN either */
    return fail_usage("%s: expected a number from %g to %g, found %g", name, least, most, value);
}

status sampler_check(const sampler *s, int vocab_size) {
    TRY(check_range("temperature", s->temperature, 0, 1e6));
    TRY(check_range("top_k", s->top_k, 0, INT32_MAX));
    TRY(check_range("top_p", s->top_p, 0, HUGE_VAL));
    TRY(check_range("min_p", s->min_p, 0, 1));
    TRY(check_range("repetition_penalty", s->repetition_penalty, 0, 100));
    TRY(check_range("presence_penalty", s->presence_penalty, -100, 100));
    TRY(check_range("frequency_penalty", s->frequency_penalty, -100, 100));
    for (int i = 0; i < s->bias_count; i++) {
        if (s->biases[i].id < 0 || s->biases[i].id >= vocab_size)
            return fail_usage("logit_bias: expected ids below the vocabulary of %d, found %d", vocab_size,
                              s->biases[i].id);
        if (!(s->biases[i].bias <= 1e6f))
            return fail_usage("logit_bias: expected numbers up to 1e6 for id %d, found %g", s->biases[i].id,
                              (double)s->biases[i].bias);
    }
    return STATUS_OK;
}

/* ---- one text's ---- */

static bool repeats(const sampler *s) {
    return s->repetition_penalty != 0 && s->repetition_penalty != 1;
}

static bool has_penalties(const sampler *s) {
    return repeats(s) || s->presence_penalty != 0 || s->frequency_penalty != 0;
}

static void say(sampling *s, int32_t id, bool in_text) {
    if (!s->counts || id < 0 || id >= s->vocab) return;
    if (s->counts[id] == 0) s->said[s->said_count++] = id;
    if (in_text)
        s->counts[id] = s->counts[id] > 0 ? s->counts[id] + 1 : 1;
    else if (s->counts[id] == 0)
        s->counts[id] = -1;
}

sampling *sampling_create(const sampler *s, json_masks *masks, int vocab, const int32_t *prompt, size_t count) {
    sampling *new = xcalloc(1, sizeof *new);
    const size_t ids = (size_t)vocab, biases = (size_t)s->bias_count * sizeof *s->biases;
    *new = (sampling){.s = *s, .r = rng_seed(s->seed), .vocab = vocab, .masks = s->json ? masks : NULL};
    new->grammar = json_grammar_start();
    if (s->temperature > 0) new->candidates = xmalloc(ids * sizeof *new->candidates);
    new->s.biases = NULL;
    if (biases > 0) new->s.biases = memcpy(xmalloc(biases), s->biases, biases);
    if (!has_penalties(s)) return new;
    new->counts = xcalloc(ids, sizeof *new->counts);
    new->said = xmalloc(ids * sizeof *new->said);
    for (size_t i = 0; i < count && repeats(s); i++) say(new, prompt[i], false);
    return new;
}

void sampling_free(sampling *s) {
    if (!s) return;
    free((void *)s->s.biases);
    free(s->candidates);
    free(s->counts);
    free(s->said);
    free(s);
}

static void penalise(const sampling *s, float *logits) {
    const sampler *a = &s->s;
    for (int i = 0; i < s->said_count; i++) {
        const int32_t id = s->said[i], count = s->counts[id];
        if (repeats(a))
            logits[id] = logits[id] > 0 ? logits[id] / a->repetition_penalty : logits[id] * a->repetition_penalty;
        if (count > 0) logits[id] -= a->frequency_penalty * (float)count + a->presence_penalty;
    }
    for (int i = 0; i < a->bias_count; i++)
        if (a->biases[i].id < s->vocab) logits[a->biases[i].id] += a->biases[i].bias;
}

/* Only what the grammar lets follow. */
static void restrict_ids(const sampling *s, float *logits) {
    const uint64_t *bits = json_masks_of(s->masks, &s->grammar);
    for (int32_t id = 0; id < s->vocab; id++)
        if (!(bits[id / 64] >> id % 64 & 1)) logits[id] = -INFINITY;
}

int32_t sampling_next(sampling *s, float *logits) {
    if (sampling_is_whole(s)) return -1;
    penalise(s, logits);
    if (s->masks) restrict_ids(s, logits);
    const int32_t id = sample_among(&s->s, logits, s->vocab, s->candidates, &s->r);
    return logits[id] > -INFINITY ? id : -1;
}

void sampling_accept(sampling *s, int32_t id) {
    say(s, id, true);
    if (s->masks) (void)json_masks_step(s->masks, &s->grammar, id);
}

bool sampling_is_whole(const sampling *s) {
    return s->masks && json_grammar_is_whole(&s->grammar);
}
