/* Who gets a block when none is free: kept prompts make way, then the text that began last does.
 *
 * Nobody waits for ever: a text that begins waits for those that run, of which the one that began first is never put back,
 * always has its next block, and ends. Alone it has all blocks, which are enough for it. */
#include "base/memory.h"
#include "generate/scheduler_state.h"
#include <stdlib.h>
#include <string.h>

static bool holds_blocks(const slot *one) {
    return one->phase == SLOT_READS || one->phase == SLOT_WRITES;
}

bool room_to_go_on(scheduler *s, int index, int64_t count) {
    while (!kv_cache_reserve(s->cache, index, count))
        if (!forget_block(s)) return false;
    return true;
}

bool room_to_begin(scheduler *s, int index, int64_t count) {
    int64_t others = 0;
    for (int i = 0; i < s->o.slots; i++) others += i != index && holds_blocks(&s->slots[i]);
    const int64_t left = kv_cache_count(s->cache).all - kv_cache_held(s->cache, 0, s->o.slots);
    if (others > 0 && kv_cache_missing(s->cache, index, count) + others > left) return false;
    return room_to_go_on(s, index, count);
}

/* ---- putting back ---- */

/* What it has read behind its prompt; while that is being read again it is known already. */
static void remember(scheduler *s, int index) {
    slot *one = &s->slots[index];
    const int64_t prompt = (int64_t)one->j->r.prompt_count, count = kv_cache_length(s->cache, index) - prompt;
    if (one->phase != SLOT_WRITES) return;
    one->resumes = true;
    one->again_count = count;
    one->again = xrealloc(one->again, (size_t)(count + 1) * sizeof *one->again);
    memcpy(one->again, kv_cache_tokens(s->cache, index) + prompt, (size_t)count * sizeof *one->again);
}

static void put_back(scheduler *s, int index) {
    slot *one = &s->slots[index];
    remember(s, index);
    keep_prompt(s, index, control_copy(s, one->j->control));
    kv_cache_cut(s->cache, index, 0);
    one->prompt_rows = 0;
    one->phase = SLOT_BEGINS;
    pthread_mutex_lock(&s->lock);
    s->figures.cache.put_back++;
    pthread_mutex_unlock(&s->lock);
}

static int newest(const scheduler *s) {
    int found = -1;
    for (int i = 0; i < s->o.slots; i++)
        if (holds_blocks(&s->slots[i]) && (found < 0 || s->slots[i].turn > s->slots[found].turn)) found = i;
    return found;
}

/* Of the texts that are written, the one that began first of those from this turn on; −1: none. */
static int next_writer(const scheduler *s, uint64_t turn) {
    int found = -1;
    for (int i = 0; i < s->o.slots; i++) {
        const slot *one = &s->slots[i];
        if (one->phase == SLOT_WRITES && one->turn >= turn && (found < 0 || one->turn < s->slots[found].turn))
            found = i;
    }
    return found;
}

void room_to_write(scheduler *s) {
    for (int i = next_writer(s, 0); i >= 0;) {
        const uint64_t turn = s->slots[i].turn;
        while (s->slots[i].phase == SLOT_WRITES && !room_to_go_on(s, i, 1)) put_back(s, newest(s));
        i = next_writer(s, turn + 1);
    }
}
