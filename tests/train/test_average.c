/* The mean of the weights: against a hand computation in double, from each start, through events, files and a resume. */
#include "tiny.h"

#include "store/tensor_file.h"
#include "train/average.h"
#include "train/schedule.h"
#include <math.h>

enum { STEPS = 20 };

static average_config averaging(average_kind kind) {
    return (average_config){.kind = kind, .ema_decay = 0.2, .swa_every = 3};
}

/* In a training whose second half is the warm-down. */
static average *create(const average_config *c, const model *m) {
    const optimizer_config o = {.warmdown_frac = 0.5};
    average *a;
    assert_ok(average_create(&a, c, schedule_average_start(c, &o), m));
    return a;
}

static const char *const watched = "blocks.0.attn_scale";

/* Other weights after every step. */
static void new_weights(model *m, int64_t step) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        float *host = xmalloc(tensor_bytes(&p->value));
        rng r = rng_named((uint64_t)step + 100, p->name);
        rng_normal(&r, host, (size_t)param_count(p), 1);
        tensor_write(m->k, &p->value, host);
        free(host);
    }
}

/* `steps` steps from `from` on; mean (double, of `watched`) follows the definition of `kind`. */
typedef struct by_hand {
    double mean[32];
    int taken;
} by_hand;

static void take(by_hand *h, const model *m, double keep) {
    float *live = tiny_values(m, model_find(m, watched));
    for (int i = 0; i < 32; i++) h->mean[i] = h->taken ? keep * h->mean[i] + (1 - keep) * live[i] : live[i];
    h->taken++;
    free(live);
}

static void assert_average(average *a, model *m, const by_hand *h) {
    float *live = tiny_values(m, model_find(m, watched));
    assert_ok(average_swap(a, m));
    float *mean = tiny_values(m, model_find(m, watched));
    for (int i = 0; i < 32; i++) assert_float_equal(mean[i], h->mean[i], 1e-6);
    assert_ok(average_swap(a, m));
    float *back = tiny_values(m, model_find(m, watched));
    assert_memory_equal(back, live, 32 * sizeof *live);
    free(back);
    free(mean);
    free(live);
}

static void ema_from_the_start_is_ramped(void **state) {
    (void)state;
    model *m = tiny_model_create();
    average_config c = averaging(AVERAGE_EMA);
    average *a = create(&c, m);
    assert_true(average_begun(a));
    by_hand h = {0};
    take(&h, m, 0);                                      /* the initial weights */
    static const double decay[3] = {0.1, 2.0 / 11, 0.2}; /* (s+1)/(s+10), at most 0.2 */
    for (int step = 0; step < 3; step++) {
        new_weights(m, step);
        assert_ok(average_update(a, step, (double)step / STEPS));
        take(&h, m, decay[step]);
    }
    assert_average(a, m, &h);
    average_destroy(a);
    model_destroy(m);
}

/* Half of 20 steps: step 10 is the first one of the warm-down. */
static void ema_in_the_warmdown_begins_as_a_copy(void **state) {
    (void)state;
    model *m = tiny_model_create();
    average_config c = averaging(AVERAGE_EMA);
    c.ema_start = START_AT_WARMDOWN;
    average *a = create(&c, m);
    by_hand h = {0};
    for (int step = 0; step < STEPS; step++) {
        new_weights(m, step);
        assert_ok(average_update(a, step, (double)step / STEPS));
        assert_int_equal(average_begun(a), step >= 10);
        if (step >= 10) take(&h, m, 0.2);
    }
    assert_int_equal(h.taken, 10);
    assert_average(a, m, &h);
    average_destroy(a);
    model_destroy(m);
}

/* After steps 12, 15 and 18 (counted from 1), which are those of the warm-down that 3 divides. */
static void swa_is_the_mean_of_its_checkpoints(void **state) {
    (void)state;
    model *m = tiny_model_create();
    average_config c = averaging(AVERAGE_SWA);
    c.swa_start = START_AT_WARMDOWN;
    average *a = create(&c, m);
    double sum[32] = {0};
    for (int step = 0; step < STEPS; step++) {
        new_weights(m, step);
        assert_ok(average_update(a, step, (double)step / STEPS));
        assert_int_equal(average_begun(a), step + 1 >= 12);
        if (step + 1 != 12 && step + 1 != 15 && step + 1 != 18) continue;
        float *live = tiny_values(m, model_find(m, watched));
        for (int i = 0; i < 32; i++) sum[i] += live[i];
        free(live);
    }
    by_hand h = {.taken = 3};
    for (int i = 0; i < 32; i++) h.mean[i] = sum[i] / 3;
    assert_average(a, m, &h);
    average_destroy(a);
    model_destroy(m);
}

static void none_is_kept(void **state) {
    (void)state;
    model *m = tiny_model_create();
    average_config c = averaging(AVERAGE_NONE), zero = averaging(AVERAGE_EMA);
    zero.ema_decay = 0; /* as configurations say it that were written before `average` */
    assert_null(create(&c, m));
    assert_null(create(&zero, m));
    assert_false(average_begun(NULL));
    model_destroy(m);
}

/* ---- events ---- */

static status upcycle(model *m, average *a) {
    bool layers[MODEL_MAX_LAYERS] = {[1] = true};
    return model_upcycle(m, layers, 2, 1, 5, average_replaced, a);
}

static float *saved(average *a, const char *folder, const char *name, int64_t count) {
    char *path = path_join(folder, "average.safetensors");
    safetensors file;
    assert_ok(average_save(a, path, NULL));
    assert_ok(safetensors_open(&file, path));
    const safetensor *t = safetensors_find(&file, name);
    if (!t) fail_msg("no %s", name);
    assert_int_equal(t->bytes, (size_t)count * 4);
    float *copy = xmalloc(t->bytes);
    memcpy(copy, t->data, t->bytes);
    safetensors_close(&file);
    free(path);
    return copy;
}

/* An expert goes on with the mean and the count of the MLP that it is a copy of; the router counts from its first checkpoint. */
static void swa_follows_an_upcycle(void **state) {
    model *m = tiny_model_create();
    average_config c = averaging(AVERAGE_SWA);
    c.swa_every = 1;
    average *a = create(&c, m);
    for (int step = 0; step < 2; step++) {
        new_weights(m, step);
        assert_ok(average_update(a, step, 0.5));
    }
    float *before = saved(a, *state, "blocks.1.mlp.fc.weight", 64 * 32);
    assert_ok(upcycle(m, a));
    float *after = saved(a, *state, "blocks.1.mlp.experts_fc.1.weight", 64 * 32);
    assert_memory_equal(before, after, 64 * 32 * sizeof(float));
    new_weights(m, 2);
    assert_ok(average_update(a, 2, 0.5));
    int32_t *expert = (int32_t *)saved(a, *state, "average_steps.blocks.1.mlp.experts_fc.0.weight", 1);
    int32_t *router = (int32_t *)saved(a, *state, "average_steps.blocks.1.mlp.router.weight", 1);
    assert_int_equal(*expert, 3);
    assert_int_equal(*router, 1);
    float *mean = saved(a, *state, "blocks.1.mlp.router.weight", 64);
    float *value = tiny_values(m, model_find(m, "blocks.1.mlp.router.weight"));
    assert_memory_equal(mean, value, 64 * sizeof(float));
    float *expert_mean = saved(a, *state, "blocks.1.mlp.experts_fc.0.weight", 64 * 32);
    float *expert_value = tiny_values(m, model_find(m, "blocks.1.mlp.experts_fc.0.weight"));
    for (int i = 0; i < 64 * 32; i++) assert_float_equal(expert_mean[i], (2.0 * before[i] + expert_value[i]) / 3, 1e-6);
    free(expert_mean);
    free(expert_value);
    free(mean);
    free(value);
    free(expert);
    free(router);
    free(before);
    free(after);
    average_destroy(a);
    model_destroy(m);
}

/* An upcycle before the start needs nothing to follow. */
static void an_upcycle_before_the_start(void **state) {
    (void)state;
    model *m = tiny_model_create();
    average_config c = averaging(AVERAGE_EMA);
    c.ema_start = 0.9;
    average *a = create(&c, m);
    assert_ok(average_update(a, 0, 0));
    assert_ok(upcycle(m, a));
    assert_false(average_begun(a));
    new_weights(m, 1);
    assert_ok(average_update(a, 1, 0.9));
    by_hand h = {0};
    take(&h, m, 0);
    assert_average(a, m, &h);
    average_destroy(a);
    model_destroy(m);
}

static void a_file_of_the_other_kind_is_refused(void **state) {
    model *m = tiny_model_create();
    average_config swa = averaging(AVERAGE_SWA), ema = averaging(AVERAGE_EMA);
    average *a = create(&swa, m), *b = create(&ema, m);
    char *counted = path_join(*state, "swa"), *plain = path_join(*state, "ema");
    assert_ok(average_save(a, counted, NULL));
    assert_ok(average_save(b, plain, NULL));
    assert_fails(average_load(b, counted), "expected swa, as it was saved, found ema");
    assert_fails(average_load(a, plain), "expected ema, as it was saved, found swa");
    assert_ok(weights_load(m, counted)); /* the counts are no weights, and no obstacle */
    free(counted);
    free(plain);
    average_destroy(a);
    average_destroy(b);
    model_destroy(m);
}

/* ---- whole runs ---- */

static run_config run_of(const char *folder, const char *name, average_kind kind, double start) {
    run_config c = tiny_run(folder, name, 12);
    c.average = (average_config){
        .kind = kind, .ema_decay = c.average.ema_decay, .ema_start = start, .swa_start = start, .swa_every = 2};
    c.train.checkpoint_every = 1;
    return c;
}

static char *step_path(const run_config *c, int step, const char *file) {
    return xasprintf("%s/checkpoints/step-%08d/%s", c->train.run, step, file);
}

static void train(const run_config *c, bool resume) {
    train_result result;
    assert_ok(train_run(c, resume ? TRAIN_RESUME : TRAIN_NEW, &result));
}

/* Resumed after step `at` (the later checkpoints are taken away), the run ends in the same bits. */
static void check_resume(const char *folder, average_kind kind, double start, int at, int first) {
    run_config c = run_of(folder, "run", kind, start);
    train(&c, false);
    for (int step = 1; step <= 12; step++) {
        char *path = step_path(&c, step, "ema.safetensors");
        assert_int_equal(path_exists(path), step >= first); /* no average, no file */
        free(path);
    }
    char *path = step_path(&c, 12, "ema.safetensors");
    uint8_t *whole, *resumed;
    size_t count, again;
    assert_ok(file_read(path, FILE_ANY_SIZE, &whole, &count));
    for (int step = at + 1; step <= 12; step++) {
        char *later = step_path(&c, step, "");
        assert_ok(folder_remove(later));
        free(later);
    }
    train(&c, true);
    assert_ok(file_read(path, FILE_ANY_SIZE, &resumed, &again));
    assert_int_equal(count, again);
    assert_memory_equal(whole, resumed, count);
    free(whole);
    free(resumed);
    free(path);
    assert_ok(folder_remove(c.train.run));
    run_config_free(&c);
}

static void a_resume_changes_nothing(void **state) {
    char *data = path_join(*state, "data");
    tiny_data(data);
    check_resume(*state, AVERAGE_EMA, 0, 5, 1);
    check_resume(*state, AVERAGE_EMA, 0.5, 3, 7); /* before the start */
    check_resume(*state, AVERAGE_EMA, 0.5, 9, 7);
    check_resume(*state, AVERAGE_SWA, 0.5, 3, 8);
    check_resume(*state, AVERAGE_SWA, 0.25, 7, 4); /* the upcycle at 30 % falls between two of its checkpoints */
    check_resume(*state, AVERAGE_SWA, START_AT_WARMDOWN, 9, 6);
    free(data);
}

/* ---- keys ---- */

static status load(run_config *c, const char *yaml) {
    *c = run_config_default();
    TRY(run_config_parse(c, "x.yaml", yaml, strlen(yaml)));
    return run_config_check(c);
}

static void assert_refused(const char *yaml, const char *part) {
    run_config c;
    assert_fails(load(&c, yaml), part);
    run_config_free(&c);
}

static void keys(void **state) {
    run_config c;
    assert_ok(load(&c, "average: swa\nswa_start: 0.8\nswa_every: 7\nema_start: warmdown\nprune_fraction: 0.03\n"));
    assert_int_equal(c.average.kind, AVERAGE_SWA);
    assert_true(c.average.swa_start == 0.8 && c.average.ema_start == START_AT_WARMDOWN && c.average.swa_every == 7);
    assert_true(c.pack.prune_fraction == 0.03);
    char *path = path_join(*state, "written.yaml");
    assert_ok(run_config_write(&c, path));
    run_config back = run_config_default();
    assert_ok(run_config_load(&back, path, NULL, 0));
    assert_int_equal(back.average.kind, AVERAGE_SWA);
    assert_true(back.average.ema_start == START_AT_WARMDOWN && back.average.swa_start == 0.8);
    run_config_free(&back);
    run_config_free(&c);
    free(path);
    assert_ok(load(&c, "warmdown_frac: 0.25\nema_start: warmdown\n"));
    assert_true(schedule_average_start(&c.average, &c.optimizer) == 0.75);
    run_config_free(&c);
    assert_refused("ema_start: later\n", "ema_start: expected a number from 0 to 1 or one of warmdown");
    assert_refused("ema_start: -1\n", "ema_start: expected a number from 0 to 1");
    assert_refused("swa_start: 1.5\n", "swa_start: expected a number from 0 to 1");
    assert_refused("average: mean\n", "average: expected one of none, ema, swa");
    assert_refused("prune_fraction: 1\n", "prune_fraction: expected a number from 0 to 0.99");
    assert_refused("average: swa\nwarmdown_frac: 0\n", "swa_start: expected a start before the end");
    assert_refused("ema_start: 1\n", "ema_start: expected a start before the end");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ema_from_the_start_is_ramped),
        cmocka_unit_test(ema_in_the_warmdown_begins_as_a_copy),
        cmocka_unit_test(swa_is_the_mean_of_its_checkpoints),
        cmocka_unit_test(none_is_kept),
        in_scratch(swa_follows_an_upcycle),
        cmocka_unit_test(an_upcycle_before_the_start),
        in_scratch(a_file_of_the_other_kind_is_refused),
        in_scratch(a_resume_changes_nothing),
        in_scratch(keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
