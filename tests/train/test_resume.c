/* Resuming with another configuration: what is harmless, what is refused, what is changed all the same, and a run that has
 * nothing left to do. */
#include "tiny.h"

#include "base/json.h"
#include "train/log.h"
#include "train/resume.h"
#include <math.h>
#include <sys/stat.h>

static int create(void **state) {
    char *folder = scratch_create(), *data = path_join(folder, "data");
    tiny_data(data);
    free(data);
    *state = folder;
    return 0;
}

static char *file_of(const run_config *c, const char *name) {
    return path_join(c->train.run, name);
}

static char *content(const run_config *c, const char *name) {
    char *path = file_of(c, name);
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    free(path);
    return (char *)bytes;
}

/* The last record of that kind. */
static cJSON *last_record(const run_config *c, const char *kind) {
    char *log = content(c, RUN_LOG_FILE), *rest = log, *line;
    cJSON *last = NULL;
    while ((line = strsep(&rest, "\n")) && *line) {
        cJSON *record = cJSON_Parse(line);
        const bool found = strcmp(cJSON_GetObjectItem(record, "record")->valuestring, kind) == 0;
        cJSON_Delete(found ? last : record);
        if (found) last = record;
    }
    free(log);
    return last;
}

static const char *change_of(const cJSON *record, const char *key, const char *end) {
    const cJSON *change = cJSON_GetObjectItem(cJSON_GetObjectItem(record, "changes"), key);
    return cJSON_GetStringValue(cJSON_GetObjectItem(change, end));
}

static run_config begin(void **state, int64_t steps) {
    run_config c = tiny_run(*state, "run", steps);
    c.events.count = 0;
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    assert_false(result.idle);
    return c;
}

static void harmless_changes(void **state) {
    run_config c = begin(state, 2);
    train_result result;
    c.train.steps = 3;
    c.train.log_every = 7;
    c.train.keep_checkpoints = 5;
    c.train.max_seconds = 1000;
    c.pack.bits = 5;
    assert_ok(train_run(&c, TRAIN_RESUME, &result));
    assert_int_equal(result.state.step, 3);
    cJSON *record = last_record(&c, "resume");
    assert_string_equal(change_of(record, "steps", "from"), "2");
    assert_string_equal(change_of(record, "steps", "to"), "3");
    assert_string_equal(change_of(record, "log_every", "to"), "7");
    assert_string_equal(change_of(record, "pack_bits", "from"), "6");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(record, "changes")), 5);
    cJSON_Delete(record);
    run_config_free(&c);
}

static void another_run_is_refused(void **state) {
    run_config c = begin(state, 2);
    char *other = path_join(*state, "elsewhere"), *log = content(&c, RUN_LOG_FILE);
    train_result result;
    tiny_data(other);
    run_config changed = c;
    changed.train.steps = 4;
    changed.optimizer.matrix_lr = 0.5;
    changed.train.batch = 1;
    changed.train.seed = 3;
    changed.train.log_every = 9;
    changed.events.count = 1;
    assert_fails(train_run(&changed, TRAIN_RESUME, &result),
                 "batch 2 -> 1, seed 1337 -> 3, matrix_lr 0.022 -> 0.5, events [] -> [{at: 0.3, do: upcycle");
    assert_null(strstr(error_message(), "log_every"));
    assert_non_null(strstr(error_message(), "--allow-changes"));
    changed = c;
    changed.train.steps = 1;
    assert_fails(train_run(&changed, TRAIN_RESUME, &result), "steps 2 -> 1");
    changed = c;
    changed.data.path = other;
    assert_fails(train_run(&changed, TRAIN_RESUME, &result), "elsewhere; --allow-changes");
    changed = c;
    changed.train.dtype = (char *)"bf16";
    assert_fails(train_run(&changed, TRAIN_RESUME, &result),
                 kernels_for(DTYPE_BF16) ? "dtype f32 -> bf16" : "no fast bf16");
    char *after = content(&c, RUN_LOG_FILE);
    assert_string_equal(after, log);
    free(after);
    changed = c;
    changed.train.steps = 4;
    changed.optimizer.matrix_lr = 0.5;
    changed.model.head.softcap = 20;
    assert_ok(train_run(&changed, TRAIN_RESUME_CHANGED, &result));
    assert_int_equal(result.state.step, 4);
    cJSON *record = last_record(&c, "resume");
    assert_string_equal(change_of(record, "matrix_lr", "to"), "0.5");
    cJSON_Delete(record);
    checkpoint *saved; /* the model has the new value, and the checkpoint says so */
    model_config now;
    assert_ok(checkpoint_require(&saved, c.train.run));
    assert_ok(checkpoint_load_model_config(saved, &now));
    assert_true(now.head.softcap == 20);
    checkpoint_close(saved);
    free(log);
    free(other);
    run_config_free(&c);
}

/* A number that events change and that the user changes too: the checkpoint's value is no longer what counts. */
static void events_keep_what_they_made(void **state) {
    run_config c = tiny_run(*state, "run", 10);
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result)); /* upcycles to two experts, and loops */
    c.train.steps = 11;
    c.model.moe.aux_weight = 0.5f;
    assert_fails(train_run(&c, TRAIN_RESUME, &result), "moe_aux_weight 0.01 -> 0.5");
    assert_ok(train_run(&c, TRAIN_RESUME_CHANGED, &result));
    checkpoint *saved;
    model_config now;
    assert_ok(checkpoint_require(&saved, c.train.run));
    assert_ok(checkpoint_load_model_config(saved, &now));
    assert_true(now.moe.aux_weight == 0.5f && now.moe.layers[1] && now.loop.on && now.moe.experts == 2);
    checkpoint_close(saved);
    run_config_free(&c);
}

/* The same path, another text: nothing in the configuration tells. */
static void data_made_anew(void **state) {
    run_config c = begin(state, 2);
    char *shard = path_join(c.data.path, "tiny_train_000000.bin"), *model = path_join(c.data.path, "tokenizer.model");
    train_result result;
    tokenizer *tok;
    assert_ok(tokenizer_open(&tok, model));
    tiny_shard(c.data.path, "tiny_train_000000.bin", tok, 77, TINY_LINES);
    tokenizer_close(tok);
    c.train.steps = 3;
    assert_fails(train_run(&c, TRAIN_RESUME, &result), "another text under the same path");
    assert_ok(train_run(&c, TRAIN_RESUME_CHANGED, &result));
    cJSON *record = last_record(&c, "resume");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetObjectItem(record, "changes"), "other_text")));
    cJSON_Delete(record);
    c.train.steps = 4;
    assert_ok(train_run(&c, TRAIN_RESUME, &result)); /* it is the run's own text now */
    free(shard);
    free(model);
    run_config_free(&c);
}

/* ---- nothing left to do ---- */

static struct timespec changed_at(const run_config *c, const char *name) {
    char *path = file_of(c, name);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    free(path);
    return info.st_mtim;
}

static void a_finished_run_stays_as_it_is(void **state) {
    static const char *const names[] = {RUN_LOG_FILE, RUN_CONFIG_FILE, "checkpoints"};
    run_config c = begin(state, 2);
    struct timespec before[3];
    char *texts[2];
    train_result result;
    for (int i = 0; i < 3; i++) before[i] = changed_at(&c, names[i]);
    for (int i = 0; i < 2; i++) texts[i] = content(&c, names[i]);
    c.train.log_every = 3;
    assert_ok(train_run(&c, TRAIN_RESUME, &result));
    assert_true(result.idle && isnan(result.loss));
    assert_int_equal(result.state.step, 2);
    for (int i = 0; i < 3; i++) {
        const struct timespec after = changed_at(&c, names[i]);
        assert_memory_equal(&after, &before[i], sizeof after);
    }
    for (int i = 0; i < 2; i++) {
        char *after = content(&c, names[i]);
        assert_string_equal(after, texts[i]);
        free(after);
        free(texts[i]);
    }
    run_config_free(&c);
}

/* ---- a folder in the place of a preset ---- */

static void the_run_s_own_configuration(void **state) {
    run_config c = begin(state, 2), own = run_config_default();
    char *slash = xasprintf("%s/", c.train.run), *moved = path_join(*state, "moved"), *more[] = {(char *)"steps=3"};
    train_result result;
    assert_ok(resume_config(&own, slash, more, 1));
    assert_string_equal(own.train.run, c.train.run);
    assert_int_equal(own.train.steps, 3);
    assert_ok(train_run(&own, TRAIN_RESUME, &result));
    assert_int_equal(result.state.step, 3);
    run_config_free(&own);
    assert_int_equal(rename(c.train.run, moved), 0);
    char *file = path_join(moved, RUN_CONFIG_FILE); /* its checkpoints have their own */
    assert_int_equal(remove(file), 0);
    own = run_config_default();
    more[0] = (char *)"steps=4";
    assert_ok(resume_config(&own, moved, more, 1));
    assert_string_equal(own.train.run, moved);
    assert_ok(train_run(&own, TRAIN_RESUME, &result));
    assert_int_equal(result.state.step, 4);
    run_config_free(&own);
    own = run_config_default();
    more[0] = (char *)"run=third";
    assert_fails(resume_config(&own, moved, more, 1), "moved says already which run is resumed");
    run_config_free(&own);
    own = run_config_default();
    assert_fails(resume_config(&own, *state, NULL, 0), "expected a preset, or a run's folder");
    run_config_free(&own);
    free(file), free(moved), free(slash);
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(harmless_changes, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(another_run_is_refused, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(events_keep_what_they_made, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(data_made_anew, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_finished_run_stays_as_it_is, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(the_run_s_own_configuration, create, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
