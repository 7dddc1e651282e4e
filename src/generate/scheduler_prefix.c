/* What a prompt has in common with one that was read before is copied from there: keys and values of a token depend on
 * the tokens before it and on nothing else, as long as the same experts were asked. Copying is cheap beside reading (of a
 * 135 M model 23 kB a token, against a millisecond), so slots need no shared pages. */
#include "generate/scheduler_state.h"

#include "base/progress.h"

static int64_t common(const int32_t *a, int64_t a_count, const int32_t *b, int64_t b_count) {
    int64_t n = 0;
    while (n < a_count && n < b_count && a[n] == b[n]) n++;
    return n;
}

/* Of the tokens that two prompts have in common, those that the second need not read: some are left, whose last one's
 * logits are wanted, and enough of them that they are read like a whole prompt. */
static int64_t usable(int64_t shared, const job *j) {
    const int64_t most = (int64_t)j->r.prompt_count - FEW_TOKENS - 1;
    if (shared > most) shared = most;
    return shared < LEAST_PREFIX ? 0 : shared;
}

/* How much of the prompt a slot has in its cache. */
static int64_t has_read(const scheduler *s, int index, const job *j) {
    const slot *from = &s->slots[index];
    if (s->o.no_reuse || from->prompt_rows == 0 || !control_equal(s, from->control, j->control)) return 0;
    return usable(common(kv_cache_tokens(s->cache, index), from->prompt_rows, j->r.prompt, (int64_t)j->r.prompt_count),
                  j);
}

/* How much of it a slot will have when its own prompt is read. */
static int64_t will_read(const scheduler *s, int index, const job *j) {
    const slot *from = &s->slots[index];
    if (s->o.no_reuse || from->phase != SLOT_READS || !control_equal(s, from->control, j->control)) return 0;
    return usable(common(from->j->r.prompt, (int64_t)from->j->r.prompt_count, j->r.prompt, (int64_t)j->r.prompt_count),
                  j);
}

static int best_slot(const scheduler *s, const job *j, int64_t *tokens) {
    int best = -1;
    *tokens = 0;
    for (int i = 0; i < s->o.slots; i++) {
        const int64_t here = has_read(s, i, j);
        if (here > *tokens) *tokens = here, best = i;
    }
    return best;
}

int slot_for(const scheduler *s, const job *j) {
    int64_t tokens;
    const int best = best_slot(s, j, &tokens);
    int oldest = -1;
    /* Nothing is copied where most of what the slot has is wanted. */
    if (best >= 0 && s->slots[best].phase == SLOT_IDLE && 2 * tokens >= s->slots[best].prompt_rows) return best;
    for (int i = 0; i < s->o.slots; i++)
        if (s->slots[i].phase == SLOT_IDLE && i != best && (oldest < 0 || s->slots[i].used < s->slots[oldest].used))
            oldest = i;
    return oldest >= 0 ? oldest : best;
}

bool slot_begin(scheduler *s, int index) {
    slot *one = &s->slots[index];
    int64_t tokens;
    const int from = best_slot(s, one->j, &tokens);
    for (int i = 0; i < s->o.slots; i++)
        if (i != index && will_read(s, i, one->j) >= tokens + LEAST_PREFIX) return false;
    kv_cache_copy(s->cache, index, tokens > 0 ? from : index, tokens);
    control_free(one->control);
    one->control = control_copy(s, one->j->control);
    one->cached = one->prompt_rows = tokens;
    one->phase = SLOT_READS;
    return true;
}
