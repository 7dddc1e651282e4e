#include "train/tune.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "store/artifact.h"
#include "text/loader.h"
#include "train/tune_values.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CHECK_TOKENS = 32768, /* on which it is decided, at most one row in 50 of the text */
    TEACHER_TOKENS = 64,  /* that the teacher names for each target */
    LOOKS = 4,            /* at the check's rows, on the way */
    WARM_STEPS = 10
};
#define RATE 0.003 /* of a number's own size; falls to 0 */

typedef struct tuning {
    const tune_options *options;
    tune_report *report;
    pass *teacher, *student;
    artifact_numbers numbers;
    model *m; /* of the artifact */
    tune_values *values;
    loader *text;
    /* the teacher's column of a batch */
    int32_t *ids;
    float *log_probs, *rest;
    teacher_column column;
    double began;
    int looks;
} tuning;

/* ---- against the teacher ---- */

static status ask_teacher(tuning *t, batch *b) {
    b->domain = NULL; /* whoever uses the model has no labels: routers choose */
    TRY(pass_top_log_probs(t->teacher, b, t->column.k, t->ids, t->log_probs, t->rest));
    b->teacher = &t->column;
    return STATUS_OK;
}

/* Gradients of a batch, and what it counts. */
static status learn(tuning *t, batch *b) {
    model_zero_grad(t->m);
    TRY(ask_teacher(t, b));
    return pass_train(t->student, b, 1);
}

/* The divergence from the teacher and the cross-entropy, nats a token, on all rows that are kept aside. */
static status check(tuning *t, double *kl, double *ce) {
    double tokens = 0;
    *kl = *ce = 0;
    for (int64_t row = 0;;) {
        batch b;
        TRY(loader_kept(t->text, row, &b));
        if (b.batch == 0) break;
        if (interrupt_requested()) return STATUS_INTERRUPTED;
        pass_clear(t->student);
        TRY(learn(t, &b));
        const pass_statistics *found = pass_read(t->student);
        const double count = (double)(b.batch * b.length);
        *kl += count * found->kl;
        *ce += count * found->ce;
        tokens += count;
        row += b.batch;
    }
    pass_clear(t->student);
    t->report->check_tokens = (int64_t)tokens;
    if (tokens == 0) return STATUS_OK;
    *kl /= tokens;
    *ce /= tokens;
    return STATUS_OK;
}

/* Keeps what is better than all before. */
static status look(tuning *t) {
    tune_report *r = t->report;
    double kl, ce;
    t->looks++;
    TRY(check(t, &kl, &ce));
    if (!(kl < r->kl_after && ce <= r->ce_before)) return STATUS_OK;
    r->kl_after = kl;
    r->ce_after = ce;
    tune_values_keep(t->values);
    return STATUS_OK;
}

/* ---- steps ---- */

/* The part of the work that is done. */
static double part_done(const tuning *t) {
    const tune_options *o = t->options;
    const double by_steps = o->steps > 0 ? (double)t->report->steps / (double)o->steps : 0;
    const double by_time = o->minutes > 0 ? (clock_seconds() - t->began) / (60 * o->minutes) : 0;
    return fmin(fmax(by_steps, by_time), 1);
}

static status step(tuning *t, double done) {
    batch b;
    TRY(loader_next(t->text, &b));
    TRY(learn(t, &b));
    const double warm = fmin((double)(t->report->steps + 1) / WARM_STEPS, 1);
    TRY(tune_values_step(t->values, RATE * warm * (1 - done)));
    t->report->steps++;
    t->report->tokens += b.batch * b.length;
    return STATUS_OK;
}

static status run(tuning *t) {
    tune_report *r = t->report;
    progress shown = progress_start("tune");
    status s = check(t, &r->kl_before, &r->ce_before);
    r->kl_after = r->kl_before;
    r->ce_after = r->ce_before;
    t->began = clock_seconds();
    for (double done = 0; done < 1 && s == STATUS_OK; done = part_done(t)) {
        char detail[96];
        if (interrupt_requested()) s = STATUS_INTERRUPTED;
        if (s == STATUS_OK && done * LOOKS >= t->looks + 1) s = look(t);
        if (s == STATUS_OK) s = step(t, done);
        snprintf(detail, sizeof detail, "step %lld  divergence %.5f, was %.5f", (long long)r->steps, r->kl_after,
                 r->kl_before);
        progress_show(&shown, done, detail);
    }
    if (s == STATUS_OK) s = look(t);
    progress_clear(&shown);
    return s;
}

/* ---- the file ---- */

static status write_best(tuning *t, const char *path) {
    byte_buffer file = {0};
    tune_report *r = t->report;
    TRY(tune_values_return(t->values));
    status s = artifact_numbers_write(&file, &t->numbers, t->m);
    if (s == STATUS_OK) {
        r->bytes_after = (int64_t)file.count;
        if (t->options->most_bytes > 0 && r->bytes_after > t->options->most_bytes)
            r->left_out = "the file would be larger than it may be";
        else
            s = file_write_whole(path, file.bytes, file.count);
    }
    free(file.bytes);
    return s;
}

/* What was found, also where Ctrl-C ended the search. */
static status finish(tuning *t, const char *path, status s) {
    tune_report *r = t->report;
    r->bytes_after = r->bytes_before;
    if (s != STATUS_OK && s != STATUS_INTERRUPTED) return s;
    if (r->kl_after < r->kl_before)
        TRY(write_best(t, path));
    else
        r->left_out = "it was no better on text that it had not seen";
    if (!r->left_out) return s;
    r->bytes_after = r->bytes_before;
    r->kl_after = r->kl_before;
    r->ce_after = r->ce_before;
    return s;
}

/* ---- setting up ---- */

static status open_text(tuning *t, const tokenizer *tok, const run_config *c) {
    TRY(loader_open(&t->text, c->data.path, t->m->config.vocab_size, tokenizer_bos(tok), c->train.batch, c->train.seq,
                    true, c->train.seed + 1));
    if (c->data.mix.count > 0) TRY(loader_mix(t->text, &c->data.mix));
    if (loader_keep(t->text, CHECK_TOKENS) == 0) t->report->left_out = "the text is too short to keep rows of it apart";
    return STATUS_OK;
}

static status open_student(tuning *t, const char *path) {
    file_map map;
    TRY(file_map_open(&map, path));
    const kernels *k = pass_model(t->teacher)->k;
    t->report->bytes_before = t->report->bytes_after = (int64_t)map.count;
    status s = artifact_numbers_read(&t->numbers, map.bytes, map.count, path);
    if (s == STATUS_OK) s = artifact_parse(map.bytes, map.count, path, k, MODEL_TRAIN, &t->m, NULL, NULL);
    file_map_close(&map);
    TRY(s);
    /* The divergence alone is what it learns. */
    t->m->config.moe.aux_weight = t->m->config.moe.z_weight = t->m->config.moe.noise_std = 0;
    return pass_create(&t->student, t->m);
}

static status set_up(tuning *t, const char *path, const tokenizer *tok, const run_config *c) {
    const distill_args args = {.ce_weight = 0, .teacher_weight = 1, .temperature = 1};
    const bool parts[TUNED_PARTS] = {true, true, true};
    TRY(open_student(t, path));
    TRY(open_text(t, tok, c));
    TRY(pass_distill(t->student, &args));
    t->values = tune_values_create(&t->numbers, t->m, parts);
    const size_t N = (size_t)(c->train.batch * c->train.seq);
    const int k = t->m->config.vocab_size > TEACHER_TOKENS ? TEACHER_TOKENS : t->m->config.vocab_size - 1;
    t->ids = xmalloc(N * (size_t)k * sizeof *t->ids);
    t->log_probs = xmalloc(N * (size_t)k * sizeof *t->log_probs);
    t->rest = xmalloc(N * sizeof *t->rest);
    t->column = (teacher_column){.k = k, .ids = t->ids, .log_probs = t->log_probs, .rest = t->rest};
    return STATUS_OK;
}

static void close_all(tuning *t) {
    tune_values_destroy(t->values);
    loader_close(t->text);
    pass_destroy(t->student);
    model_destroy(t->m);
    artifact_numbers_free(&t->numbers);
    free(t->ids);
    free(t->log_probs);
    free(t->rest);
}

status tune_artifact(const char *path, pass *teacher, const tokenizer *tok, const run_config *c,
                     const tune_options *options, tune_report *report) {
    tuning t = {.options = options, .report = report, .teacher = teacher};
    *report = (tune_report){0};
    status s = set_up(&t, path, tok, c);
    if (s == STATUS_OK && !report->left_out) s = finish(&t, path, run(&t));
    close_all(&t);
    return s;
}
