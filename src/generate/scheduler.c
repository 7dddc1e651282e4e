/* The queue, the thread, and its life. */
#include "generate/scheduler.h"

#include "base/memory.h"
#include "base/progress.h"
#include "generate/scheduler_state.h"
#include <stdlib.h>

enum { SLOTS = 8, QUEUE = 64, CHUNK = 256, CHUNK_BESIDE = 64 };
enum { MOST_SLOTS = 4096, MOST_QUEUE = 1 << 20, MOST_CHUNK = 1 << 16, MOST_CONTEXT = 1 << 24 };

/* ---- requests ---- */

submit_answer scheduler_submit(scheduler *s, const text_request *r, ticket *out) {
    if (request_check(s, r) != STATUS_OK) return SUBMIT_REFUSED;
    job *j = job_create(s, r);
    j->submitted = clock_seconds();
    pthread_mutex_lock(&s->lock);
    const submit_answer answer = s->closed                                                    ? SUBMIT_CLOSED
                                 : s->waiting >= s->o.queue + s->o.slots - s->figures.running ? SUBMIT_FULL
                                                                                              : SUBMIT_ACCEPTED;
    if (answer == SUBMIT_ACCEPTED) {
        *out = j->id = ++s->tickets;
        *(s->first ? &s->last->next : &s->first) = j;
        s->last = j;
        s->waiting++;
        s->figures.accepted++;
        pthread_cond_signal(&s->work);
    }
    s->figures.full += answer == SUBMIT_FULL;
    pthread_mutex_unlock(&s->lock);
    if (answer != SUBMIT_ACCEPTED) job_free(j);
    return answer;
}

void scheduler_cancel(scheduler *s, ticket t) {
    pthread_mutex_lock(&s->lock);
    for (job *j = s->first; j; j = j->next)
        if (j->id == t) j->cancelled = true;
    for (int i = 0; i < s->o.slots; i++)
        if (s->slots[i].j && s->slots[i].j->id == t) s->slots[i].j->cancelled = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the thread ---- */

/* Takes those that are cancelled out of the queue, into the list of those that end. Under the lock. */
static void take_cancelled(scheduler *s) {
    job **at = &s->first, *last = NULL;
    while (*at) {
        job *j = *at;
        if (!j->cancelled && !s->cut) {
            last = j;
            at = &j->next;
            continue;
        }
        *at = j->next;
        j->next = s->taken;
        s->taken = j;
        s->waiting--;
    }
    s->last = last;
}

/* There is one. */
static slot *idle_slot(const scheduler *s) {
    slot *one = s->slots;
    while (one->phase != SLOT_IDLE) one++;
    return one;
}

/* The oldest requests to the slots that are idle. Under the lock. */
static void fill_slots(scheduler *s) {
    while (s->first && s->figures.running < s->o.slots) {
        job *j = s->first;
        slot *one = idle_slot(s);
        s->first = j->next;
        if (!s->first) s->last = NULL;
        s->waiting--;
        s->figures.running++;
        j->next = NULL;
        one->j = j;
        one->phase = SLOT_BEGINS;
        one->turn = ++s->turns;
    }
}

/* Each is out of the list before it is told, so that whoever runs out of memory there leaves the others in it. */
static void end_taken(scheduler *s, end_reason reason, const char *error) {
    while (s->taken) {
        job *j = s->taken;
        s->taken = j->next;
        job_end(s, j, NULL, reason, error, NULL);
    }
}

bool slot_is_cancelled(scheduler *s, const slot *one) {
    pthread_mutex_lock(&s->lock);
    const bool cancelled = one->j && (one->j->cancelled || s->cut);
    pthread_mutex_unlock(&s->lock);
    return cancelled;
}

/* Waits until there is something to do, and gives the slots their jobs; false: nothing will come any more. */
static bool take_jobs(scheduler *s) {
    pthread_mutex_lock(&s->lock);
    figures_see_cache(s);
    while (!s->first && s->figures.running == 0 && !s->closed) pthread_cond_wait(&s->work, &s->lock);
    take_cancelled(s);
    pthread_mutex_unlock(&s->lock);
    end_taken(s, END_CANCELLED, NULL);
    for (int i = 0; i < s->o.slots; i++)
        if (slot_is_cancelled(s, &s->slots[i])) slot_end(s, &s->slots[i], END_CANCELLED, NULL, NULL);
    pthread_mutex_lock(&s->lock);
    if (!s->cut) fill_slots(s);
    const bool go_on = !s->closed || s->first || s->figures.running > 0;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

static status run_steps(void *context) {
    scheduler *s = context;
    while (take_jobs(s))
        if (step_gather(s)) step_run(s);
    return STATUS_OK;
}

/* Memory ran out in the middle of something: nothing of it is used again. */
static status end_all(void *context) {
    scheduler *s = context;
    pthread_mutex_lock(&s->lock);
    s->closed = s->cut = s->failed = true;
    take_cancelled(s);
    pthread_mutex_unlock(&s->lock);
    end_taken(s, END_ERROR, error_message());
    for (int i = 0; i < s->o.slots; i++)
        if (s->slots[i].j) slot_end(s, &s->slots[i], END_ERROR, error_message(), NULL);
    return STATUS_OK;
}

/* Where telling of an end needs memory, too, the others are told all the same: each time there is one less. */
static void *run_thread(void *context) {
    if (memory_guarded(run_steps, context) != STATUS_OK)
        while (memory_guarded(end_all, context) != STATUS_OK) continue;
    return NULL;
}

/* ---- its life ---- */

bool scheduler_failed(scheduler *s) {
    pthread_mutex_lock(&s->lock);
    const bool failed = s->failed;
    pthread_mutex_unlock(&s->lock);
    return failed;
}

static status check_range(const char *name, long long value, long long least, long long most) {
    if (value >= least && value <= most) return STATUS_OK;
    return fail_usage("%s: expected %lld to %lld, found %lld", name, least, most, value);
}

static status take_options(scheduler *s, const scheduler_options *o) {
    s->o = *o;
    if (s->o.slots == 0) s->o.slots = SLOTS;
    if (s->o.queue == 0) s->o.queue = QUEUE;
    if (s->o.chunk == 0) s->o.chunk = CHUNK;
    if (s->o.chunk_beside == 0) s->o.chunk_beside = s->o.chunk < CHUNK_BESIDE ? s->o.chunk : CHUNK_BESIDE;
    TRY(check_range("slots", s->o.slots, 1, MOST_SLOTS));
    TRY(check_range("context", s->o.context, 2, MOST_CONTEXT));
    TRY(check_range("queue", s->o.queue, 1, MOST_QUEUE));
    TRY(check_range("chunk", s->o.chunk, LEAST_PIECE, MOST_CHUNK));
    return check_range("chunk_beside", s->o.chunk_beside, LEAST_PIECE, MOST_CHUNK);
}

/* A sequence for each slot, and for each prompt that may be kept, of which none is without a block of its own. */
static status create_cache(scheduler *s) {
    kv_cache_size size = {.sequences = s->o.slots + KEPT_MOST,
                          .capacity = s->o.context,
                          .bytes = s->o.cache_bytes,
                          .full_sequences = s->o.slots};
    if (s->o.no_reuse) size.sequences = s->o.slots;
    TRY(kv_cache_create_sized(&s->cache, s->m, &size));
    s->kept_count = (int)size.sequences - s->o.slots;
    s->kept = xcalloc((size_t)s->kept_count + 1, sizeof *s->kept);
    s->figures.cache.token_bytes = kv_cache_token_bytes(s->cache);
    figures_see_cache(s);
    return STATUS_OK;
}

static status create(scheduler *s, const scheduler_options *o) {
    TRY(take_options(s, o));
    const int64_t chunk = s->o.chunk > s->o.chunk_beside ? s->o.chunk : s->o.chunk_beside;
    const size_t slots = (size_t)s->o.slots, rows = slots + DRAFT_MOST, vocab = (size_t)s->m->config.vocab_size;
    const int pieces = tokenizer_vocab_size(s->tok);
    s->vocab = pieces < s->m->config.vocab_size ? pieces : s->m->config.vocab_size;
    s->slots = xcalloc(slots, sizeof *s->slots);
    s->step.spans = xcalloc(slots, sizeof *s->step.spans);
    s->step.starts = xcalloc(slots + 1, sizeof *s->step.starts);
    s->step.counted = xcalloc(slots, sizeof *s->step.counted);
    s->step.texts = xcalloc(slots, sizeof *s->step.texts);
    s->step.ids = xcalloc(rows + (size_t)chunk, sizeof *s->step.ids);
    s->logits = xmalloc(rows * vocab * sizeof *s->logits);
    s->masks = json_masks_create(s->tok, s->vocab);
    TRY(drafts_create(&s->drafts, &s->o.drafts, s->vocab, s->o.slots, s->o.context));
    TRY(figures_create(s));
    TRY(pass_create(&s->p, s->m));
    if (s->path_routed > 0) pass_watch_routing(s->p, figures_see_routing, s);
    return create_cache(s);
}

/* All but the lock. */
static void release(scheduler *s) {
    for (int i = 0; s->slots && i < s->o.slots; i++) free(s->slots[i].again);
    free_kept(s);
    job_free(s->telling);
    figures_free(s);
    kv_cache_destroy(s->cache);
    pass_destroy(s->p);
    json_masks_free(s->masks);
    drafts_free(s->drafts);
    free(s->slots);
    free(s->kept);
    free(s->step.spans);
    free(s->step.starts);
    free(s->step.counted);
    free(s->step.texts);
    free(s->step.ids);
    free(s->logits);
}

status scheduler_start(scheduler **out, model *m, const tokenizer *tok, const scheduler_options *o) {
    scheduler *s = xcalloc(1, sizeof *s);
    s->m = m;
    s->tok = tok;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    status outcome = create(s, o);
    if (outcome == STATUS_OK && pthread_create(&s->thread, NULL, run_thread, s) != 0)
        outcome = fail("scheduler: cannot start a thread");
    if (outcome == STATUS_OK) {
        *out = s;
        return STATUS_OK;
    }
    release(s);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return outcome;
}

static void close_queue(scheduler *s, bool cut) {
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    s->cut = s->cut || cut;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

void scheduler_close(scheduler *s) {
    close_queue(s, false);
}

void scheduler_stop(scheduler *s, bool finish) {
    close_queue(s, !finish);
    if (!s->joined) pthread_join(s->thread, NULL);
    s->joined = true;
}

void scheduler_destroy(scheduler *s) {
    if (!s) return;
    scheduler_stop(s, false);
    release(s);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
