#include "tiny.h"

#include "base/json.h"
#include "base/lock.h"
#include "store/artifact.h"
#include "store/open.h"
#include <math.h>
#include <unistd.h>

static int create(void **state) {
    char *folder = scratch_create(), *data = path_join(folder, "data");
    tiny_data(data);
    free(data);
    *state = folder;
    return 0;
}

/* ---- the log ---- */

/* The records of a run's log, each a whole JSON object. */
static cJSON *read_log(const char *run) {
    char *path = path_join(run, "log.jsonl");
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    cJSON *records = cJSON_CreateArray();
    char *rest = (char *)bytes, *line;
    while ((line = strsep(&rest, "\n")) && *line) {
        cJSON *record = cJSON_Parse(line);
        if (!record) fail_msg("%s: not JSON: %s", path, line);
        cJSON_AddItemToArray(records, record);
    }
    free(bytes);
    free(path);
    return records;
}

static double number(const cJSON *record, const char *key) {
    const cJSON *item = cJSON_GetObjectItem(record, key);
    if (!cJSON_IsNumber(item)) fail_msg("no number %s in a record of the log", key);
    return item->valuedouble;
}

/* Losses by step; every step from 1 to `steps` is there exactly once and in order. */
static double *logged_losses(const char *run, int steps) {
    cJSON *records = read_log(run);
    double *losses = xcalloc((size_t)steps, sizeof *losses);
    int next = 1;
    const cJSON *record;
    cJSON_ArrayForEach(record, records) {
        if (strcmp(cJSON_GetObjectItem(record, "record")->valuestring, "step") != 0) continue;
        assert_int_equal((int)number(record, "step"), next);
        losses[next++ - 1] = number(record, "loss");
    }
    assert_int_equal(next, steps + 1);
    cJSON_Delete(records);
    return losses;
}

static void the_loss_falls_and_the_log_tells_it(void **state) {
    run_config c = tiny_run(*state, "run", 40);
    c.train.val_every = 20;
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    assert_int_equal(result.state.step, 40);
    assert_int_equal(result.state.tokens, 40 * 2 * 2 * 32);
    assert_true(result.tokens_per_second > 0);
    double *losses = logged_losses(c.train.run, 40);
    assert_float_equal(losses[0], log(TINY_VOCAB), 0.3);
    assert_true(losses[39] < losses[0] - 1.5);
    assert_float_equal(losses[39], result.loss, 1e-8);
    free(losses);
    cJSON *records = read_log(c.train.run);
    const cJSON *header = cJSON_GetArrayItem(records, 0);
    assert_string_equal(cJSON_GetObjectItem(header, "record")->valuestring, "header");
    assert_true(number(header, "params") > 0 && number(header, "threads") > 0);
    assert_string_equal(cJSON_GetObjectItem(header, "dtype")->valuestring, "f32");
    const cJSON *last = cJSON_GetArrayItem(records, 40);
    assert_true(number(last, "val_bpb") > 0 && number(last, "val_bpb_ema") > 0);
    assert_true(number(last, "grad_norm") > 0 && number(last, "seconds") > 0);
    assert_float_equal(number(last, "tokens"), 40 * 128, 0);
    cJSON_Delete(records);
    run_config_free(&c);
}

static void events_fire_once_and_show_in_the_log(void **state) {
    run_config c = tiny_run(*state, "run", 20);
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    cJSON *records = read_log(c.train.run);
    static const struct {
        int step;
        const char *kind;
    } expected[] = {{7, "upcycle"}, {8, "loop"}}; /* 30 % and 35 % of 20 steps are done before steps 7 and 8 */
    int fired = 0;
    const cJSON *record;
    cJSON_ArrayForEach(record, records) {
        const cJSON *events = cJSON_GetObjectItem(record, "events");
        for (int i = 0; i < cJSON_GetArraySize(events); i++, fired++) {
            const char *kind = cJSON_GetObjectItem(cJSON_GetArrayItem(events, i), "do")->valuestring;
            if (fired < 2) {
                assert_string_equal(kind, expected[fired].kind);
                assert_int_equal((int)number(record, "step"), expected[fired].step);
            } else {
                assert_string_equal(kind, "qat");
            }
        }
    }
    assert_int_equal(fired, 3);
    const cJSON *experts = cJSON_GetObjectItem(cJSON_GetArrayItem(records, 20), "experts");
    assert_int_equal(cJSON_GetArraySize(experts), 4); /* layers 1 and 2, each run twice */
    const cJSON *share = cJSON_GetObjectItem(cJSON_GetArrayItem(experts, 0), "share");
    assert_int_equal(cJSON_GetArraySize(share), 2);
    assert_float_equal(cJSON_GetArrayItem(share, 0)->valuedouble + cJSON_GetArrayItem(share, 1)->valuedouble, 1, 2e-4);
    assert_null(cJSON_GetObjectItem(cJSON_GetArrayItem(records, 6), "experts"));
    cJSON_Delete(records);
    checkpoint *saved;
    model *m;
    assert_ok(checkpoint_require(&saved, c.train.run)); /* the checkpoint's config.json is the model as it became */
    assert_ok(checkpoint_load_model(saved, kernels_for(DTYPE_F32), "ema", MODEL_RUN, &m));
    assert_true(m->config.loop.on && m->config.moe.layers[1] && m->config.moe.layers[2]);
    assert_int_equal(m->config.moe.experts, 2);
    model_destroy(m);
    checkpoint_close(saved);
    run_config_free(&c);
}

/* ---- resuming ---- */

static char *file_of_step(const run_config *c, int step, const char *name) {
    return xasprintf("%s/checkpoints/step-%08d/%s", c->train.run, step, name);
}

/* Take the run back to the moment after the checkpoint of `step`, with a line of the log half written. */
static void rewind_to(const run_config *c, int step, int steps) {
    for (int later = step + 1; later <= steps; later++) {
        char *folder = file_of_step(c, later, "");
        assert_ok(folder_remove(folder));
        free(folder);
    }
    char *log = path_join(c->train.run, "log.jsonl");
    FILE *stream = fopen(log, "ae");
    fputs("{\"record\":\"step\",\"st", stream);
    fclose(stream);
    free(log);
}

static void read_final(const run_config *c, int steps, const char *name, uint8_t **bytes, size_t *count) {
    char *path = file_of_step(c, steps, name);
    assert_ok(file_read(path, FILE_ANY_SIZE, bytes, count));
    free(path);
}

static void resuming_is_exact(void **state) {
    enum { STEPS = 16 };
    static const char *const files[] = {"model.safetensors", "ema.safetensors", "optimizer.safetensors"};
    run_config c = tiny_run(*state, "run", STEPS);
    c.train.checkpoint_every = 1;
    c.train.val_every = 6; /* looking at held-out text must change nothing */
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    double *losses = logged_losses(c.train.run, STEPS);
    uint8_t *expected[3];
    size_t expected_count[3];
    for (int i = 0; i < 3; i++) read_final(&c, STEPS, files[i], &expected[i], &expected_count[i]);
    /* before any event; between upcycling and looping; after both, with QAT still to come; after everything */
    static const int moments[] = {14, 8, 5, 2};
    for (int i = 0; i < 4; i++) {
        rewind_to(&c, moments[i], STEPS);
        assert_ok(train_run(&c, TRAIN_RESUME, &result));
        assert_int_equal(result.state.step, STEPS);
        double *again = logged_losses(c.train.run, STEPS);
        assert_memory_equal(again, losses, STEPS * sizeof *losses);
        free(again);
        for (int f = 0; f < 3; f++) {
            uint8_t *bytes;
            size_t count;
            read_final(&c, STEPS, files[f], &bytes, &count);
            assert_int_equal(count, expected_count[f]);
            if (memcmp(bytes, expected[f], count) != 0) fail_msg("%s differs after step %d", files[f], moments[i]);
            free(bytes);
        }
    }
    assert_ok(train_run(&c, TRAIN_RESUME, &result)); /* nothing is left to do */
    assert_true(isnan(result.loss));
    for (int f = 0; f < 3; f++) free(expected[f]);
    free(losses);
    run_config_free(&c);
}

static void seconds_are_carried_on(void **state) {
    run_config c = tiny_run(*state, "run", 3);
    c.events.count = 0;
    train_result first, second;
    assert_ok(train_run(&c, TRAIN_NEW, &first));
    assert_true(first.state.seconds > 0);
    c.train.steps = 0;
    c.train.max_seconds = first.state.seconds / 2; /* were spent before the resume */
    assert_ok(train_run(&c, TRAIN_RESUME_CHANGED, &second));
    assert_int_equal(second.state.step, 3);
    assert_float_equal(second.state.seconds, first.state.seconds, 1e-12);
    c.train.max_seconds = first.state.seconds * (1 + 1e-9); /* one more step is enough */
    assert_ok(train_run(&c, TRAIN_RESUME_CHANGED, &second));
    assert_int_equal(second.state.step, 4);
    assert_true(second.state.seconds > first.state.seconds);
    run_config_free(&c);
}

/* Ctrl-C during a look: the log has the step's record without it. */
static void a_look_that_was_cut_short_is_made_again(void **state) {
    run_config c = tiny_run(*state, "run", 10);
    c.train.val_every = 5;
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    cJSON *whole = read_log(c.train.run);
    char *path = path_join(c.train.run, "log.jsonl");
    static const char *const cuts[] = {",\"val_bpb\"", ",\"val_bpb_ema\""};
    for (int i = 0; i < 2; i++) {
        uint8_t *bytes;
        size_t count;
        assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
        char *line = strstr((char *)bytes, "\"step\":10,"), *cut = strstr(line, cuts[i]);
        assert_non_null(cut);
        strcpy(cut, "}\n");
        assert_ok(file_write_whole(path, bytes, strlen((char *)bytes)));
        free(bytes);
        assert_ok(train_run(&c, TRAIN_RESUME, &result));
        cJSON *again = read_log(c.train.run);
        assert_true(cJSON_Compare(cJSON_GetArrayItem(whole, 10), cJSON_GetArrayItem(again, 10), true));
        cJSON_Delete(again);
    }
    cJSON_Delete(whole);
    free(path);
    run_config_free(&c);
}

/* ---- what is in the run's folder already ---- */

static status read_step(const run_config *c, int64_t *step) {
    checkpoint *saved;
    TRY(checkpoint_require(&saved, c->train.run));
    status s = checkpoint_verify(saved);
    *step = saved->step;
    checkpoint_close(saved);
    return s;
}

/* The run of two steps is whole, and its log too. */
static void assert_untouched(const run_config *c) {
    int64_t step;
    assert_ok(read_step(c, &step));
    assert_int_equal(step, 2);
    free(logged_losses(c->train.run, 2));
}

static void one_training_at_a_time(void **state) {
    run_config c = tiny_run(*state, "run", 2);
    train_result result;
    char *path = path_join(c.train.run, "lock");
    lock held;
    assert_ok(folder_create(c.train.run));
    assert_ok(lock_take(&held, path, "moec train"));
    assert_fails(train_run(&c, TRAIN_NEW, &result), "run/lock: held by moec train, process ");
    lock_release(&held);
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    assert_false(path_exists(path));
    assert_ok(lock_take(&held, path, "moec train"));
    assert_fails(train_run(&c, TRAIN_RESUME, &result), "run/lock: held by");
    assert_fails(train_run(&c, TRAIN_OVERWRITE, &result), "run/lock: held by");
    lock_release(&held);
    assert_untouched(&c);
    free(path);
    run_config_free(&c);
}

static void an_older_run_goes_when_all_else_is_right(void **state) {
    run_config c = tiny_run(*state, "run", 2);
    train_result result;
    int64_t step;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    run_config bad = c;
    bad.model.vocab_size = 319;
    assert_fails(train_run(&bad, TRAIN_OVERWRITE, &result), "vocab_size");
    bad = c;
    bad.model.attention.heads = 3;
    assert_fails(train_run(&bad, TRAIN_OVERWRITE, &result), "num_heads");
    bad = c;
    bad.data.path = *state;
    assert_fails(train_run(&bad, TRAIN_OVERWRITE, &result), "tokenizer.model");
    bad = c;
    bad.train.dtype = (char *)"f64";
    assert_fails(train_run(&bad, TRAIN_OVERWRITE, &result), "dtype");
    assert_untouched(&c);
    c.train.steps = 1;
    assert_ok(train_run(&c, TRAIN_OVERWRITE, &result));
    assert_ok(read_step(&c, &step));
    assert_int_equal(step, 1);
    free(logged_losses(c.train.run, 1));
    run_config_free(&c);
}

static void only_what_moec_made_goes(void **state) {
    run_config c = tiny_run(*state, "run", 2);
    char *checkpoints = path_join(c.train.run, "checkpoints"), *notes = path_join(checkpoints, "notes.txt");
    char *mine = path_join(checkpoints, "step-00000009"), *file = path_join(mine, "weights.bin");
    char *log = path_join(c.train.run, "log.jsonl");
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    assert_ok(file_write_whole(notes, "mine", 4));
    assert_ok(folder_create(mine));
    assert_ok(file_write_whole(file, "mine", 4));
    assert_fails(train_run(&c, TRAIN_OVERWRITE, &result),
                 "step-00000009: expected a checkpoint with a checkpoint.json");
    assert_true(path_exists(file));
    char *elsewhere = path_join(c.train.run, "mine");
    assert_int_equal(rename(mine, elsewhere), 0);
    assert_untouched(&c);
    assert_ok(train_run(&c, TRAIN_OVERWRITE, &result));
    assert_true(path_exists(notes));
    assert_untouched(&c);

    assert_ok(file_write_whole(log, "dear diary\n", 11));
    assert_fails(train_run(&c, TRAIN_OVERWRITE, &result), "log.jsonl: expected nothing or the log of an older run");
    int64_t step;
    assert_ok(read_step(&c, &step)); /* the checkpoints are still there */
    free(elsewhere), free(log), free(file), free(mine), free(notes), free(checkpoints);
    run_config_free(&c);
}

/* ---- bad input ---- */

static void a_run_is_not_overwritten(void **state) {
    run_config c = tiny_run(*state, "run", 2);
    train_result result;
    assert_fails(train_run(&c, TRAIN_RESUME, &result), c.train.run); /* nothing there to resume */
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    assert_fails(train_run(&c, TRAIN_NEW, &result), "--resume");
    c.model.mlp.mult = 3;
    assert_fails(train_run(&c, TRAIN_RESUME, &result), "mlp_mult 2 -> 3");
    assert_fails(train_run(&c, TRAIN_RESUME_CHANGED, &result), "blocks.0.mlp.fc.weight");
    c.model.mlp.mult = 2;
    c.train.steps = 4;
    const int experts = c.events.items[0].experts;
    c.events.items[0].experts = experts + 1; /* upcycling fired before step 2 */
    assert_fails(train_run(&c, TRAIN_RESUME_CHANGED, &result),
                 "has fired upcycle as event 1, but the configuration has another");
    c.events.items[0].experts = experts;
    c.events.items[0].kind = EVENT_LOOP;
    assert_fails(train_run(&c, TRAIN_RESUME, &result), "upcycle");
    run_config_free(&c);
}

static void the_tokenizer_must_fit(void **state) {
    run_config c = tiny_run(*state, "run", 2);
    train_result result;
    c.model.vocab_size = 319;
    assert_fails(train_run(&c, TRAIN_NEW, &result), "vocab_size: expected at least 320");
    assert_non_null(strstr(error_message(), "found 319"));
    c.model.vocab_size = 0; /* not given: the tokenizer's */
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    set_string(&c.train.run, "/proc/nowhere/run");
    assert_fails(train_run(&c, TRAIN_NEW, &result), "/proc/nowhere");
    set_string(&c.data.path, *state);
    assert_fails(train_run(&c, TRAIN_NEW, &result), "tokenizer.model");
    run_config_free(&c);
}

/* Pretrained models pad their vocabularies: such a model trains, is looked at, packed and opened again. */
static void the_vocabulary_may_be_padded(void **state) {
    run_config c = tiny_run(*state, "run", 3);
    c.model.vocab_size = 512;
    c.train.val_every = 1;
    train_result result;
    assert_ok(train_run(&c, false, &result));
    char *artifact = path_join(*state, "padded.moec");
    model *m;
    tokenizer *tok;
    assert_ok(open_model(c.train.run, kernels_for(DTYPE_F32), "live", MODEL_VALUES, &m, &tok, NULL));
    pack_options options = pack_options_default();
    options.quant.gptq = false;
    options.context_tokens = 32;
    assert_ok(artifact_write(artifact, m, tok, NULL, &options, NULL));
    model_destroy(m);
    tokenizer_close(tok);
    assert_ok(open_model(artifact, kernels_for(DTYPE_F32), "chosen", MODEL_RUN, &m, &tok, NULL));
    assert_int_equal(m->config.vocab_size, 512);
    assert_int_equal(tokenizer_vocab_size(tok), 320);
    model_destroy(m);
    tokenizer_close(tok);
    free(artifact);
    run_config_free(&c);
}

static void a_loss_that_is_not_finite_stops_the_run(void **state) {
    run_config c = tiny_run(*state, "run", 30);
    c.train.checkpoint_every = 1;
    c.optimizer.scalar_lr = 1e38;
    c.optimizer.embed_lr = 1e38;
    c.events.count = 0;
    train_result result;
    assert_fails(train_run(&c, TRAIN_NEW, &result), "not finite");
    assert_non_null(strstr(error_message(), "the checkpoint of step"));
    checkpoint *saved;
    assert_ok(checkpoint_require(&saved, c.train.run));
    assert_ok(checkpoint_verify(saved));
    checkpoint_close(saved);
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_loss_falls_and_the_log_tells_it, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(events_fire_once_and_show_in_the_log, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(resuming_is_exact, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(seconds_are_carried_on, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_look_that_was_cut_short_is_made_again, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(one_training_at_a_time, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(an_older_run_goes_when_all_else_is_right, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(only_what_moec_made_goes, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_run_is_not_overwritten, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(the_vocabulary_may_be_padded, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(the_tokenizer_must_fit, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_loss_that_is_not_finite_stops_the_run, create, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
