/* What a prompt has in common with one that was read before is held with that: keys and values of a token depend on the
 * tokens before it and on nothing else, as long as the same experts were asked. */
#include "generate/scheduler_state.h"

/* Tokens that a sequence of the cache and another text have in common. */
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

/* How much of the prompt a sequence has whose first `rows` tokens were read as one, with that control. */
static int64_t has_read(const scheduler *s, int64_t sequence, int64_t rows, const expert_control *control,
                        const job *j) {
    if (rows < LEAST_PREFIX || !control_equal(s, control, j->control)) return 0;
    return usable(common(kv_cache_tokens(s->cache, sequence), rows, j->r.prompt, (int64_t)j->r.prompt_count), j);
}

/* How much of it a slot will have when its own prompt is read. */
static int64_t will_read(const scheduler *s, int index, const job *j) {
    const slot *from = &s->slots[index];
    if (s->o.no_reuse || from->phase != SLOT_READS || !control_equal(s, from->j->control, j->control)) return 0;
    return usable(common(from->j->r.prompt, (int64_t)from->j->r.prompt_count, j->r.prompt, (int64_t)j->r.prompt_count),
                  j);
}

/* The sequence that has most of the prompt; *tokens: how many, 0 where none has. */
static int64_t best_sequence(scheduler *s, const job *j, int64_t *tokens) {
    int64_t best = -1;
    *tokens = 0;
    for (int i = 0; i < s->o.slots && !s->o.no_reuse; i++) {
        const slot *one = &s->slots[i];
        if (one->phase != SLOT_READS && one->phase != SLOT_WRITES) continue;
        const int64_t here = has_read(s, i, one->prompt_rows, one->j->control, j);
        if (here > *tokens) *tokens = here, best = i;
    }
    for (int i = 0; i < s->kept_count; i++) {
        const int64_t here = has_read(s, s->o.slots + i, s->kept[i].rows, s->kept[i].control, j);
        if (here > *tokens) *tokens = here, best = s->o.slots + i;
    }
    if (best >= s->o.slots) s->kept[best - s->o.slots].used = ++s->turns;
    return best;
}

beginning slot_begin(scheduler *s, int index) {
    slot *one = &s->slots[index];
    int64_t tokens;
    const int64_t from = best_sequence(s, one->j, &tokens);
    for (int i = 0; i < s->o.slots; i++)
        if (i != index && will_read(s, i, one->j) >= tokens + LEAST_PREFIX) return BEGINNING_LATER;
    /* It holds them before anybody makes way. */
    if (tokens > 0) kv_cache_copy(s->cache, index, from, tokens);
    if (!room_to_begin(s, index, (int64_t)one->j->r.prompt_count + one->again_count - tokens)) {
        kv_cache_cut(s->cache, index, 0);
        return BEGINNING_FULL;
    }
    one->prompt_rows = tokens;
    one->phase = SLOT_READS;
    return BEGINNING_MADE;
}

/* ---- what is kept ---- */

static void forget(scheduler *s, int i) {
    kv_cache_cut(s->cache, s->o.slots + i, 0);
    control_free(s->kept[i].control);
    s->kept[i] = (kept_prompt){0};
}

/* The one that was not used for the longest time; −1: none is kept. */
static int oldest(const scheduler *s) {
    int found = -1;
    for (int i = 0; i < s->kept_count; i++)
        if (s->kept[i].rows > 0 && (found < 0 || s->kept[i].used < s->kept[found].used)) found = i;
    return found;
}

/* From its end, since what others may hold, too, is its beginning. */
bool forget_block(scheduler *s) {
    const int64_t block = kv_cache_count(s->cache).tokens;
    const int i = oldest(s);
    if (i < 0) return false;
    s->kept[i].rows = (s->kept[i].rows - 1) / block * block;
    if (s->kept[i].rows < LEAST_PREFIX)
        forget(s, i);
    else
        kv_cache_cut(s->cache, s->o.slots + i, s->kept[i].rows);
    return true;
}

/* Where a prompt is kept: in the place of one that it begins with, in one that is empty, or in the oldest one's. −1: it is
 * the beginning of one that is kept. */
static int place_for(scheduler *s, const int32_t *tokens, int64_t rows, const expert_control *control) {
    int empty = -1;
    for (int i = 0; i < s->kept_count; i++) {
        kept_prompt *k = &s->kept[i];
        if (k->rows == 0) empty = i;
        if (k->rows == 0 || !control_equal(s, k->control, control)) continue;
        const int64_t same = common(kv_cache_tokens(s->cache, s->o.slots + i), k->rows, tokens, rows);
        if (same == rows) {
            k->used = ++s->turns;
            return -1;
        }
        if (same == k->rows) return i;
    }
    return empty >= 0 ? empty : oldest(s);
}

void keep_prompt(scheduler *s, int index, expert_control *control) {
    const int64_t rows = s->slots[index].prompt_rows;
    const bool keeps = s->kept_count > 0 && rows >= LEAST_PREFIX;
    const int place = keeps ? place_for(s, kv_cache_tokens(s->cache, index), rows, control) : -1;
    if (place < 0) {
        control_free(control);
        return;
    }
    forget(s, place);
    kv_cache_copy(s->cache, s->o.slots + place, index, rows);
    s->kept[place] = (kept_prompt){.rows = rows, .control = control, .used = ++s->turns};
}

void free_kept(scheduler *s) {
    for (int i = 0; s->kept && i < s->kept_count; i++) control_free(s->kept[i].control);
}
