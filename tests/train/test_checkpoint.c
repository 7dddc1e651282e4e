#include "tiny.h"

#include "base/json.h"
#include "store/checkpoint_folder.h"
#include <unistd.h>

/* What a checkpoint is made from, over a scratch folder. */
typedef struct fixture {
    char *folder, *run;
    run_config config;
    tokenizer *tok;
    model *m;
    optimizer *o;
    average *e;
    train_state state;
} fixture;

static int create(void **state) {
    fixture *f = xcalloc(1, sizeof *f);
    f->folder = scratch_create();
    char *data = path_join(f->folder, "data"), *path = path_join(data, "tokenizer.model");
    tiny_data(data);
    assert_ok(tokenizer_open(&f->tok, path));
    f->config = tiny_run(f->folder, "run", 10);
    f->run = f->config.train.run;
    f->m = tiny_model_create();
    assert_ok(optimizer_create(&f->o, &f->config.optimizer, f->m));
    assert_ok(average_create(&f->e, &f->config.average, 0, f->m));
    f->state = (train_state){
        .step = 7, .tokens = 896, .seconds = 1.0 / 3, .position = {.epoch = 2, .window = 5}, .fired = {[1] = true}};
    free(path);
    free(data);
    *state = f;
    return 0;
}

static int destroy(void **state) {
    fixture *f = *state;
    average_destroy(f->e);
    optimizer_destroy(f->o);
    model_destroy(f->m);
    tokenizer_close(f->tok);
    run_config_free(&f->config);
    scratch_remove(f->folder);
    free(f);
    return 0;
}

static void save(fixture *f, int64_t step) {
    f->state.step = step;
    assert_ok(checkpoint_save(f->run, &f->config, f->m, f->e, f->o, f->tok, &f->state, NULL));
}

static checkpoint *newest(const fixture *f) {
    checkpoint *c;
    assert_ok(checkpoint_require(&c, f->run));
    return c;
}

/* Opening and checking it, as a reader does. */
static status verify(const char *path) {
    checkpoint *c;
    status s = checkpoint_require(&c, path);
    if (s == STATUS_OK) s = checkpoint_verify(c);
    checkpoint_close(c);
    return s;
}

static void what_was_saved_is_loaded(void **state) {
    fixture *f = *state;
    double norm;
    tiny_gradients(f->m, 1, 0.1f);
    assert_ok(optimizer_step(f->o, 0, 1, &norm)); /* the average and the live weights differ from here on */
    save(f, 7);
    checkpoint *c = newest(f);
    assert_ok(checkpoint_verify(c));
    assert_int_equal(c->context_tokens, f->config.train.seq);
    train_state loaded;
    assert_ok(checkpoint_load_state(c, &loaded));
    assert_memory_equal(&loaded, &f->state, sizeof loaded);
    static const char *const which[] = {"live", "ema"};
    for (int w = 0; w < 2; w++) {
        model *m;
        assert_ok(checkpoint_load_model(c, f->m->k, which[w], MODEL_TRAIN, &m));
        if (w) assert_ok(average_swap(f->e, f->m));
        assert_int_equal(m->param_count, f->m->param_count);
        for (int i = 0; i < m->param_count; i++) {
            float *a = tiny_values(m, m->params[i]), *b = tiny_values(f->m, f->m->params[i]);
            assert_string_equal(m->params[i]->name, f->m->params[i]->name);
            assert_memory_equal(a, b, tensor_bytes(&m->params[i]->value));
            free(a);
            free(b);
        }
        model_destroy(m);
    }
    model *none;
    assert_fails(checkpoint_load_model(c, f->m->k, "best", MODEL_RUN, &none), "best");
    checkpoint *itself;
    assert_ok(checkpoint_open(&itself, c->path)); /* a checkpoint's own folder is accepted */
    assert_string_equal(itself->path, c->path);
    checkpoint_close(itself);
    checkpoint_close(c);
}

static void the_newest_stay(void **state) {
    fixture *f = *state;
    checkpoint *none;
    assert_ok(checkpoint_open(&none, f->run));
    assert_null(none);
    assert_fails(checkpoint_require(&none, f->run), "expected a checkpoint");
    f->config.train.keep_checkpoints = 2;
    for (int64_t step = 9; step <= 12; step++) save(f, step);
    save(f, 12); /* again: replaced */
    char *folder = path_join(f->run, "checkpoints"), **names;
    size_t count;
    assert_ok(folder_list(folder, &names, &count));
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "step-00000011");
    assert_string_equal(names[1], "step-00000012");
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
    free(folder);
}

/* As text 100000000 comes before 99999999. */
static void steps_are_numbers(void **state) {
    fixture *f = *state;
    f->config.train.keep_checkpoints = 1;
    save(f, 99999999);
    save(f, 100000000);
    checkpoint *c = newest(f);
    assert_int_equal(c->step, 100000000);
    checkpoint_close(c);
    save(f, 100000001);
    c = newest(f);
    assert_int_equal(c->step, 100000001);
    checkpoint_close(c);
}

/* Who reads a checkpoint keeps it, whatever the training that runs beside removes. */
static void what_is_held_stays(void **state) {
    fixture *f = *state;
    f->config.train.keep_checkpoints = 1;
    save(f, 3);
    checkpoint *held = newest(f);
    save(f, 4);
    save(f, 5);
    assert_ok(checkpoint_verify(held));
    checkpoint *c = newest(f);
    assert_int_equal(c->step, 5);
    checkpoint_close(c);
    char *path = xstrdup(held->path);
    checkpoint_close(held);
    save(f, 6);
    assert_false(path_exists(path));
    free(path);
}

static void a_folder_that_is_not_whole_is_not_found(void **state) {
    fixture *f = *state;
    save(f, 3);
    char *partial = xasprintf("%s/checkpoints/partial-step-00000004", f->run);
    char *file = path_join(partial, "model.safetensors");
    assert_ok(folder_create(partial)); /* as a kill in the middle of saving leaves it */
    assert_ok(file_write_whole(file, "half", 4));
    checkpoint *c = newest(f);
    assert_int_equal(c->step, 3);
    checkpoint_close(c);
    save(f, 4);
    assert_false(path_exists(partial)); /* the next save clears it away */
    free(file);
    free(partial);
}

/* Change the byte in the middle of a file, or cut the file there; the checkpoint must be refused by that file's name. */
static void damage(const char *checkpoint, const char *name, bool cut, uint8_t **original, size_t *count) {
    char *path = path_join(checkpoint, name);
    assert_ok(file_read(path, FILE_ANY_SIZE, original, count));
    if (cut) {
        assert_int_equal(truncate(path, (off_t)(*count / 2)), 0);
    } else {
        uint8_t *changed = xmalloc(*count);
        memcpy(changed, *original, *count);
        changed[*count / 2] ^= 1;
        assert_ok(file_write_whole(path, changed, *count));
        free(changed);
    }
    free(path);
}

static void damage_is_named(void **state) {
    fixture *f = *state;
    save(f, 3);
    checkpoint *c = newest(f);
    const char *folder = c->path;
    static const char *const names[] = {"config.json",           "model.safetensors", "ema.safetensors",
                                        "optimizer.safetensors", "tokenizer.model",   "config.yaml",
                                        "checkpoint.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = path_join(folder, names[i]);
        uint8_t *original;
        size_t count;
        for (int cut = 0; cut < 2; cut++) {
            damage(folder, names[i], cut, &original, &count);
            assert_fails(verify(folder), names[i]);
            assert_ok(file_write_whole(path, original, count));
            free(original);
        }
        assert_ok(verify(folder));
        assert_ok(file_read(path, FILE_ANY_SIZE, &original, &count));
        assert_int_equal(unlink(path), 0);
        assert_int_not_equal(verify(folder), STATUS_OK); /* without its manifest it is no checkpoint */
        if (strcmp(names[i], "checkpoint.json") != 0) assert_fails(verify(folder), names[i]);
        assert_ok(file_write_whole(path, original, count));
        free(original);
        free(path);
    }
    model *m;
    uint8_t *original;
    size_t count;
    damage(folder, "model.safetensors", false, &original, &count);
    assert_fails(checkpoint_load_model(c, f->m->k, "live", MODEL_RUN, &m), "model.safetensors");
    assert_null(m);
    free(original);
    checkpoint_close(c);
}

static void a_newer_version_is_refused(void **state) {
    fixture *f = *state;
    save(f, 3);
    checkpoint *c = newest(f);
    cJSON *manifest;
    assert_ok(json_read_file(c->manifest_path, &manifest));
    cJSON_SetNumberValue(cJSON_GetObjectItem(manifest, "format_version"), CHECKPOINT_VERSION + 1);
    assert_ok(json_write_file(c->manifest_path, manifest));
    cJSON_Delete(manifest);
    checkpoint *refused;
    assert_fails(checkpoint_open(&refused, f->run), "version 3");
    assert_null(refused);
    checkpoint_close(c);
}

/* A kill between the renames that put a checkpoint in the place of an older one of its step. */
static void an_exchange_that_was_cut_is_undone(void **state) {
    fixture *f = *state;
    checkpoint *c;
    save(f, 3);
    char *folder = path_join(f->run, "checkpoints"), *name = path_join(folder, "step-00000003");
    char *old = path_join(folder, "partial-step-00000003-old"), *other = path_join(folder, "partial-step-x-old");
    assert_int_equal(rename(name, old), 0);
    assert_ok(folder_create(other));
    assert_ok(checkpoint_recover(folder));
    assert_false(path_exists(old));
    assert_true(path_exists(other));
    assert_ok(checkpoint_open(&c, f->run));
    assert_non_null(c);
    checkpoint_close(c);
    assert_ok(checkpoint_recover(folder)); /* nothing is left to do */
    free(other);
    free(old);
    free(name);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_saved_is_loaded, create, destroy),
        cmocka_unit_test_setup_teardown(the_newest_stay, create, destroy),
        cmocka_unit_test_setup_teardown(steps_are_numbers, create, destroy),
        cmocka_unit_test_setup_teardown(what_is_held_stays, create, destroy),
        cmocka_unit_test_setup_teardown(a_folder_that_is_not_whole_is_not_found, create, destroy),
        cmocka_unit_test_setup_teardown(damage_is_named, create, destroy),
        cmocka_unit_test_setup_teardown(an_exchange_that_was_cut_is_undone, create, destroy),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
