#include "eval/teach.h"

#include "base/lock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "text/loader.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Window w: inputs are tokens start … start + length − 1, targets one later; those from `first` to `end` are new. */
typedef struct window {
    int64_t start, first, end;
} window;

typedef struct teaching {
    pass *p;
    const shard_set *text;
    const teaching_options *options;
    teaching_result *result;
    teacher_writer **writers; /* [shards] */
    int64_t length;           /* of every window */
    int64_t windows;
    comm *ranks;
    bool agreed;             /* all ranks know that it ends */
    int64_t held;            /* which batch the arrays begin with, of as many as there are ranks; −1: none */
    int32_t *input, *first;  /* [batch, length] of the own batch */
    int32_t *ids;            /* [ranks][batch, length, k] */
    float *log_probs, *rest; /* [ranks][batch, length, k], [ranks][batch, length] */
    progress progress;
    int64_t there_before; /* records, when this began */
    double began;
} teaching;

/* ---- windows: the same ones in every call, wherever that begins ---- */

static int64_t window_of(const teaching *t, int64_t target) {
    return target <= t->length ? 0 : 1 + (target - t->length - 1) / t->options->facts.stride;
}

static window window_at(const teaching *t, int64_t w) {
    const int64_t last = shard_set_tokens(t->text) - 1, stride = t->options->facts.stride;
    int64_t end = t->length + w * stride;
    if (end > last) end = last;
    return (window){.start = end - t->length, .first = w ? t->length + (w - 1) * stride + 1 : 1, .end = end};
}

static int64_t windows_in(const teaching *t, int64_t batch) {
    const int64_t left = t->windows - batch * t->options->batch;
    return left < 0 ? 0 : left < t->options->batch ? left : t->options->batch;
}

/* ---- running ---- */

static size_t numbers_of_batch(const teaching *t) {
    return (size_t)(t->options->batch * (t->length > 0 ? t->length : 1));
}

/* The own batch of the round that begins with batch `number`. */
static status run_own(teaching *t, int64_t number) {
    const int rank = t->ranks->rank;
    const int64_t own = number + rank, count = windows_in(t, own), T = t->length;
    const size_t at = (size_t)rank * numbers_of_batch(t), k = (size_t)t->options->facts.k;
    if (interrupt_requested()) return STATUS_INTERRUPTED;
    if (count == 0) return STATUS_OK;
    for (int64_t i = 0; i < count; i++) {
        int32_t *ids = t->input + i * T;
        shard_set_read(t->text, window_at(t, own * t->options->batch + i).start, T, ids);
        document_starts(ids, T, t->options->bos, t->first + i * T);
    }
    const batch b = {.batch = count, .length = T, .input_ids = t->input, .first = t->first};
    return pass_top_log_probs(t->p, &b, (int)k, t->ids + at * k, t->log_probs + at * k, t->rest + at);
}

/* Everyone's part of an array to everyone. */
static status gather(const teaching *t, void *array, size_t bytes) {
    char *own = xmalloc(bytes);
    memcpy(own, (char *)array + (size_t)t->ranks->rank * bytes, bytes);
    const status s = comm_gather(t->ranks, own, array, bytes);
    free(own);
    return s;
}

static status run_round(teaching *t, int64_t number) {
    const size_t N = numbers_of_batch(t), k = (size_t)t->options->facts.k;
    const status s = comm_agree(t->ranks, run_own(t, number));
    t->agreed = s != STATUS_OK;
    TRY(s);
    if (t->ranks->ranks == 1) return STATUS_OK;
    TRY(gather(t, t->ids, N * k * sizeof *t->ids));
    TRY(gather(t, t->log_probs, N * k * sizeof *t->log_probs));
    return gather(t, t->rest, N * sizeof *t->rest);
}

/* Rank 0 says which round is next; those that are held are enough for the batches of one. */
static status run_batch(teaching *t, int64_t number) {
    if (t->held >= 0 && number >= t->held && number < t->held + t->ranks->ranks) return STATUS_OK;
    t->held = -1;
    TRY(comm_broadcast(t->ranks, 0, &number, sizeof number));
    TRY(run_round(t, number));
    t->held = number;
    return STATUS_OK;
}

enum { NO_MORE = -1 };

/* What all other ranks do. */
static status follow(teaching *t) {
    for (;;) {
        int64_t number = 0;
        TRY(comm_broadcast(t->ranks, 0, &number, sizeof number));
        if (number == NO_MORE) return STATUS_OK;
        TRY(run_round(t, number));
    }
}

/* However rank 0's work ended: the others hear of it. */
static status dismiss(teaching *t, status s) {
    int64_t number = NO_MORE;
    if (t->agreed) return s;
    const status told = comm_broadcast(t->ranks, 0, &number, sizeof number);
    return s != STATUS_OK ? s : told;
}

static void count_record(teaching *t, int32_t token, const int32_t *ids, float rest) {
    t->result->covered += -expm1((double)rest);
    for (int i = 0; i < t->options->facts.k; i++) t->result->among += ids[i] == token;
}

/* What the batch that is held says of the target at `position` of the text. */
static status add_record(teaching *t, teacher_writer *writer, int64_t position, int32_t token) {
    const int64_t w = window_of(t, position), i = w - t->held * t->options->batch, k = t->options->facts.k;
    const int64_t row = i * t->length + position - 1 - window_at(t, w).start;
    TRY(teacher_writer_add(writer, t->ids + row * k, t->log_probs + row * k, t->rest[row]));
    count_record(t, token, t->ids + row * k, t->rest[row]);
    return STATUS_OK;
}

/* The first token of all: nothing is before it. */
static status add_none(teaching *t, teacher_writer *writer) {
    for (int i = 0; i < t->options->facts.k; i++) t->ids[i] = -1;
    t->held = -1;
    return teacher_writer_add(writer, t->ids, t->log_probs, 0);
}

static void show(teaching *t) {
    if (!t->options->shown) return;
    const teaching_result *r = t->result;
    char detail[128];
    const double seconds = clock_seconds() - t->began;
    snprintf(detail, sizeof detail, "%s  %lld of %lld tokens  %.0f tokens/s", t->options->shown, (long long)r->there,
             (long long)r->tokens, (double)r->taught / (seconds > 0 ? seconds : 1));
    progress_show(&t->progress, (double)r->taught / (double)(r->tokens - t->there_before), detail);
}

/* The records of one batch that this shard still has to get. */
static status teach_batch(teaching *t, int shard) {
    teacher_writer *writer = t->writers[shard];
    const int64_t start = t->text->start[shard], behind = t->text->start[shard + 1];
    const int64_t count = teacher_writer_count(writer), position = start + count;
    int64_t end = position + 1;
    if (position > 0) {
        const int64_t number = window_of(t, position) / t->options->batch;
        TRY(run_batch(t, number));
        end = window_at(t, number * t->options->batch + windows_in(t, number) - 1).end + 1;
    }
    if (end > behind) end = behind;
    for (int64_t i = position; i < end; i++) {
        const int32_t token = shard_token(&t->text->shards[shard], i - start);
        TRY(i == 0 ? add_none(t, writer) : add_record(t, writer, i, token));
        t->result->taught++;
        t->result->there++;
    }
    show(t);
    return STATUS_OK;
}

static status teach_shard(teaching *t, int shard) {
    while (teacher_writer_count(t->writers[shard]) < t->text->shards[shard].count) {
        if (interrupt_requested()) return STATUS_INTERRUPTED;
        TRY(teach_batch(t, shard));
    }
    teacher_writer *done = t->writers[shard];
    t->writers[shard] = NULL;
    return teacher_writer_close(done);
}

static status teach_all(teaching *t) {
    for (int i = 0; i < t->text->count; i++) TRY(teach_shard(t, i));
    return STATUS_OK;
}

/* ---- from beginning to end ---- */

static status check(const shard_set *text, const teaching_options *o) {
    const teacher_facts *f = &o->facts;
    if (f->seq < 1 || f->stride < 1 || f->stride > f->seq || o->batch < 1)
        return fail_usage(
            "%s: expected windows of at least one token and strides within them, found stride %lld, window "
            "%lld, batch %lld",
            text->where, (long long)f->stride, (long long)f->seq, (long long)o->batch);
    return STATUS_OK;
}

static status open_writers(teaching *t, const char *folder) {
    for (int i = 0; i < t->text->count; i++) {
        const shard *s = &t->text->shards[i];
        TRY(teacher_writer_open(&t->writers[i], folder, s, &t->options->facts));
        t->result->there += teacher_writer_count(t->writers[i]);
        t->result->bytes += teacher_file_bytes(&t->options->facts, s->count);
    }
    t->there_before = t->result->there;
    return STATUS_OK;
}

/* The first failure is the one that is told. */
static status close_writers(teaching *t, status s) {
    for (int i = 0; i < t->text->count; i++) {
        char *message = xstrdup(error_message());
        const status closed = teacher_writer_close(t->writers[i]);
        if (s != STATUS_OK) (void)fail("%s", message);
        if (s == STATUS_OK || s == STATUS_INTERRUPTED) s = closed != STATUS_OK ? closed : s;
        free(message);
    }
    return s;
}

static void take_arrays(teaching *t) {
    const size_t N = numbers_of_batch(t), k = (size_t)t->options->facts.k, all = (size_t)t->ranks->ranks * N;
    t->input = xmalloc(N * sizeof *t->input);
    t->first = xmalloc(N * sizeof *t->first);
    t->ids = xcalloc(all * k, sizeof *t->ids);
    t->log_probs = xcalloc(all * k, sizeof *t->log_probs);
    t->rest = xcalloc(all, sizeof *t->rest);
}

static void free_arrays(teaching *t) {
    free(t->input);
    free(t->first);
    free(t->ids);
    free(t->log_probs);
    free(t->rest);
    free(t->writers);
}

static status teach_locked(teaching *t, const char *folder) {
    status s = open_writers(t, folder);
    t->progress = progress_start("teach");
    t->began = clock_seconds();
    if (s == STATUS_OK) s = teach_all(t);
    s = close_writers(t, s);
    t->result->seconds = clock_seconds() - t->began;
    if (t->options->shown && t->result->taught > 0)
        s == STATUS_OK ? progress_end(&t->progress, t->options->shown) : progress_clear(&t->progress);
    return s;
}

/* Who writes holds the lock. */
static status lead(teaching *t, const char *folder) {
    lock held;
    TRY(folder_create(folder));
    char *lock_path = path_join(folder, "lock");
    status s = lock_take(&held, lock_path, "moec teach");
    if (s == STATUS_OK) {
        s = teach_locked(t, folder);
        lock_release(&held);
    }
    free(lock_path);
    return s;
}

status teach_shards(pass *p, const shard_set *text, const char *folder, const teaching_options *options,
                    teaching_result *result) {
    *result = (teaching_result){.tokens = shard_set_tokens(text)};
    teaching_options o = *options;
    o.facts.vocab_size = pass_model(p)->config.vocab_size;
    TRY(check(text, &o));
    teaching t = {.p = p, .text = text, .options = &o, .result = result, .held = -1};
    t.ranks = o.ranks ? o.ranks : comm_alone();
    const int64_t last = result->tokens - 1;
    t.length = o.facts.seq < last ? o.facts.seq : last;
    t.windows = window_of(&t, last) + 1;
    t.writers = xcalloc((size_t)text->count, sizeof *t.writers);
    take_arrays(&t);
    status s = t.ranks->rank == 0 ? dismiss(&t, lead(&t, folder)) : follow(&t);
    s = comm_agree(t.ranks, s);
    free_arrays(&t);
    return s;
}
