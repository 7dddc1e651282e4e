/* Trainings with a teacher: what they learn and log, that they are resumed to the bit, and what is refused. */
#include "tiny.h"

#include "base/json.h"
#include "store/checkpoint_folder.h"
#include "store/open.h"
#include "text/teacher_cache.h"
#include "train/log.h"
#include "train/log_csv.h"
#include <math.h>

enum { TOP = 8, STEPS = 8 };

static char *in(void **state, const char *name) {
    return path_join(*state, name);
}

/* Without events: the teacher is to be one model. */
static run_config plain_run(void **state, const char *name, int64_t steps) {
    run_config c = tiny_run(*state, name, steps);
    c.events.count = 0;
    c.average.kind = AVERAGE_NONE;
    return c;
}

/* Windows as training has them; what the teacher says of a window's first token is that it knows nothing. */
static void fill_cache(teacher_writer *w, const shard *s, pass *p, int64_t window) {
    int32_t *ids = xmalloc((size_t)window * sizeof *ids), *listed = xmalloc((size_t)(window * TOP) * sizeof *listed);
    float *log_probs = xmalloc((size_t)(window * TOP) * sizeof *log_probs),
          *rest = xmalloc((size_t)window * sizeof *rest);
    const int32_t nothing[TOP] = {-1, -1, -1, -1, -1, -1, -1, -1};
    const float none[TOP] = {0};
    for (int64_t at = 0; at < s->count; at += window) {
        const int64_t length = s->count - at < window ? s->count - at : window;
        shard_read(s, at, length, ids);
        assert_ok(pass_top_log_probs(p, &(batch){.batch = 1, .length = length, .input_ids = ids}, TOP, listed,
                                     log_probs, rest));
        assert_ok(teacher_writer_add(w, nothing, none, 0));
        for (int64_t i = 0; i + 1 < length; i++)
            assert_ok(teacher_writer_add(w, listed + i * TOP, log_probs + i * TOP, rest[i]));
    }
    free(ids), free(listed), free(log_probs), free(rest);
}

static void make_cache(void **state, const char *run, const char *cache) {
    char *source = in(state, run), *folder = in(state, cache), *path = in(state, "data/tiny_train_000000.bin");
    model *m;
    tokenizer *tok;
    pass *p;
    shard s;
    teacher_writer *w;
    assert_ok(open_model(source, kernels_for(DTYPE_F32), "chosen", MODEL_RUN, &m, &tok, NULL));
    assert_ok(pass_create(&p, m));
    assert_ok(shard_open(&s, path, TINY_VOCAB));
    const teacher_facts facts = {
        .k = TOP, .vocab_size = TINY_VOCAB, .tokenizer = tokenizer_fingerprint(tok), .name = "first"};
    assert_ok(teacher_writer_open(&w, folder, &s, &facts));
    fill_cache(w, &s, p, 64);
    assert_ok(teacher_writer_close(w));
    shard_close(&s);
    pass_destroy(p);
    model_destroy(m);
    tokenizer_close(tok);
    free(source), free(folder), free(path);
}

/* folder/data, folder/first: a run that has learned something, folder/cache: what it says of the text. */
static int create(void **state) {
    char *folder = scratch_create(), *data = path_join(folder, "data");
    train_result result;
    tiny_data(data);
    free(data);
    *state = folder;
    run_config c = plain_run(state, "first", 60);
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    run_config_free(&c);
    make_cache(state, "first", "cache");
    return 0;
}

static void ask_cache(run_config *c, void **state, double weight) {
    char *cache = in(state, "cache");
    set_string(&c->distill.teacher, cache);
    c->distill.teacher_weight = curve_constant(weight);
    free(cache);
}

static void ask_model(run_config *c, void **state, double weight) {
    char *model = in(state, "first");
    set_string(&c->distill.teacher_model, model);
    c->distill.hidden_weight = curve_constant(weight);
    free(model);
}

static double logged(const run_config *c, int64_t step, const char *key) {
    cJSON *record;
    char *path = path_join(c->train.run, RUN_LOG_FILE);
    assert_ok(run_log_find(path, step, &record));
    free(path);
    assert_non_null(record);
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(record, key);
    const double value = number ? number->valuedouble : NAN;
    cJSON_Delete(record);
    return value;
}

static void run(run_config *c, train_start start) {
    train_result result;
    assert_ok(run_config_check(c));
    assert_ok(train_run(c, start, &result));
}

/* ---- what is learned ---- */

static void a_column_teaches(void **state) {
    run_config c = plain_run(state, "taught", 30);
    ask_cache(&c, state, 1);
    c.distill.ce_weight = curve_constant(0); /* the teacher alone */
    c.distill.temperature = 2;
    c.train.log_csv = true;
    run(&c, TRAIN_NEW);
    assert_true(logged(&c, 30, "kl") < 0.5 * logged(&c, 1, "kl"));
    assert_true(logged(&c, 30, "loss") < logged(&c, 1, "loss") - 1); /* what it says is true of the text */
    assert_true(isnan(logged(&c, 30, "hidden")));
    char *table = path_join(c.train.run, LOG_CSV_FILE);
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(table, FILE_ANY_SIZE, &bytes, &count));
    assert_non_null(strstr((char *)bytes, ",val_bpb_ema,kl\n"));
    free(bytes);
    free(table);
    run_config_free(&c);
}

static void hidden_states_teach(void **state) {
    run_config c = plain_run(state, "hidden", 30);
    ask_model(&c, state, 5);
    c.train.seed = 5;
    run(&c, TRAIN_NEW);
    assert_true(logged(&c, 30, "hidden") < 0.7 * logged(&c, 1, "hidden") && isnan(logged(&c, 30, "kl")));
    c.distill.hidden_layers[1] = c.distill.hidden_layers[4] = true;
    run(&c, TRAIN_OVERWRITE);
    assert_true(logged(&c, 30, "hidden") < logged(&c, 1, "hidden"));
    run_config_free(&c);
}

/* The weights are what the fraction says: both are there in the middle alone, and nothing of them in a plain run. */
static void curves(void **state) {
    run_config c = plain_run(state, "curves", 5);
    ask_cache(&c, state, 0);
    c.distill.teacher_weight = (curve){.at = {0, 0.5, 1}, .value = {0, 1, 0}, .count = 3};
    run(&c, TRAIN_NEW);
    assert_true(isnan(logged(&c, 1, "kl")) && logged(&c, 2, "kl") > 0 && logged(&c, 5, "kl") > 0);
    run_config plain = plain_run(state, "plain", 1);
    run(&plain, TRAIN_NEW);
    assert_true(isnan(logged(&plain, 1, "kl")) && logged(&plain, 1, "loss") == logged(&c, 1, "loss"));
    assert_true(logged(&plain, 1, "grad_norm") == logged(&c, 1, "grad_norm"));
    run_config_free(&plain);
    run_config_free(&c);
}

/* ---- resuming ---- */

static float *final_weights(const run_config *c, int64_t *count) {
    model *m;
    tokenizer *tok;
    assert_ok(open_model(c->train.run, kernels_for(DTYPE_F32), "live", MODEL_VALUES, &m, &tok, NULL));
    *count = m->values.count;
    float *all = xmalloc((size_t)*count * sizeof *all);
    m->k->download(all, m->values.data, (size_t)*count * sizeof *all);
    model_destroy(m);
    tokenizer_close(tok);
    return all;
}

/* With events, a curve, both kinds of teacher. */
static run_config whole(void **state, const char *name, int64_t steps) {
    run_config c = tiny_run(*state, name, steps);
    ask_cache(&c, state, 0.5);
    ask_model(&c, state, 2);
    c.distill.teacher_weight = (curve){.at = {0, 1}, .value = {1, 0.2}, .count = 2};
    c.distill.divergence = DIVERGENCE_REVERSE;
    c.distill.temperature = 1.5;
    c.distill.hidden_layers[2] = c.distill.hidden_layers[4] = true;
    c.train.checkpoint_every = 3;
    return c;
}

static void resumed_to_the_bit(void **state) {
    int64_t count, again;
    run_config c = whole(state, "whole", STEPS);
    run(&c, TRAIN_NEW);
    float *once = final_weights(&c, &count);
    run_config cut = whole(state, "cut", STEPS);
    run(&cut, TRAIN_NEW);
    char *checkpoints = path_join(cut.train.run, "checkpoints"), *next = path_join(cut.train.run, RUN_CONFIG_FILE),
         *last;
    assert_ok(checkpoint_newest(checkpoints, &last));
    scratch_remove(last); /* as if it had ended at step 6 */
    run_config read = run_config_default();
    assert_ok(run_config_load_begun(&read, next, NULL, 0));
    assert_true(read.distill.hidden_layers[2] && read.distill.teacher_weight.count == 2);
    run(&read, TRAIN_RESUME);
    float *twice = final_weights(&cut, &again);
    assert_int_equal(count, again);
    assert_memory_equal(once, twice, (size_t)count * sizeof *once);
    read.distill.temperature = 2;
    train_result result;
    assert_fails(train_run(&read, TRAIN_RESUME, &result), "teacher_temperature 1.5 -> 2");
    free(once), free(twice), free(next), free(checkpoints);
    run_config_free(&c);
    run_config_free(&cut);
    run_config_free(&read);
}

/* The same path, another model: nothing in the configuration tells. */
static void a_teacher_that_went_on(void **state) {
    run_config teacher = plain_run(state, "second", 3), c = plain_run(state, "pupil", 2);
    train_result result;
    run(&teacher, TRAIN_NEW);
    ask_model(&c, state, 1);
    set_string(&c.distill.teacher_model, teacher.train.run);
    run(&c, TRAIN_NEW);
    c.train.steps = 3;
    run(&c, TRAIN_RESUME);
    teacher.train.steps = 4;
    run(&teacher, TRAIN_RESUME);
    c.train.steps = 4;
    assert_fails(train_run(&c, TRAIN_RESUME, &result), "another teacher under the same path");
    run(&c, TRAIN_RESUME_CHANGED);
    c.train.steps = 5;
    run(&c, TRAIN_RESUME); /* it is the run's own teacher now */
    run_config_free(&teacher);
    run_config_free(&c);
}

/* ---- refusals ---- */

static void refused(void **state, run_config *c, const char *message) {
    train_result result;
    (void)state;
    assert_fails(train_run(c, TRAIN_NEW, &result), message);
    if (strchr(error_message(), '\n')) fail_msg("more than a line: %s", error_message());
    assert_false(path_holds(c->train.run, RUN_LOG_FILE));
    run_config_free(c);
}

static void teachers_that_do_not_fit(void **state) {
    run_config c = plain_run(state, "refused", 2);
    ask_model(&c, state, 1);
    c.model.model_dim = 64;
    refused(state, &c, "expected 4 layers of 64 channels, as the model that learns has them, found 4 of 32");
    c = plain_run(state, "refused", 2);
    ask_model(&c, state, 1);
    set_string(&c.distill.teacher_model, "nowhere");
    refused(state, &c, "teacher_model: nowhere: no such file or folder");
    c = plain_run(state, "refused", 2);
    ask_cache(&c, state, 1);
    set_string(&c.distill.teacher, "nowhere");
    refused(state, &c, "nowhere");
}

#define assert_refused(change, message)                                                                                \
    do {                                                                                                               \
        run_config c = run_config_default();                                                                           \
        distill_config *d = &c.distill;                                                                                \
        change;                                                                                                        \
        assert_int_equal(run_config_check(&c), STATUS_USAGE);                                                          \
        if (!strstr(error_message(), message)) fail_msg("\"%s\" does not name \"%s\"", error_message(), message);      \
        run_config_free(&c);                                                                                           \
    } while (0)

static void rules(void **state) {
    (void)state;
    assert_refused(d->teacher_weight = curve_constant(1), "teacher_weight: expected a teacher, the folder that");
    assert_refused(d->teacher_weight = curve_constant(-1), "teacher_weight: expected a number from 0 to 1000");
    assert_refused(d->hidden_weight = curve_constant(1), "hidden_weight: expected a teacher_model");
    assert_refused(d->ce_weight = curve_constant(0), "ce_weight: expected more than 0 where teacher_weight is 0");
    assert_refused(d->temperature = 2, "teacher_temperature: expected a teacher beside it, found none");
    assert_refused(d->temperature = 0, "teacher_temperature: expected a number from 0.1 to 20");
    assert_refused(d->divergence = DIVERGENCE_REVERSE, "divergence: expected a teacher beside it, found none");
    assert_refused(d->hidden_layers[10] = true, "hidden_layers: expected numbers up to num_layers 9, found 10");
    run_config c = run_config_default(); /* a control beside runs with a teacher */
    set_string(&c.distill.teacher, "cache");
    c.distill.temperature = 2;
    assert_ok(run_config_check(&c));
    c.distill.ce_weight = curve_constant(0);
    set_string(&c.distill.teacher_model, "model");
    c.distill.hidden_weight = curve_constant(1); /* hidden states alone are something to learn */
    assert_ok(run_config_check(&c));
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_teaches),
        cmocka_unit_test(hidden_states_teach),
        cmocka_unit_test(curves),
        cmocka_unit_test(resumed_to_the_bit),
        cmocka_unit_test(a_teacher_that_went_on),
        cmocka_unit_test(teachers_that_do_not_fit),
        cmocka_unit_test(rules),
    };
    return cmocka_run_group_tests(tests, create, scratch_teardown);
}
