/* The best look and the end that looks bring: how they are counted, the checkpoint that is kept, and resuming. */
#include "tiny.h"

#include "base/json.h"
#include "train/looks.h"
#include <math.h>
#include <unistd.h>

static void the_best_look(void **state) {
    (void)state;
    static const double bits[] = {3, 2.5, 2.6, 2.5, 2.4, 2.45};
    static const int64_t best[] = {10, 20, 20, 20, 50, 50};
    const train_config c = {.early_stop = 0};
    looks l = {0};
    for (int i = 0; i < 6; i++) {
        looks_add(&l, &c, 10 * (i + 1), bits[i]);
        assert_int_equal(l.best_step, best[i]);
        assert_false(looks_say_stop(&l, &c));
    }
    looks_add(&l, &c, 60, 1); /* the same look once more */
    assert_int_equal(l.best_step, 50);
    assert_true(l.best_bits == 2.4);
}

static void the_end(void **state) {
    (void)state;
    const train_config c = {.early_stop = 3}, patient = {.early_stop = 3, .early_stop_delta = 0.25};
    looks l = {0};
    looks_add(&l, &c, 1, 2);
    for (int step = 2; step <= 3; step++) looks_add(&l, &c, step, 2);
    assert_false(looks_say_stop(&l, &c));
    looks_add(&l, &c, 4, 2.1);
    assert_true(looks_say_stop(&l, &c));
    assert_false(looks_say_stop(&l, &(train_config){.early_stop = 4}));
    looks_add(&l, &c, 5, 1.999);
    assert_false(looks_say_stop(&l, &c));
    assert_int_equal(l.stale, 0);
    /* gains that are small one by one add up; those that do not are none */
    l = (looks){0};
    static const double slow[] = {2, 1.875, 1.75, 1.625, 1.5, 1.4375, 1.375, 1.3125};
    for (int i = 0; i < 8; i++) {
        looks_add(&l, &patient, i + 1, slow[i]);
        assert_int_equal(looks_say_stop(&l, &patient), i == 7);
    }
    assert_int_equal(l.best_step, 8);
}

static void json(void **state) {
    (void)state;
    const looks l = {.step = 40, .best_step = 30, .best_bits = 1.25, .least = 1.5, .stale = 2};
    looks back = {0};
    cJSON *object = looks_to_json(&l);
    assert_ok(looks_from_json(&back, object, "x.json"));
    assert_memory_equal(&back, &l, sizeof l);
    cJSON_SetNumberValue(cJSON_GetObjectItem(object, "stale"), -1);
    assert_fails(looks_from_json(&back, object, "x.json"), "x.json: looks: expected steps and counts");
    cJSON_DeleteItemFromObject(object, "stale");
    assert_fails(looks_from_json(&back, object, "x.json"), "stale");
    cJSON_Delete(object);
}

/* ---- in a training ---- */

static int create(void **state) {
    char *folder = scratch_create(), *data = path_join(folder, "data");
    tiny_data(data);
    free(data);
    *state = folder;
    return 0;
}

static run_config looking_run(const char *folder, int64_t steps) {
    run_config c = tiny_run(folder, "run", steps);
    c.events.count = 0;
    c.train.val_every = 1;
    c.train.keep_checkpoints = 1;
    c.train.keep_best = true;
    return c;
}

static char *best_path(const run_config *c) {
    return xasprintf("%s/checkpoints/best", c->train.run);
}

/* The step of checkpoints/best; −1: there is none. */
static int64_t best_step(const run_config *c) {
    char *path = best_path(c);
    checkpoint *saved = NULL;
    int64_t step = -1;
    if (checkpoint_require(&saved, path) == STATUS_OK) {
        assert_ok(checkpoint_verify(saved));
        assert_null(strstr(saved->path, "best")); /* messages say which step it is */
        step = saved->step;
    }
    checkpoint_close(saved);
    free(path);
    return step;
}

static int count_checkpoints(const run_config *c) {
    char *folder = path_join(c->train.run, "checkpoints"), **names;
    size_t count;
    assert_ok(folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
    free(folder);
    return (int)count;
}

static train_state newest_state(const run_config *c) {
    checkpoint *saved;
    train_state state;
    assert_ok(checkpoint_require(&saved, c->train.run));
    assert_ok(checkpoint_load_state(saved, &state));
    checkpoint_close(saved);
    return state;
}

static void the_best_checkpoint_stays(void **state) {
    run_config c = looking_run(*state, 6);
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    const int64_t best = best_step(&c);
    const double bits = result.state.looks.best_bits;
    assert_int_equal(best, result.state.looks.best_step);
    assert_true(best > 3 && bits < 8);
    c.optimizer.matrix_lr = c.optimizer.embed_lr = c.optimizer.scalar_lr = 10; /* everything is forgotten */
    for (int steps = 8; steps <= 12; steps += 2) {
        c.train.steps = steps;
        assert_ok(train_run(&c, TRAIN_RESUME_CHANGED, &result));
        assert_int_equal(best_step(&c), best);
        assert_int_equal(count_checkpoints(&c), 3); /* best, what it leads to, the newest */
        assert_true(result.state.looks.best_bits == bits);
    }
    /* a kill before the name was set, and a name that is lost */
    char *path = best_path(&c);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("step-00000012", path), 0);
    c.train.steps = 13;
    assert_ok(train_run(&c, TRAIN_RESUME, &result));
    assert_int_equal(best_step(&c), best);
    /* the best one is gone: the best of those to come */
    char *folder = xasprintf("%s/checkpoints/step-%08d", c.train.run, (int)best);
    assert_ok(folder_remove(folder));
    c.train.steps = 14;
    assert_ok(train_run(&c, TRAIN_RESUME, &result));
    assert_int_equal(best_step(&c), 14);
    assert_int_equal(count_checkpoints(&c), 2);
    c.train.keep_best = false;
    assert_ok(train_run(&c, TRAIN_OVERWRITE, &result));
    assert_int_equal(best_step(&c), -1);
    assert_int_equal(count_checkpoints(&c), 1);
    free(folder);
    free(path);
    run_config_free(&c);
}

static void a_name_that_moec_did_not_make_stays(void **state) {
    run_config c = looking_run(*state, 2);
    train_result result;
    c.train.keep_best = false;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    char *path = best_path(&c);
    assert_int_equal(symlink("../../elsewhere", path), 0);
    assert_ok(train_run(&c, TRAIN_OVERWRITE, &result));
    char target[64] = "";
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_string_equal(target, "../../elsewhere");
    free(path);
    run_config_free(&c);
}

static void no_gain_ends_the_training(void **state) {
    run_config c = looking_run(*state, 20);
    train_result result;
    c.train.keep_best = false;
    c.train.val_every = 2;
    c.train.early_stop = 3;
    c.train.early_stop_delta = 90; /* never */
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    assert_int_equal(result.state.step, 8); /* the first look is no gain missed */
    assert_int_equal(newest_state(&c).looks.stale, 3);
    assert_ok(train_run(&c, TRAIN_RESUME, &result));
    assert_true(result.idle);
    c.train.early_stop = 4;
    assert_ok(train_run(&c, TRAIN_RESUME, &result));
    assert_int_equal(result.state.step, 10);
    c.train.early_stop = 0;
    assert_ok(train_run(&c, TRAIN_RESUME, &result));
    assert_int_equal(result.state.step, 20);
    run_config_free(&c);
}

static void looks_are_needed(void **state) {
    (void)state;
    run_config c = run_config_default();
    c.train.val_every = 0;
    c.train.keep_best = true;
    assert_fails(run_config_check(&c), "val_every: expected at least 1, for the looks of keep_best");
    c.train.keep_best = false;
    c.train.early_stop = 1;
    assert_fails(run_config_check(&c), "val_every: expected at least 1, for the looks of early_stop");
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_look),
        cmocka_unit_test(the_end),
        cmocka_unit_test(json),
        cmocka_unit_test_setup_teardown(the_best_checkpoint_stays, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_name_that_moec_did_not_make_stays, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(no_gain_ends_the_training, create, scratch_teardown),
        cmocka_unit_test(looks_are_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
