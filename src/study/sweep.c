/* What a sweep asks for, checked before any work, and doing it: train, measure, write the result's line. */
#include "study/sweep.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "config/yaml.h"
#include "eval/scored_text.h"
#include "study/sweep_result.h"
#include "study/sweep_sizes.h"
#include "train/train.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one run's configuration ---- */

char *sweep_run_folder(const sweep_variant *v, uint64_t seed, const char *out) {
    return xasprintf("%s/%s/seed-%" PRIu64, out, v->name, seed);
}

int64_t sweep_steps(const sweep *s, const sweep_variant *v) {
    return s->steps > 0 ? llround(fmax(1, (double)s->steps * v->times)) : 0;
}

status sweep_config(const sweep *s, const sweep_variant *v, uint64_t seed, const char *out, run_config *c) {
    int count = 0;
    char **overrides = xcalloc((size_t)(s->common.count + v->overrides.count + 4), sizeof *overrides);
    for (int i = 0; i < s->common.count; i++) overrides[count++] = s->common.items[i].text;
    for (int i = 0; i < v->overrides.count; i++) overrides[count++] = v->overrides.items[i].text;
    int first_own = count;
    char *folder = sweep_run_folder(v, seed, out);
    overrides[count++] = xasprintf("run=%s", folder);
    overrides[count++] = xasprintf("seed=%" PRIu64, seed);
    overrides[count++] = xasprintf("steps=%" PRId64, sweep_steps(s, v));
    overrides[count++] = xasprintf("max_seconds=%.17g", s->max_seconds);
    *c = run_config_default();
    status result = run_config_load(c, v->config, overrides, count);
    for (int i = first_own; i < count; i++) free(overrides[i]);
    free(overrides);
    free(folder);
    return result;
}

/* ---- checks ---- */

/* The tokenizer and the held-out text are there and fit the model. */
static status check_data(const run_config *c) {
    TRY(data_config_look(&c->data));
    if (!path_is_folder(c->data.path))
        return fail("data: expected a folder made by `moec data`, found none at %s", c->data.path);
    char *path = data_config_tokenizer(&c->data);
    tokenizer *tok;
    status s = tokenizer_open(&tok, path);
    free(path);
    TRY(s);
    int vocab = tokenizer_vocab_size(tok);
    tokenizer_close(tok);
    if (c->model.vocab_size != 0 && c->model.vocab_size < vocab)
        return fail_usage("vocab_size: expected at least %d, the tokens of the tokenizer of %s, found %d", vocab,
                          c->data.path, c->model.vocab_size);
    scored_text t;
    TRY(scored_text_open(&t, c->data.path, vocab));
    scored_text_close(&t);
    return STATUS_OK;
}

/* Each run is one process's, however many ranks make runs: no other one could have some of its experts. */
static status check_alone(const run_config *c) {
    if (c->train.expert_ranks <= 1) return STATUS_OK;
    return fail_usage("expert_ranks: expected 1 in a sweep, each of whose runs is one process's, found %" PRId64,
                      c->train.expert_ranks);
}

static status check_variant(const sweep *s, const sweep_variant *v) {
    path_kind kind;
    TRY(fail_in(path_look(v->config, &kind), "%s:%d: run %s: config", s->path, v->line, v->name));
    if (kind != PATH_FILE)
        return fail_usage("%s:%d: run %s: config: expected a preset, found no file %s", s->path, v->line, v->name,
                          v->config);
    run_config c;
    status result = sweep_config(s, v, s->seeds[0], "runs", &c);
    if (result == STATUS_OK) result = check_alone(&c);
    if (result == STATUS_OK) result = check_data(&c);
    run_config_free(&c);
    return result == STATUS_OK ? result : fail_in(result, "%s:%d: run %s", s->path, v->line, v->name);
}

/* What a scaling law is of, before the run is made. Its configuration has been read once without an error. */
static double size_of(const sweep *s, const sweep_variant *v) {
    run_config c;
    double size = 0;
    if (sweep_config(s, v, s->seeds[0], "runs", &c) == STATUS_OK) {
        const model_config after = model_after_events(&c.events, &c.model);
        const model_budget b = model_budget_count(&after);
        const train_config *t = &c.train;
        size = s->scaling.of == SIZE_TOKENS       ? (double)(sweep_steps(s, v) * t->batch * t->accumulate * t->seq)
               : s->scaling.of == SIZE_PARAMETERS ? (double)b.total
                                                  : (double)b.active;
    }
    run_config_free(&c);
    return size;
}

status sweep_load(sweep *s, const char *path) {
    uint8_t *bytes;
    size_t count;
    *s = (sweep){0};
    TRY(file_read(path, YAML_MAX_BYTES, &bytes, &count));
    status result = sweep_parse(s, path, (const char *)bytes, count);
    free(bytes);
    for (int i = 0; i < s->variant_count && result == STATUS_OK; i++) result = check_variant(s, &s->variants[i]);
    if (result == STATUS_OK && s->scaling.of) result = sweep_check_sizes(s, size_of);
    return result;
}

/* ---- one run ---- */

static status make_run(const sweep *s, const sweep_variant *v, uint64_t seed, const char *out) {
    run_config c;
    train_result trained;
    sweep_result r = sweep_result_none();
    status result = sweep_config(s, v, seed, out, &c);
    if (result == STATUS_OK) result = train_run(&c, path_is_folder(c.train.run) ? TRAIN_RESUME : TRAIN_NEW, &trained);
    if (result == STATUS_OK) {
        r.state = trained.state;
        result = sweep_measure(s, &c, &r);
    }
    if (result == STATUS_OK) result = sweep_result_add(s, v, seed, out, &c, &r);
    sweep_result_free(&r);
    run_config_free(&c);
    return result;
}

/* ---- all runs ---- */

static bool has_result(const cJSON *results, const sweep_variant *v, uint64_t seed) {
    return sweep_result_find(results, v->name, seed) != NULL;
}

static status interrupted(const sweep *s, const sweep_variant *v, uint64_t seed) {
    (void)fail("%s: interrupted in run %s, seed %" PRIu64 "; the same command goes on from there", s->path, v->name,
               seed);
    return STATUS_INTERRUPTED;
}

typedef struct tally {
    int done, total, failed;
    char *first_failure; /* its message */
    comm *ranks;         /* who make the runs, each one alone, in turn */
    int turn;            /* runs that somebody had to make so far */
} tally;

/* A failed run does not stop the others; Ctrl-C does. */
static status next_run(const sweep *s, const sweep_variant *v, uint64_t seed, const char *out, tally *t) {
    fprintf(stderr, "sweep: run %d of %d: %s, seed %" PRIu64 "\n", ++t->done, t->total, v->name, seed);
    status result = make_run(s, v, seed, out);
    if (result == STATUS_INTERRUPTED || interrupt_requested()) return interrupted(s, v, seed);
    if (result == STATUS_OK) return result;
    fprintf(stderr, "sweep: %s, seed %" PRIu64 " failed: %s\n", v->name, seed, error_message());
    if (t->failed++ == 0) t->first_failure = xasprintf("%s, seed %" PRIu64 ": %s", v->name, seed, error_message());
    return STATUS_OK;
}

/* Seed by seed, so that what is there after an interruption can be compared. */
static status make_runs(const sweep *s, const char *out, const cJSON *results, tally *t) {
    t->total = s->seed_count * s->variant_count;
    for (int i = 0; i < s->seed_count; i++)
        for (int j = 0; j < s->variant_count; j++) {
            if (has_result(results, &s->variants[j], s->seeds[i])) {
                t->done++;
                continue;
            }
            if (t->turn++ % t->ranks->ranks == t->ranks->rank)
                TRY(next_run(s, &s->variants[j], s->seeds[i], out, t));
            else
                t->done++;
        }
    return STATUS_OK;
}

/* The runs of this rank, by itself: nobody else knows of them. */
static status make_own(const sweep *s, const char *out, const cJSON *results, tally *t) {
    comm_work_alone(true);
    const status result = make_runs(s, out, results, t);
    comm_work_alone(false);
    return result;
}

/* Others may be at it for hours yet; one that dies is the launcher's to notice. */
static status wait_for_all(comm *ranks, status mine) {
    const double timeout = ranks->timeout;
    ranks->timeout = INFINITY;
    const status s = comm_agree(ranks, mine);
    ranks->timeout = timeout;
    return s;
}

/* Runs of all ranks that failed, and the message of the lowest rank with one. */
static status add_failures(tally *t) {
    int *failed = xcalloc((size_t)t->ranks->ranks, sizeof *failed), first = 0;
    char message[1024] = "";
    status s = comm_gather(t->ranks, &t->failed, failed, sizeof *failed);
    t->failed = 0;
    for (int r = 0; r < t->ranks->ranks; r++) t->failed += failed[r];
    while (first + 1 < t->ranks->ranks && failed[first] == 0) first++;
    if (t->first_failure) snprintf(message, sizeof message, "%s", t->first_failure);
    if (s == STATUS_OK) s = comm_broadcast(t->ranks, first, message, sizeof message);
    free(t->first_failure);
    t->first_failure = xstrdup(message);
    free(failed);
    return s;
}

/* All ranks see the same results before the first of them makes another one. */
static status open_results(const sweep *s, const char *out, comm *ranks, cJSON **results) {
    *results = NULL;
    TRY(comm_agree(ranks, ranks->rank == 0 ? sweep_result_repair(out) : STATUS_OK));
    return comm_agree(ranks, sweep_results(s, out, results));
}

static status run_all(const sweep *s, const char *out, comm *ranks) {
    cJSON *results;
    tally t = {.ranks = ranks};
    status result = open_results(s, out, ranks, &results);
    interrupt_catch();
    if (result == STATUS_OK) result = wait_for_all(ranks, make_own(s, out, results, &t));
    cJSON_Delete(results);
    if (result == STATUS_OK) result = add_failures(&t);
    if (result == STATUS_OK) result = comm_agree(ranks, ranks->rank == 0 ? sweep_report(s, out) : STATUS_OK);
    if (result == STATUS_OK && t.failed)
        result = comm_alike(
            ranks, fail("%s: %d of %d runs failed, the first: %s", s->path, t.failed, t.total, t.first_failure));
    free(t.first_failure);
    return result;
}

/* The lock lies beside the folder, where no run can have its name; rank 0 holds it for all. */
status sweep_run(const sweep *s, const char *out, comm *ranks) {
    lock lock = {0};
    status result = folder_create(out);
    char *plain = path_plain(out), *path = xasprintf("%s.lock", plain);
    if (result == STATUS_OK && ranks->rank == 0) result = lock_take(&lock, path, "moec sweep");
    free(path);
    free(plain);
    result = comm_agree(ranks, result);
    if (result == STATUS_OK) result = run_all(s, out, ranks);
    lock_release(&lock);
    return result;
}

/* ---- the list ---- */

static status describe_progress(const run_config *c, char *text, size_t room) {
    checkpoint *saved;
    train_state state = {0};
    TRY(checkpoint_open(&saved, c->train.run));
    status s = saved ? checkpoint_load_state(saved, &state) : STATUS_OK;
    if (s == STATUS_OK && saved)
        snprintf(text, room, "step %" PRId64 ", %.0f s", state.step, state.seconds);
    else
        snprintf(text, room, "to do");
    checkpoint_close(saved);
    return s;
}

static status list_run(const sweep *s, const sweep_variant *v, uint64_t seed, const char *out, const cJSON *results) {
    run_config c;
    char progress[64] = "finished";
    status result = sweep_config(s, v, seed, out, &c);
    if (result == STATUS_OK && !has_result(results, v, seed)) result = describe_progress(&c, progress, sizeof progress);
    if (result == STATUS_OK) {
        model_config after = model_after_events(&c.events, &c.model);
        model_budget b = model_budget_count(&after);
        printf("%-32s %6" PRIu64 " %12" PRId64 " %12" PRId64 "  %s\n", v->name, seed, b.total, b.active, progress);
    }
    run_config_free(&c);
    return result;
}

status sweep_list(const sweep *s, const char *out) {
    cJSON *results;
    TRY(sweep_results(s, out, &results));
    status result = STATUS_OK;
    printf("%-32s %6s %12s %12s  %s\n", "run", "seed", "parameters", "active", "state");
    for (int i = 0; i < s->seed_count && result == STATUS_OK; i++)
        for (int j = 0; j < s->variant_count && result == STATUS_OK; j++)
            result = list_run(s, &s->variants[j], s->seeds[i], out, results);
    int runs = s->seed_count * s->variant_count;
    if (result == STATUS_OK && s->max_seconds > 0)
        printf("%d runs of %.0f s: %.0f minutes of training\n", runs, s->max_seconds, runs * s->max_seconds / 60);
    if (result == STATUS_OK && s->steps > 0) {
        int64_t steps = 0;
        for (int j = 0; j < s->variant_count; j++) steps += s->seed_count * sweep_steps(s, &s->variants[j]);
        printf("%d runs of %" PRId64 " steps, %" PRId64 " in all\n", runs, s->steps, steps);
    }
    cJSON_Delete(results);
    return result;
}
