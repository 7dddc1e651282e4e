/* A step: one pass over the next token of every text that is written, and over pieces of prompts. */
#include "base/memory.h"
#include "base/progress.h"
#include "generate/scheduler_state.h"
#include <stdlib.h>

/* ---- what it is over ---- */

static void add_span(step *a, const int32_t *ids, decode_span span) {
    a->spans[a->count] = span;
    for (int64_t i = 0; i < span.count; i++) a->ids[a->starts[a->count] + i] = ids[i];
    a->starts[a->count + 1] = a->starts[a->count] + span.count;
    a->counted[a->count] = 0;
    a->count++;
}

/* ---- texts that are written ---- */

static void find_texts(scheduler *s) {
    step *a = &s->step;
    a->text_count = a->proposed = 0;
    for (int i = 0; i < s->o.slots; i++)
        if (s->slots[i].phase == SLOT_WRITES)
            a->texts[a->text_count++] = (draft_text){.sequence = i,
                                                     .read = kv_cache_tokens(s->cache, i),
                                                     .count = kv_cache_length(s->cache, i),
                                                     .tokens = {s->slots[i].next}};
}

/* What it may go on with, of which there is room for the first token. */
static int64_t room_ahead(scheduler *s, int index, int64_t most) {
    if (most <= 0) return 0;
    return room_to_go_on(s, index, 1 + most) ? most : kv_cache_room(s->cache, index) - 1;
}

/* Each may go on with as many tokens as the others and as it has room for; its last one is not read. */
static void find_room(scheduler *s) {
    step *a = &s->step;
    const int64_t rows = 1 + DRAFT_MOST, share = a->text_count > 0 ? rows / a->text_count - 1 : 0;
    for (int64_t i = 0; i < a->text_count; i++) {
        const slot *one = &s->slots[a->texts[i].sequence];
        const int64_t left = one->j->r.how.max_tokens - writing_tokens(one->w) - 1, most = left < share ? left : share;
        a->texts[i].most = s->drafts ? (int)room_ahead(s, (int)a->texts[i].sequence, most) : 0;
    }
}

static void gather_texts(scheduler *s) {
    step *a = &s->step;
    room_to_write(s);
    find_texts(s);
    find_room(s);
    /* Without proposals texts go on all the same, so where they fail (memory) nobody need hear of it. */
    if (drafts_propose(s->drafts, a->texts, a->text_count) != STATUS_OK)
        for (int64_t i = 0; i < a->text_count; i++) a->texts[i].proposed = 0;
    for (int64_t i = 0; i < a->text_count; i++) {
        const draft_text *t = &a->texts[i];
        add_span(a, t->tokens,
                 (decode_span){.sequence = t->sequence,
                               .count = 1 + t->proposed,
                               .logits = 1 + t->proposed,
                               .one_by_one = true,
                               .experts = s->slots[t->sequence].j->control});
        a->proposed += t->proposed;
        s->slots[t->sequence].counted = t->count + 1; /* and those of the proposed tokens that are drawn */
    }
}

/* ---- prompts that are read ---- */

/* How many of the `left` tokens of a prompt are read where there is room for so many; see FEW_TOKENS. */
static int64_t piece_of(int64_t left, int64_t room) {
    if (left <= room) return left;
    if (room < LEAST_PIECE) return 0;
    return left - room > FEW_TOKENS ? room : room - FEW_TOKENS;
}

/* The slot whose prompt is read first: of those from this turn on the one that has waited longest; −1: none. */
static int next_reader(const scheduler *s, uint64_t turn) {
    int found = -1;
    for (int i = 0; i < s->o.slots; i++) {
        const slot *one = &s->slots[i];
        const bool reads = one->phase == SLOT_READS || one->phase == SLOT_BEGINS;
        if (reads && one->turn >= turn && (found < 0 || one->turn < s->slots[found].turn)) found = i;
    }
    return found;
}

/* It begins for the first time. */
static void begin_text(scheduler *s, int index) {
    slot *one = &s->slots[index];
    job *j = one->j;
    drafts_begin(s->drafts, index);
    one->w = writing_create(s->tok, s->masks, s->vocab, &j->r.how, j->r.prompt, j->r.prompt_count);
    one->cached = one->counted = one->prompt_rows;
    j->began = clock_seconds();
    pthread_mutex_lock(&s->lock);
    s->figures.prompt_tokens += (int64_t)j->r.prompt_count;
    s->figures.cached_tokens += one->cached;
    s->figures.prefix_hits += one->cached > 0;
    pthread_mutex_unlock(&s->lock);
}

/* A piece of what the slot is to read: of its prompt, or of what it had written before it was put back, one by one as it
 * was read then. count 0: there is no room for one. */
static decode_span next_piece(const scheduler *s, int index, int64_t room) {
    const slot *one = &s->slots[index];
    const int64_t at = kv_cache_length(s->cache, index), left = (int64_t)one->j->r.prompt_count - at;
    decode_span span = {.sequence = index, .experts = one->j->control};
    if (left > 0) {
        span.count = piece_of(left, room);
        span.logits = span.count == left && !one->resumes ? 1 : 0;
    } else {
        span.count = left + one->again_count < room ? left + one->again_count : room;
        span.one_by_one = true;
    }
    return span;
}

static void add_piece(scheduler *s, decode_span span) {
    step *a = &s->step;
    slot *one = &s->slots[span.sequence];
    const int64_t at = kv_cache_length(s->cache, span.sequence), before = one->counted - at;
    const int64_t behind = at - (int64_t)one->j->r.prompt_count;
    add_span(a, span.one_by_one ? one->again + behind : one->j->r.prompt + at, span);
    a->counted[a->count - 1] = before < 0 ? 0 : before < span.count ? before : span.count;
    if (one->counted < at + span.count) one->counted = at + span.count;
}

/* In order: neither a shorter prompt overtakes, nor does a text begin that needs fewer blocks than one that waits for
 * them; but those that have begun are read, for that one waits for them. */
static void gather_prompts(scheduler *s, int64_t room) {
    uint64_t turn = 0;
    bool full = false;
    for (int i = next_reader(s, 0); i >= 0 && room > 0; i = next_reader(s, turn)) {
        slot *one = &s->slots[i];
        turn = one->turn + 1;
        if (one->phase == SLOT_BEGINS) {
            const beginning made = full ? BEGINNING_FULL : slot_begin(s, i);
            full = made == BEGINNING_FULL;
            if (made != BEGINNING_MADE) continue;
            if (!one->w) begin_text(s, i);
        }
        const decode_span span = next_piece(s, i, room);
        if (span.count == 0) return;
        add_piece(s, span);
        room -= span.count;
    }
}

bool step_gather(scheduler *s) {
    s->step.count = s->step.starts[0] = 0;
    gather_texts(s);
    gather_prompts(s, s->step.text_count > 0 ? s->o.chunk_beside : s->o.chunk);
    return s->step.count > 0;
}

/* ---- what follows ---- */

/* row: of the pass's logits of this slot, that the token was drawn from. */
static void tell_token(scheduler *s, slot *one, int row, token_event *event) {
    job *j = one->j;
    const double now = clock_seconds();
    pthread_mutex_lock(&s->lock);
    s->figures.completion_tokens++;
    if (j->first > 0)
        latency_add(&s->figures.between_tokens, now - j->last);
    else
        latency_add(&s->figures.first_token, now - j->submitted);
    pthread_mutex_unlock(&s->lock);
    if (j->first == 0) j->first = now;
    j->last = now;
    event->route_count = j->r.routing ? one->route_count : 0;
    event->routes = one->routes + (ptrdiff_t)row * s->path_routed;
    if (j->r.on_token) j->r.on_token(j->r.context, event);
}

void job_end(scheduler *s, job *j, const slot *one, end_reason reason, const char *error, const written *last) {
    const double now = clock_seconds();
    const text_end end = {.reason = reason,
                          .error = error,
                          .stopped = last ? last->stopped : NULL,
                          .text = last ? last->rest : "",
                          .bytes = last ? last->rest_bytes : 0,
                          .prompt_tokens = (int64_t)j->r.prompt_count,
                          .cached_tokens = one ? one->cached : 0,
                          .completion_tokens = one && one->w ? writing_tokens(one->w) : 0,
                          .queue_seconds = (j->began > 0 ? j->began : now) - j->submitted,
                          .first_token_seconds = j->first > 0 ? j->first - j->submitted : 0,
                          .seconds = now - j->submitted};
    pthread_mutex_lock(&s->lock); /* before whoever waits for the end looks at the figures */
    s->figures.ended[reason]++;
    pthread_mutex_unlock(&s->lock);
    job_free(s->telling); /* one that ran out of memory while it was told */
    s->telling = j;
    if (j->r.on_end) j->r.on_end(j->r.context, &end);
    s->telling = NULL;
    job_free(j);
}

/* Its blocks go first, so that whoever hears of the end finds them free. */
static void leave_cache(scheduler *s, slot *one) {
    const int index = (int)(one - s->slots);
    keep_prompt(s, index, one->j->control);
    one->j->control = NULL;
    kv_cache_cut(s->cache, index, 0);
    one->prompt_rows = 0;
}

void slot_end(scheduler *s, slot *one, end_reason reason, const char *error, const written *last) {
    job *j = one->j;
    leave_cache(s, one);
    pthread_mutex_lock(&s->lock);
    one->j = NULL; /* nobody cancels it any more */
    s->figures.running--;
    figures_see_cache(s);
    pthread_mutex_unlock(&s->lock);
    job_end(s, j, one, reason, error, last);
    writing_free(one->w);
    one->w = NULL;
    one->phase = SLOT_IDLE;
    one->cached = one->counted = one->again_count = one->route_count = 0;
    one->resumes = false;
}

/* From the logits of a row to the next token; false: the text is over. */
static bool advance(scheduler *s, slot *one, int row, float *logits) {
    written next;
    if (writing_next(one->w, logits, &next) != STATUS_OK) {
        slot_end(s, one, END_ERROR, error_message(), NULL);
        return false;
    }
    if (next.drew) tell_token(s, one, row, &next.event);
    one->next = next.event.id;
    one->phase = SLOT_WRITES;
    if (next.ended) slot_end(s, one, next.reason, NULL, &next);
    return !next.ended;
}

/* The same for as many rows as what was drawn is what was proposed. */
static void advance_text(scheduler *s, const draft_text *t, float *logits) {
    slot *one = &s->slots[t->sequence];
    int row = 0;
    while (advance(s, one, row, logits + (int64_t)row * s->m->config.vocab_size) && row < t->proposed &&
           one->next == t->tokens[1 + row] && !slot_is_cancelled(s, one))
        figures_add_proposed(s, one, ++row);
    if (one->phase == SLOT_WRITES) { /* not over */
        kv_cache_cut(s->cache, t->sequence, t->count + 1 + row);
        one->counted = t->count + 1 + row;
    }
    drafts_learn(s->drafts, t, row);
}

static int64_t to_read(const slot *one) {
    return (int64_t)one->j->r.prompt_count + one->again_count;
}

/* The pass failed: what it was over is over, and nothing of it is kept. */
static void give_up(scheduler *s, const char *error) {
    for (int64_t i = 0; i < s->step.count; i++) {
        slot *one = &s->slots[s->step.spans[i].sequence];
        one->prompt_rows = 0;
        slot_end(s, one, END_ERROR, error, NULL);
    }
}

void step_run(scheduler *s) {
    const step *a = &s->step;
    const double started = clock_seconds();
    for (int i = 0; i < s->o.slots; i++) s->slots[i].route_count = 0;
    const status outcome = pass_decode_spans(s->p, s->cache, a->spans, a->count, a->ids, s->logits);
    pthread_mutex_lock(&s->lock);
    figures_add_step(s, clock_seconds() - started);
    pthread_mutex_unlock(&s->lock);
    if (outcome != STATUS_OK) {
        char *error = xstrdup(error_message());
        give_up(s, error);
        free(error);
        return;
    }
    float *logits = s->logits;
    for (int64_t i = 0; i < a->count; logits += a->spans[i++].logits * s->m->config.vocab_size) {
        slot *one = &s->slots[a->spans[i].sequence];
        if (i < a->text_count) {
            advance_text(s, &a->texts[i], logits);
            continue;
        }
        if (a->spans[i].count > FEW_TOKENS && !a->spans[i].one_by_one) one->prompt_rows += a->spans[i].count;
        if (a->spans[i].logits > 0)
            (void)advance(s, one, 0, logits);
        else if (one->resumes && kv_cache_length(s->cache, a->spans[i].sequence) == to_read(one))
            one->phase = SLOT_WRITES;
    }
}
