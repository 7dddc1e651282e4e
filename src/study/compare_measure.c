/* One model, measured in a process of its own: loading, speed, memory, samples, and the nats of every piece of the text. */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "nn/budget.h"
#include "store/checkpoint.h"
#include "store/checkpoint_folder.h"
#include "store/open.h"
#include "study/compare_child.h"
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { CHUNK = 256 }; /* tokens of a prompt at a time, as moec generate reads it */

typedef struct opened {
    model *m;
    tokenizer *tok;
    pass *p;
    scored_text text;
    int context;
    double load_seconds;
} opened;

static int64_t peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

/* ---- opening ---- */

static status open_text(const compare_task *t, opened *o) {
    const compare_options *c = t->options;
    if (!c->data) return scored_text_of_files(&o->text, c->files, c->file_count, o->tok);
    return scored_text_open_for(&o->text, c->data, o->tok, o->m->config.vocab_size);
}

static status open_all(const compare_task *t, opened *o) {
    const double started = clock_seconds();
    TRY(open_model(t->subject->open, t->options->k, "chosen", MODEL_RUN, &o->m, &o->tok, &o->context));
    TRY(pass_create(&o->p, o->m));
    o->load_seconds = clock_seconds() - started;
    return fail_in(open_text(t, o), "%s", t->subject->path);
}

static void close_all(opened *o) {
    scored_text_close(&o->text);
    pass_destroy(o->p);
    model_destroy(o->m);
    tokenizer_close(o->tok);
}

static void answer(cJSON *json, uint8_t **bytes, size_t *count) {
    *bytes = (uint8_t *)cJSON_PrintUnformatted(json);
    *count = strlen((char *)*bytes);
    cJSON_Delete(json);
}

status compare_look(void *task, uint8_t **bytes, size_t *count) {
    opened o = {0};
    status s = open_all(task, &o);
    if (s == STATUS_OK) {
        document_table d = text_pieces_documents(&o.text, o.tok);
        double all = 0;
        for (int64_t i = 0; i < d.count; i++) all += (double)d.documents[i].bytes;
        cJSON *json = cJSON_CreateObject();
        cJSON_AddNumberToObject(json, "tokens", (double)o.text.s.count);
        cJSON_AddNumberToObject(json, "bytes", all);
        answer(json, bytes, count);
        document_table_free(&d);
    }
    close_all(&o);
    return s;
}

/* ---- what it takes on the disk ---- */

static int64_t file_bytes(const char *folder, const char *name) {
    struct stat about;
    char *path = name ? path_join(folder, name) : xstrdup(folder);
    const bool is_file = stat(path, &about) == 0 && S_ISREG(about.st_mode);
    free(path);
    return is_file ? (int64_t)about.st_size : 0;
}

/* Of a checkpoint what it takes to run the chosen weights: not the others, not what training goes on from. */
static status checkpoint_bytes(const char *path, int64_t *bytes) {
    checkpoint *c;
    const char *which = NULL;
    TRY(checkpoint_require(&c, path));
    status s = checkpoint_weights(c, "chosen", &which);
    if (s == STATUS_OK)
        *bytes = file_bytes(c->path, strcmp(which, "ema") == 0 ? AVERAGE_FILE : WEIGHTS_FILE) +
                 file_bytes(c->path, CONFIG_FILE) + file_bytes(c->path, TOKENIZER_FILE);
    checkpoint_close(c);
    return s;
}

static status disk_bytes(const char *path, int64_t *bytes) {
    char **names;
    size_t count;
    if (open_is_saved(path)) return checkpoint_bytes(path, bytes);
    *bytes = file_bytes(path, NULL);
    if (!path_is_folder(path)) return STATUS_OK;
    TRY(folder_list(path, &names, &count));
    for (size_t i = 0; i < count; i++) {
        *bytes += file_bytes(path, names[i]);
        free(names[i]);
    }
    free(names);
    return STATUS_OK;
}

/* ---- speed ---- */

/* Reads the prompt in chunks, then is given the next tokens one by one: what it would have written does not matter for how
 * long that takes, and nothing ends early. */
static status time_once(const opened *o, kv_cache *cache, const int32_t *ids, float *logits, double *prefill,
                        double *decode) {
    double started = clock_seconds();
    kv_cache_cut(cache, 0, 0);
    for (int64_t at = 0; at < COMPARE_PREFILL; at += CHUNK)
        TRY(pass_decode(o->p, cache, ids + at, COMPARE_PREFILL - at < CHUNK ? COMPARE_PREFILL - at : CHUNK, logits));
    *prefill = COMPARE_PREFILL / (clock_seconds() - started);
    started = clock_seconds();
    for (int64_t i = 0; i < COMPARE_DECODE; i++) TRY(pass_decode(o->p, cache, ids + COMPARE_PREFILL + i, 1, logits));
    *decode = COMPARE_DECODE / (clock_seconds() - started);
    return STATUS_OK;
}

typedef struct speeds {
    double prefill[COMPARE_REPEATS], decode[COMPARE_REPEATS];
} speeds;

/* The first time is thrown away: products choose their ways then. */
static status time_all(const opened *o, const char *name, kv_cache *cache, speeds *found) {
    enum { TOKENS = COMPARE_PREFILL + COMPARE_DECODE };
    int32_t ids[TOKENS];
    float *logits = xmalloc((size_t)o->m->config.vocab_size * sizeof *logits);
    progress shown = progress_start("time");
    status s = STATUS_OK;
    for (int64_t i = 0; i < TOKENS; i++) ids[i] = shard_token(&o->text.s, i % o->text.s.count);
    for (int i = -1; i < COMPARE_REPEATS && s == STATUS_OK; i++) {
        const int to = i < 0 ? 0 : i;
        progress_show(&shown, (i + 1.0) / (COMPARE_REPEATS + 1), name);
        s = time_once(o, cache, ids, logits, &found->prefill[to], &found->decode[to]);
    }
    progress_clear(&shown);
    free(logits);
    return s;
}

static status add_speed(const opened *o, const char *name, cJSON *json) {
    speeds found;
    kv_cache *cache;
    TRY(kv_cache_create(&cache, o->m, 1, COMPARE_PREFILL + COMPARE_DECODE));
    status s = time_all(o, name, cache, &found);
    kv_cache_destroy(cache);
    TRY(s);
    cJSON_AddItemToObject(json, "prefill", cJSON_CreateDoubleArray(found.prefill, COMPARE_REPEATS));
    cJSON_AddItemToObject(json, "decode", cJSON_CreateDoubleArray(found.decode, COMPARE_REPEATS));
    cJSON_AddNumberToObject(json, "peak_bytes", (double)peak_bytes());
    return STATUS_OK;
}

/* ---- the text ---- */

static void add_pieces(cJSON *json, const text_pieces *pieces, const piece_score *scores) {
    cJSON *nll = cJSON_AddArrayToObject(json, "nll"), *tokens = cJSON_AddArrayToObject(json, "tokens"),
          *places = cJSON_AddArrayToObject(json, "pieces");
    for (int64_t i = 0; i < pieces->count; i++) {
        const text_piece *p = &pieces->items[i];
        cJSON_AddItemToArray(nll, cJSON_CreateNumber(scores[i].nll));
        cJSON_AddItemToArray(tokens, cJSON_CreateNumber((double)scores[i].tokens));
        cJSON_AddItemToArray(
            places, cJSON_CreateDoubleArray(
                        (const double[]){(double)p->first, (double)p->end, (double)p->document, (double)p->domain}, 4));
    }
}

static status score(const compare_task *t, const opened *o, const document_table *documents, cJSON *json) {
    bpb_options options = {.shown = t->name};
    bpb_windows(&options, t->subject->open, o->context, t->options->seq);
    text_pieces pieces = text_pieces_take(documents, t->bytes, o->text.seed);
    piece_score *scores = xcalloc((size_t)pieces.count + 1, sizeof *scores);
    status s = text_pieces_score(o->p, o->tok, &o->text.s, documents, &pieces, &options, scores);
    cJSON_AddNumberToObject(json, "seq", (double)options.seq);
    cJSON_AddNumberToObject(json, "stride", (double)options.stride);
    cJSON_AddBoolToObject(json, "whole", pieces.whole);
    add_pieces(json, &pieces, scores);
    free(scores);
    text_pieces_free(&pieces);
    return s;
}

static status add_scores(const compare_task *t, const opened *o, cJSON *json) {
    document_table documents = text_pieces_documents(&o->text, o->tok);
    status s = score(t, o, &documents, json);
    cJSON_AddItemToObject(json, "domains",
                          cJSON_CreateStringArray((const char *const *)documents.domains, documents.domain_count));
    cJSON_AddNumberToObject(json, "scoring_peak_bytes", (double)peak_bytes());
    document_table_free(&documents);
    return s;
}

/* ---- all ---- */

static status measure(const compare_task *t, opened *o, cJSON *json) {
    int64_t bytes = 0;
    cJSON *samples;
    TRY(open_all(t, o));
    TRY(disk_bytes(t->subject->open, &bytes));
    const model_budget budget = model_budget_count(&o->m->config);
    cJSON_AddNumberToObject(json, "vocab_size", o->m->config.vocab_size);
    cJSON_AddNumberToObject(json, "parameters", (double)budget.total);
    cJSON_AddNumberToObject(json, "active_parameters", (double)budget.active);
    cJSON_AddNumberToObject(json, "disk_bytes", (double)bytes);
    cJSON_AddNumberToObject(json, "load_seconds", o->load_seconds);
    TRY(add_speed(o, t->name, json));
    status s = compare_sample_texts(t, o->p, o->tok, &o->text, &samples);
    cJSON_AddItemToObject(json, "samples", samples);
    TRY(s);
    return add_scores(t, o, json);
}

status compare_measure(void *task, uint8_t **bytes, size_t *count) {
    const compare_task *t = task;
    opened o = {0};
    cJSON *json = cJSON_CreateObject();
    status s = fail_in(measure(t, &o, json), "%s", t->name);
    close_all(&o);
    if (s == STATUS_OK)
        answer(json, bytes, count);
    else
        cJSON_Delete(json);
    return s;
}
