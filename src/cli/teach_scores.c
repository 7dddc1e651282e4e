#include "cli/teach_scores.h"
#include "base/lock.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "fetch/scores.h"
#include "text/shard_set.h"
#include "text/teacher_cache.h"
#include "text/tokenizer.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_TOKENS = 2000 /* of the text, to compare vocabularies by */ };

/* The shards of one part, and the file that is being written. */
typedef struct keeper {
    const teach_scores_request *q;
    shard_set text;
    teacher_facts facts;
    teacher_writer *writer;
    int shard; /* that it is of */
} keeper;

/* ---- the cache ---- */

/* The file of the next shard that is not whole, from this one on. *there: records of all that were passed over, and its own. */
static status open_writer(keeper *k, int64_t *there) {
    for (; k->shard < k->text.count; k->shard++) {
        TRY(teacher_writer_open(&k->writer, k->q->out, &k->text.shards[k->shard], &k->facts));
        *there += teacher_writer_count(k->writer);
        if (teacher_writer_count(k->writer) < k->text.shards[k->shard].count) return STATUS_OK;
        teacher_writer *whole = k->writer;
        k->writer = NULL;
        TRY(teacher_writer_close(whole));
    }
    return STATUS_OK;
}

static status begin(void *context, const char *model, int64_t *there) {
    keeper *k = context;
    snprintf(k->facts.name, sizeof k->facts.name, "%s", model);
    *there = 0;
    return open_writer(k, there);
}

static status add(void *context, const int32_t *ids, const float *log_probs, float rest) {
    keeper *k = context;
    int64_t there = 0;
    TRY(teacher_writer_add(k->writer, ids, log_probs, rest));
    if (teacher_writer_count(k->writer) < k->text.shards[k->shard].count) return STATUS_OK;
    teacher_writer *whole = k->writer;
    k->writer = NULL;
    TRY(teacher_writer_close(whole));
    k->shard++;
    TRY(open_writer(k, &there));
    if (there == 0) return STATUS_OK;
    return fail("%s: has the teacher's file of a shard behind one that was not whole: remove %s.teacher*", k->q->out,
                k->text.shards[k->shard < k->text.count ? k->shard : k->text.count - 1].path);
}

static void read_text(void *context, int64_t first, int64_t count, int32_t *ids) {
    const keeper *k = context;
    shard_set_read(&k->text, first, count, ids);
}

/* ---- the vocabulary ---- */

/* The text itself may be absent. */
static status without_tokenizer(const teach_scores_request *q, const char *path) {
    if (!path_exists(q->data)) { /* a pattern, or nothing */
        shard_set text;
        TRY(shard_set_open(&text, q->data, SHARDS_TRAINING, TEACHER_MAX_VOCABULARY));
        shard_set_close(&text);
    }
    return fail_usage("%s: is absent; --tokenizer names the text's tokenizer", path);
}

static status open_tokenizer(const teach_scores_request *q, tokenizer **tok) {
    if (q->tokenizer) return tokenizer_open(tok, q->tokenizer);
    char *folder = path_is_folder(q->data) ? xstrdup(q->data) : path_parent(q->data);
    char *path = path_join(folder, "tokenizer.model");
    status s = path_exists(path) ? tokenizer_open(tok, path) : without_tokenizer(q, path);
    free(path);
    free(folder);
    return s;
}

/* Text from the beginning of the shards, and its tokens. */
static status take_sample(const keeper *k, const tokenizer *tok, char **text, int32_t **ids, size_t *count) {
    const int64_t all = shard_set_tokens(&k->text), most = all < SAMPLE_TOKENS ? all : SAMPLE_TOKENS;
    int32_t *own = xmalloc((size_t)most * sizeof *own);
    size_t kept = 0, bytes;
    shard_set_read(&k->text, 0, most, own);
    for (int64_t i = 0; i < most; i++)
        if (!tokenizer_is_boundary(tok, own[i])) own[kept++] = own[i];
    status s = tokenizer_decode(tok, own, kept, text, &bytes);
    if (s == STATUS_OK) s = tokenizer_encode(tok, *text, strlen(*text), ids, count);
    free(own);
    return s;
}

/* ---- one part ---- */

static status score(const http_client *c, keeper *k, const tokenizer *tok, scores_result *r) {
    const teach_scores_request *q = k->q;
    char *sample = NULL;
    int32_t *sample_ids = NULL;
    size_t sample_count = 0;
    TRY(take_sample(k, tok, &sample, &sample_ids, &sample_count));
    const scores_request asked = {.model = q->model,
                                  .k = q->top,
                                  .vocab_size = k->facts.vocab_size,
                                  .seq = q->seq,
                                  .stride = q->stride,
                                  .parallel = q->parallel,
                                  .requests = q->requests,
                                  .timeout = q->timeout,
                                  .tokens = shard_set_tokens(&k->text),
                                  .bos = tokenizer_bos(tok),
                                  .sample = sample,
                                  .sample_ids = sample_ids,
                                  .sample_count = (int64_t)sample_count,
                                  .read = read_text,
                                  .begin = begin,
                                  .add = add,
                                  .context = k};
    status s = scores_fetch(c, &asked, r);
    free(sample_ids);
    free(sample);
    return s;
}

static status close_writer(keeper *k, status s) {
    status closed = STATUS_OK;
    char *why = s == STATUS_OK ? NULL : xstrdup(error_message());
    if (k->writer) closed = teacher_writer_close(k->writer);
    if (why) (void)fail("%s", why); /* the first one is what is to be said */
    free(why);
    return s != STATUS_OK ? s : closed;
}

/* parts: a JSON array that gets what was done with this part; NULL: a table is printed. */
static void say(const teach_scores_request *q, const scores_result *r, int64_t tokens, bool held_out, cJSON *parts) {
    const char *dialect = r->dialect == SCORES_ECHO ? "vllm" : "llama.cpp", *part = held_out ? "held-out" : "training";
    if (!parts) {
        printf("%-12s %s (%s)\n%-12s %s, %s: %" PRId64 " of %" PRId64 " tokens\n%-12s %" PRId64 "\n", "teacher",
               r->model, dialect, "text", q->data, part, r->there, tokens, "requests", r->requests);
        return;
    }
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "teacher", r->model);
    cJSON_AddStringToObject(root, "dialect", dialect);
    cJSON_AddStringToObject(root, "data", q->data);
    cJSON_AddStringToObject(root, "part", part);
    cJSON_AddStringToObject(root, "cache", q->out);
    cJSON_AddNumberToObject(root, "top", q->top);
    cJSON_AddNumberToObject(root, "tokens", (double)tokens);
    cJSON_AddNumberToObject(root, "there", (double)r->there);
    cJSON_AddNumberToObject(root, "requests", (double)r->requests);
    cJSON_AddItemToArray(parts, root);
}

/* One JSON value: an object, or with --held-out an array of two. */
static void print_json(const teach_scores_request *q, cJSON *parts) {
    cli_print_json(q->held_out ? parts : cJSON_DetachItemFromArray(parts, 0));
    if (!q->held_out) cJSON_Delete(parts);
}

static status teach_part(const http_client *c, const teach_scores_request *q, const tokenizer *tok, shard_part part,
                         cJSON *parts) {
    keeper k = {.q = q,
                .facts = {.k = q->top,
                          .vocab_size = tokenizer_vocab_size(tok),
                          .tokenizer = tokenizer_fingerprint(tok),
                          .seq = q->seq,
                          .stride = q->stride}};
    scores_result r = {0};
    TRY(shard_set_open(&k.text, q->data, part, k.facts.vocab_size));
    const int64_t tokens = shard_set_tokens(&k.text);
    status s = close_writer(&k, score(c, &k, tok, &r));
    if (s == STATUS_INTERRUPTED)
        (void)fail("interrupted: %s has %" PRId64 " of %" PRId64 " tokens; the same command goes on", q->out, r.there,
                   tokens);
    if (s == STATUS_OK) say(q, &r, tokens, part == SHARDS_HELD_OUT, parts);
    if (s == STATUS_OK && r.there < tokens)
        fprintf(stderr, "moec teach: note: the budget of requests (%" PRId64 ") is spent; the same call goes on\n",
                q->requests);
    scores_result_free(&r);
    shard_set_close(&k.text);
    return s;
}

status teach_scores(const http_client *c, const teach_scores_request *q) {
    tokenizer *tok = NULL;
    lock held = {0};
    TRY(open_tokenizer(q, &tok));
    cJSON *parts = q->json ? cJSON_CreateArray() : NULL;
    char *path = path_join(q->out, "lock");
    status s = folder_create(q->out);
    if (s == STATUS_OK) s = lock_take(&held, path, "moec teach");
    if (s == STATUS_OK) s = teach_part(c, q, tok, SHARDS_TRAINING, parts);
    if (s == STATUS_OK && q->held_out) s = teach_part(c, q, tok, SHARDS_HELD_OUT, parts);
    if (s == STATUS_OK && parts)
        print_json(q, parts);
    else
        cJSON_Delete(parts);
    lock_release(&held);
    free(path);
    tokenizer_close(tok);
    return s;
}
