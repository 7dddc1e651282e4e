#include "cli/teach_model.h"

#include "base/file.h"
#include "base/memory.h"
#include "cli/ranks.h"
#include "formats/pretrained.h"
#include "store/open.h"
#include "store/source.h"
#include <stdio.h>
#include <stdlib.h>

enum { FOREIGN_SEQ = 2048, BATCH_TOKENS = 4096 };

/* ---- what is taught with what ---- */

/* The weights as they are stored: rounding and the machine make no difference. */
static status identify(const teach_request *q, const char *path, teacher_facts *facts) {
    model_source *source;
    TRY(model_source_open(&source, path, q->which));
    const status s = weight_source_fingerprint(model_source_weights(source), &facts->teacher);
    model_source_close(source);
    snprintf(facts->name, sizeof facts->name, "%s", q->path);
    return s;
}

/* The text's own tokenizer, where it lies beside it, must give ids the model's meaning; it also knows what documents begin with. */
static status check_tokenizer(const teach_request *q, const tokenizer *tok, teaching_options *o) {
    char *folder = path_is_folder(q->data) ? xstrdup(q->data) : path_parent(q->data);
    char *path = path_join(folder, "tokenizer.model");
    tokenizer *own = NULL;
    status s = path_exists(path) ? tokenizer_open(&own, path) : STATUS_OK;
    o->facts.tokenizer = tokenizer_fingerprint(tok);
    o->bos = tokenizer_bos(own ? own : tok);
    if (s == STATUS_OK && own && tokenizer_fingerprint(own) != o->facts.tokenizer)
        s = fail("%s: its tokens are not those of the teacher %s: make the data with `moec data --tokenizer` of it",
                 path, q->path);
    tokenizer_close(own);
    free(path);
    free(folder);
    return s;
}

/* context: the sequence length that the model was trained with. */
static status choose_windows(const teach_request *q, int context, teaching_options *o) {
    const int64_t own = pretrained_is(q->path) && context > FOREIGN_SEQ ? FOREIGN_SEQ : context;
    const int64_t seq = q->seq ? q->seq : own;
    if (q->stride > seq)
        return fail_usage("--stride: expected at most %lld, the window's length (%s), found %lld", (long long)seq,
                          q->seq ? "--seq" : "as trained; --seq changes it", q->stride);
    o->facts.seq = seq;
    o->facts.stride = q->stride ? q->stride : seq;
    o->batch = q->batch ? q->batch : seq < BATCH_TOKENS ? BATCH_TOKENS / seq : 1;
    return STATUS_OK;
}

/* ---- teaching ---- */

static void add(teach_totals *t, const teaching_result *r) {
    t->sum.tokens += r->tokens;
    t->sum.there += r->there;
    t->sum.taught += r->taught;
    t->sum.bytes += r->bytes;
    t->sum.covered += r->covered;
    t->sum.among += r->among;
    t->sum.seconds += r->seconds;
}

static status teach_part(const teach_request *q, pass *p, const shard_set *text, teaching_options *o, teach_totals *t) {
    teaching_result r;
    o->ranks = q->ranks;
    if (q->ranks->rank > 0) o->shown = NULL;
    const status s = teach_shards(p, text, q->out, o, &r);
    t->shards += text->count;
    add(t, &r);
    if (s == STATUS_INTERRUPTED)
        (void)fail("interrupted: %s has %lld of %lld tokens; the same command goes on", q->out, (long long)r.there,
                   (long long)r.tokens);
    return s;
}

static uint64_t tokens_number(const shard_set *text) {
    enum { PIECE = 4096 };
    int32_t ids[PIECE];
    uint64_t number = 0;
    for (int64_t at = 0, all = shard_set_tokens(text); at < all; at += PIECE) {
        const int64_t count = all - at < PIECE ? all - at : PIECE;
        shard_set_read(text, at, count, ids);
        number = crc64(number, ids, (size_t)count * sizeof *ids);
    }
    return number;
}

/* Both parts are opened before the first of them takes its hours. */
static status teach_parts(const teach_request *q, pass *p, teaching_options *o, teach_totals *t) {
    static const char *const names[] = {[SHARDS_TRAINING] = "training", [SHARDS_HELD_OUT] = "held-out"};
    const int parts = q->held_out ? 2 : 1;
    shard_set text[2] = {{0}};
    status s = STATUS_OK;
    for (int i = 0; i < parts && s == STATUS_OK; i++)
        s = shard_set_open(&text[i], q->data, (shard_part)i, pass_model(p)->config.vocab_size);
    s = comm_agree(q->ranks, s);
    for (int i = 0; i < parts && s == STATUS_OK && q->ranks->ranks > 1; i++)
        s = cli_ranks_same(q->ranks, "text", tokens_number(&text[i]));
    for (int i = 0; i < parts && s == STATUS_OK; i++) {
        o->shown = names[i];
        s = teach_part(q, p, &text[i], o, t);
    }
    for (int i = 0; i < parts; i++) shard_set_close(&text[i]);
    return s;
}

static status teach_all(const teach_request *q, pass *p, const tokenizer *tok, int context, const teacher_facts *facts,
                        teach_totals *t) {
    teaching_options o = {.facts = *facts};
    o.facts.k = (int)q->top;
    TRY(comm_agree(q->ranks, check_tokenizer(q, tok, &o)));
    TRY(comm_agree(q->ranks, choose_windows(q, context, &o)));
    t->facts = o.facts;
    t->batch = o.batch;
    return teach_parts(q, p, &o, t);
}

status teach_model(const teach_request *q, const char *path, teach_totals *t) {
    teacher_facts facts = {0};
    model *m;
    pass *p = NULL;
    tokenizer *tok;
    int context = 0;
    TRY(comm_agree(q->ranks, identify(q, path, &facts)));
    TRY(cli_ranks_same(q->ranks, "model", facts.teacher));
    TRY(comm_agree(q->ranks, open_model(path, q->k, q->which, MODEL_RUN, &m, &tok, &context)));
    status s = comm_agree(q->ranks, pass_create(&p, m));
    if (s == STATUS_OK) s = teach_all(q, p, tok, context, &facts, t);
    pass_destroy(p);
    model_destroy(m);
    tokenizer_close(tok);
    return s;
}
