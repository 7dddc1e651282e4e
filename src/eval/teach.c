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

/* A block of a shard's file that is to be made. */
typedef struct lacking_block {
    int64_t shard, block;
} lacking_block;

typedef struct teaching {
    pass *p;
    const shard_set *text;
    const teaching_options *options;
    teaching_result *result;
    teacher_writer **writers; /* [shards] */
    int64_t length;           /* of every window */
    int64_t windows;
    comm *ranks;
    lacking_block *lacking; /* of all ranks, in the text's order */
    int64_t lacking_count;
    int64_t at, end, within; /* this rank's, from the one on that it is at; records of that one so far */
    int64_t own_records;     /* of all of them */
    int64_t held;            /* which batch the arrays are of; −1: none */
    int32_t *input, *first;  /* [batch, length] */
    int32_t *ids;            /* [batch, length, k] */
    float *log_probs, *rest; /* [batch, length, k], [batch, length] */
    progress progress;
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

static status run_batch(teaching *t, int64_t number) {
    const int64_t count = windows_in(t, number), T = t->length;
    t->held = -1;
    for (int64_t i = 0; i < count; i++) {
        int32_t *ids = t->input + i * T;
        shard_set_read(t->text, window_at(t, number * t->options->batch + i).start, T, ids);
        document_starts(ids, T, t->options->bos, t->first + i * T);
    }
    const batch b = {.batch = count, .length = T, .input_ids = t->input, .first = t->first};
    TRY(pass_top_log_probs(t->p, &b, t->options->facts.k, t->ids, t->log_probs, t->rest));
    t->held = number;
    return STATUS_OK;
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
static status add_none(const teaching *t, teacher_writer *writer) {
    const size_t k = (size_t)t->options->facts.k;
    int32_t *ids = xmalloc(k * sizeof *ids);
    float *log_probs = xcalloc(k, sizeof *log_probs);
    for (size_t i = 0; i < k; i++) ids[i] = -1;
    const status s = teacher_writer_add(writer, ids, log_probs, 0);
    free(ids);
    free(log_probs);
    return s;
}

static void show(teaching *t) {
    if (!t->options->shown) return;
    const teaching_result *r = t->result;
    char detail[128];
    const double seconds = clock_seconds() - t->began, speed = (double)r->taught / (seconds > 0 ? seconds : 1);
    const double part = t->own_records > 0 ? (double)r->taught / (double)t->own_records : 1;
    if (t->ranks->ranks == 1)
        snprintf(detail, sizeof detail, "%s  %lld of %lld tokens  %.0f tokens/s", t->options->shown,
                 (long long)r->there, (long long)r->tokens, speed);
    else
        snprintf(detail, sizeof detail, "%s  %lld of the %lld tokens of one of %d ranks  %.0f tokens/s",
                 t->options->shown, (long long)r->taught, (long long)t->own_records, t->ranks->ranks,
                 t->ranks->ranks * speed);
    progress_show(&t->progress, part, detail);
}

static int64_t records_of(const teaching *t, const lacking_block *b) {
    const int64_t left = t->text->shards[b->shard].count - b->block * TEACHER_BLOCK_RECORDS;
    return left < TEACHER_BLOCK_RECORDS ? left : TEACHER_BLOCK_RECORDS;
}

/* A process alone names each file as soon as it is whole. */
static status end_block(teaching *t) {
    const int64_t shard = t->lacking[t->at++].shard;
    t->within = 0;
    if (t->ranks->ranks > 1 || (t->at < t->end && t->lacking[t->at].shard == shard)) return STATUS_OK;
    teacher_writer *done = t->writers[shard];
    t->writers[shard] = NULL;
    return teacher_writer_close(done);
}

/* The records of one batch, as far as this rank's blocks have them. */
static status teach_batch(teaching *t) {
    bool ran = false;
    while (t->at < t->end) {
        const lacking_block *b = &t->lacking[t->at];
        const int64_t in_shard = b->block * TEACHER_BLOCK_RECORDS + t->within;
        const int64_t position = t->text->start[b->shard] + in_shard;
        const int64_t number = position > 0 ? window_of(t, position) / t->options->batch : t->held;
        teacher_writer *writer = t->writers[b->shard];
        if (number != t->held && ran) return STATUS_OK;
        if (number != t->held) TRY(run_batch(t, number));
        ran = ran || position > 0;
        if (t->within == 0) TRY(teacher_writer_seek(writer, b->block));
        TRY(position == 0 ? add_none(t, writer)
                          : add_record(t, writer, position, shard_token(&t->text->shards[b->shard], in_shard)));
        t->result->taught++;
        t->result->there++;
        if (++t->within == records_of(t, b)) TRY(end_block(t));
    }
    return STATUS_OK;
}

/* Whether any rank has blocks left. */
static status look_for_more(const teaching *t, bool *more) {
    const bool mine = t->at < t->end;
    bool *all = xcalloc((size_t)t->ranks->ranks, sizeof *all);
    const status s = comm_gather(t->ranks, &mine, all, sizeof mine);
    *more = false;
    for (int r = 0; r < t->ranks->ranks; r++) *more |= all[r];
    free(all);
    return s;
}

/* Batch by batch: so a rank that ends, or is asked to, is known to all soon. */
static status teach_all(teaching *t) {
    bool more;
    TRY(look_for_more(t, &more));
    while (more) {
        TRY(comm_agree(t->ranks, interrupt_requested() ? STATUS_INTERRUPTED : teach_batch(t)));
        show(t);
        TRY(look_for_more(t, &more));
    }
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

/* Of rank 0: what is there, and what lacks. */
static status open_writers(teaching *t, const char *folder) {
    for (int i = 0; i < t->text->count; i++) {
        const shard *s = &t->text->shards[i];
        const int64_t blocks = teacher_blocks(s->count);
        TRY(teacher_writer_open(&t->writers[i], folder, s, &t->options->facts));
        t->result->there += s->count;
        for (int64_t b = teacher_writer_lacks(t->writers[i], 0); b < blocks;
             b = teacher_writer_lacks(t->writers[i], b + 1)) {
            if ((t->lacking_count & (t->lacking_count - 1)) == 0)
                t->lacking = xrealloc(t->lacking, (size_t)(2 * t->lacking_count + 1) * sizeof *t->lacking);
            t->lacking[t->lacking_count] = (lacking_block){i, b};
            t->result->there -= records_of(t, &t->lacking[t->lacking_count++]);
        }
    }
    return STATUS_OK;
}

/* The others': of the shards whose files are made. */
static status join_writers(teaching *t, const char *folder) {
    for (int64_t i = t->at; i < t->end; i++) {
        const int64_t shard = t->lacking[i].shard;
        if (!t->writers[shard])
            TRY(teacher_writer_join(&t->writers[shard], folder, &t->text->shards[shard], &t->options->facts));
    }
    return STATUS_OK;
}

/* Each rank gets as many blocks as the others, which follow each other: only where two ranks' parts meet does a batch run twice. */
static status share_out(teaching *t) {
    const int ranks = t->ranks->ranks, rank = t->ranks->rank;
    TRY(comm_broadcast(t->ranks, 0, &t->lacking_count, sizeof t->lacking_count));
    const size_t bytes = (size_t)t->lacking_count * sizeof *t->lacking;
    if (rank > 0) t->lacking = xmalloc(bytes + 1);
    TRY(comm_broadcast(t->ranks, 0, t->lacking, bytes));
    t->at = t->lacking_count * rank / ranks;
    t->end = t->lacking_count * (rank + 1) / ranks;
    for (int64_t i = t->at; i < t->end; i++) t->own_records += records_of(t, &t->lacking[i]);
    return STATUS_OK;
}

/* The first failure is the one that is told. */
static status close_writers(teaching *t, status s) {
    for (int i = 0; i < t->text->count; i++) {
        char *message = xstrdup(error_message());
        const status closed = teacher_writer_close(t->writers[i]);
        t->writers[i] = NULL;
        if (s != STATUS_OK) (void)fail("%s", message);
        if (s == STATUS_OK || s == STATUS_INTERRUPTED) s = closed != STATUS_OK ? closed : s;
        free(message);
    }
    return s;
}

/* Of rank 0, when all have written: that nothing lacks, whoever's disk it went through. */
static status check_writers(const teaching *t) {
    for (int i = 0; i < t->text->count && t->ranks->ranks > 1; i++) TRY(teacher_writer_check(t->writers[i]));
    return STATUS_OK;
}

/* Rank 0 comes last, and names the files. */
static status end(teaching *t, status s) {
    const bool leads = t->ranks->rank == 0;
    if (!leads) s = close_writers(t, s);
    s = comm_agree(t->ranks, s);
    if (leads && s == STATUS_OK) s = check_writers(t);
    if (leads) s = close_writers(t, s);
    return comm_agree(t->ranks, s);
}

/* Rank 0's result is of all, in the order of the ranks. */
static status add_up(teaching *t) {
    teaching_result *r = t->result, *all = xcalloc((size_t)t->ranks->ranks, sizeof *all);
    const status s = comm_gather(t->ranks, r, all, sizeof *r);
    for (int i = 1; i < t->ranks->ranks && t->ranks->rank == 0; i++) {
        r->there += all[i].there;
        r->taught += all[i].taught;
        r->covered += all[i].covered;
        r->among += all[i].among;
    }
    free(all);
    return s;
}

static void take_arrays(teaching *t) {
    const size_t N = numbers_of_batch(t), k = (size_t)t->options->facts.k;
    t->input = xmalloc(N * sizeof *t->input);
    t->first = xmalloc(N * sizeof *t->first);
    t->ids = xcalloc(N * k, sizeof *t->ids);
    t->log_probs = xcalloc(N * k, sizeof *t->log_probs);
    t->rest = xcalloc(N, sizeof *t->rest);
}

static void free_arrays(teaching *t) {
    free(t->input);
    free(t->first);
    free(t->ids);
    free(t->log_probs);
    free(t->rest);
    free(t->lacking);
    free(t->writers);
}

static status teach_locked(teaching *t, const char *folder) {
    const bool leads = t->ranks->rank == 0;
    status s = comm_agree(t->ranks, leads ? open_writers(t, folder) : STATUS_OK);
    if (s == STATUS_OK) s = share_out(t);
    if (s == STATUS_OK) s = comm_agree(t->ranks, leads ? STATUS_OK : join_writers(t, folder));
    t->progress = progress_start("teach");
    t->began = clock_seconds();
    if (s == STATUS_OK) s = teach_all(t);
    s = end(t, s);
    t->result->seconds = clock_seconds() - t->began;
    if (s == STATUS_OK || s == STATUS_INTERRUPTED) {
        const status added = add_up(t);
        if (s == STATUS_OK) s = added;
    }
    if (t->options->shown && t->result->taught > 0)
        s == STATUS_OK ? progress_end(&t->progress, t->options->shown) : progress_clear(&t->progress);
    return s;
}

/* Rank 0 holds the lock for all. */
static status teach_in(teaching *t, const char *folder) {
    lock held = {0};
    const bool leads = t->ranks->rank == 0;
    char *lock_path = path_join(folder, "lock");
    status s = leads ? folder_create(folder) : STATUS_OK;
    if (s == STATUS_OK && leads) s = lock_take(&held, lock_path, "moec teach");
    s = comm_agree(t->ranks, s);
    if (s == STATUS_OK) s = teach_locked(t, folder);
    lock_release(&held);
    free(lock_path);
    return s;
}

status teach_shards(pass *p, const shard_set *text, const char *folder, const teaching_options *options,
                    teaching_result *result) {
    *result = (teaching_result){.tokens = shard_set_tokens(text)};
    teaching_options o = *options;
    o.facts.vocab_size = pass_model(p)->config.vocab_size;
    TRY(check(text, &o));
    for (int i = 0; i < text->count; i++) result->bytes += teacher_file_bytes(&o.facts, text->shards[i].count);
    teaching t = {.p = p, .text = text, .options = &o, .result = result, .held = -1};
    t.ranks = o.ranks ? o.ranks : comm_alone();
    const int64_t last = result->tokens - 1;
    t.length = o.facts.seq < last ? o.facts.seq : last;
    t.windows = window_of(&t, last) + 1;
    t.writers = xcalloc((size_t)text->count, sizeof *t.writers);
    take_arrays(&t);
    const status s = teach_in(&t, folder);
    free_arrays(&t);
    return s;
}
