/* Live or averaged weights: found out at the end of a training on rows that it never saw, and used from then on. */
#include "tiny.h"

#include "base/json_seal.h"
#include "eval/bpb.h"
#include "store/open.h"
#include "train/choice.h"
#include <math.h>

static int create(void **state) {
    char *folder = scratch_create(), *data = path_join(folder, "data");
    tiny_data(data);
    free(data);
    *state = folder;
    return 0;
}

static checkpoint *newest(const run_config *c) {
    checkpoint *saved;
    assert_ok(checkpoint_require(&saved, c->train.run));
    return saved;
}

/* Bits per byte of the kept rows by the weights of a checkpoint, which a loader of its own finds again. */
static double score_by_hand(const run_config *c, const checkpoint *saved, const char *which) {
    model *m;
    pass *p;
    loader *l;
    tokenizer *tok;
    bpb_score score = {0};
    batch b;
    assert_ok(checkpoint_load_model(saved, kernels_for(DTYPE_F32), which, MODEL_RUN, &m));
    assert_ok(checkpoint_open_tokenizer(saved, &tok));
    assert_ok(pass_create(&p, m));
    assert_ok(loader_open(&l, c->data.path, TINY_VOCAB, tokenizer_bos(tok), 1, c->train.seq, true, c->train.seed));
    const int64_t rows = loader_keep(l, c->average.choice_tokens);
    assert_true(rows >= 3 && rows <= 8);
    float nll[32];
    for (int64_t row = 0; loader_kept(l, row, &b) == STATUS_OK && b.batch > 0; row++) {
        assert_ok(pass_evaluate(p, &b, nll));
        for (int t = 0; t < 32; t++) {
            score.nll += nll[t];
            score.bytes += tokenizer_token_bytes(tok, b.target_ids[t], b.input_ids[t]);
        }
    }
    loader_close(l);
    pass_destroy(p);
    model_destroy(m);
    tokenizer_close(tok);
    return bpb(&score);
}

static void both_are_scored_when_the_training_ends(void **state) {
    run_config c = tiny_run(*state, "run", 30);
    train_result result;
    c.events.count = 2; /* without QAT, under which the live and the averaged weights are scored on their grids */
    c.train.checkpoint_every = 10;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    checkpoint *saved = newest(&c);
    const weights_choice *choice = &saved->choice;
    assert_true(choice->tokens > 0 && choice->tokens % 32 == 0);
    assert_float_equal(choice->live_bpb, score_by_hand(&c, saved, "live"), 1e-5);
    assert_float_equal(choice->average_bpb, score_by_hand(&c, saved, "ema"), 1e-5);
    const char *which;
    assert_ok(checkpoint_weights(saved, "chosen", &which));
    assert_string_equal(which, choice->average_bpb <= choice->live_bpb ? "ema" : "live");
    checkpoint *before;
    char *path = xasprintf("%s/checkpoints/step-00000020", c.train.run);
    assert_ok(checkpoint_require(&before, path)); /* in mid-training nothing is known */
    assert_int_equal(before->choice.tokens, 0);
    checkpoint_close(before);
    checkpoint_close(saved);
    free(path);
    run_config_free(&c);
}

/* An average that remembers the whole run is worse than weights that learn fast, and better than weights that jump about. */
static void the_better_one_is_chosen(void **state) {
    run_config c = tiny_run(*state, "slow", 30);
    train_result result;
    const char *which;
    c.events.count = 0;
    c.average.kind = AVERAGE_SWA;
    c.average.swa_start = 0;
    c.average.swa_every = 1;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    checkpoint *saved = newest(&c);
    assert_true(saved->choice.live_bpb < saved->choice.average_bpb);
    assert_ok(checkpoint_weights(saved, "chosen", &which));
    assert_string_equal(which, "live");
    char *note = checkpoint_weights_note(saved, "chosen"), *forced = checkpoint_weights_note(saved, "ema");
    assert_non_null(strstr(note, "live weights, the better ones: "));
    assert_non_null(strstr(forced, "averaged weights, as asked for: "));
    free(note), free(forced);

    model *chosen, *live;
    tokenizer *tok;
    assert_ok(open_model(c.train.run, kernels_for(DTYPE_F32), "chosen", MODEL_VALUES, &chosen, &tok, NULL));
    assert_ok(checkpoint_load_model(saved, kernels_for(DTYPE_F32), "live", MODEL_VALUES, &live));
    float *a = tiny_values(chosen, chosen->params[0]), *b = tiny_values(live, live->params[0]);
    assert_memory_equal(a, b, tensor_bytes(&live->params[0]->value));
    free(a), free(b);
    model_destroy(chosen), model_destroy(live), tokenizer_close(tok), checkpoint_close(saved);

    free(c.train.run);
    c.train.run = path_join(*state, "jumping");
    c.average.kind = AVERAGE_EMA;
    c.optimizer.warmdown_frac = 0;
    c.optimizer.embed_lr = 3;
    c.optimizer.scalar_lr = 1;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    saved = newest(&c);
    assert_true(saved->choice.average_bpb < saved->choice.live_bpb);
    assert_ok(checkpoint_weights(saved, "chosen", &which));
    assert_string_equal(which, "ema");
    checkpoint_close(saved);
    run_config_free(&c);
}

static void nothing_is_chosen_where_nothing_is_kept(void **state) {
    run_config c = tiny_run(*state, "run", 4);
    train_result result;
    const char *which;
    c.average.choice_tokens = 0;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    checkpoint *saved = newest(&c);
    assert_int_equal(saved->choice.tokens, 0);
    assert_null(cJSON_GetObjectItem(saved->manifest, "weights"));
    assert_ok(checkpoint_weights(saved, "chosen", &which));
    assert_string_equal(which, "ema");
    char *note = checkpoint_weights_note(saved, "chosen");
    assert_non_null(strstr(note, "averaged weights, not compared with the live ones"));
    free(note);
    assert_fails(checkpoint_weights(saved, "best", &which), "expected live, ema or chosen, found best");
    checkpoint_close(saved);

    c.average.kind = AVERAGE_NONE;
    assert_ok(train_run(&c, TRAIN_OVERWRITE, &result));
    saved = newest(&c);
    assert_ok(checkpoint_weights(saved, "chosen", &which));
    assert_string_equal(which, "live");
    note = checkpoint_weights_note(saved, "chosen");
    assert_string_equal(note, "live weights, the only ones");
    free(note);
    assert_fails(checkpoint_weights(saved, "ema", &which), "expected averaged weights");
    checkpoint_close(saved);
    run_config_free(&c);
}

/* As after Ctrl-C while the weights were compared: the last step is saved, and what it lacks is made up for. */
static void a_choice_that_is_missing_is_made_when_the_run_is_resumed(void **state) {
    run_config c = tiny_run(*state, "run", 6);
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    checkpoint *saved = newest(&c);
    char *path = xstrdup(saved->manifest_path);
    const weights_choice before = saved->choice;
    cJSON *manifest = cJSON_Duplicate(saved->manifest, true);
    checkpoint_close(saved);
    cJSON_DeleteItemFromObjectCaseSensitive(manifest, "weights");
    json_seal(manifest);
    assert_ok(json_write_file(path, manifest));
    assert_ok(train_run(&c, TRAIN_RESUME, &result));
    assert_int_equal(result.state.step, 6);
    saved = newest(&c);
    assert_ok(checkpoint_verify(saved));
    assert_memory_equal(&saved->choice, &before, sizeof before);
    checkpoint_close(saved);

    /* Longer than it was: what was chosen was said of other weights. */
    c.train.steps = 7;
    c.average.choice_tokens = 32;
    assert_ok(train_run(&c, TRAIN_RESUME_CHANGED, &result));
    saved = newest(&c);
    assert_true(saved->step == 7 && saved->choice.live_bpb != before.live_bpb);
    checkpoint_close(saved);
    cJSON_Delete(manifest);
    free(path);
    run_config_free(&c);
}

static void a_contradiction_is_refused(void **state) {
    run_config c = tiny_run(*state, "run", 2);
    train_result result;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    checkpoint *saved = newest(&c), *none;
    static const char *const changes[][2] = {
        {"{\"chosen\":\"live\",\"live_bpb\":2,\"average_bpb\":1,\"tokens\":5}", "expected the better ones"},
        {"{\"chosen\":\"ema\",\"live_bpb\":2,\"average_bpb\":1,\"tokens\":0}", "of at least one token"},
        {"{\"chosen\":\"ema\",\"live_bpb\":2,\"tokens\":5}", "average_bpb"},
        {"[]", "tokens"},
    };
    for (int i = 0; i < 4; i++) {
        cJSON *manifest = cJSON_Duplicate(saved->manifest, true);
        cJSON_ReplaceItemInObjectCaseSensitive(manifest, "weights", cJSON_Parse(changes[i][0]));
        json_seal(manifest);
        assert_ok(json_write_file(saved->manifest_path, manifest));
        assert_fails(checkpoint_open(&none, c.train.run), changes[i][1]);
        assert_non_null(strstr(error_message(), "checkpoint.json"));
        cJSON_Delete(manifest);
    }
    checkpoint_close(saved);
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_are_scored_when_the_training_ends, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(the_better_one_is_chosen, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(nothing_is_chosen_where_nothing_is_kept, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_choice_that_is_missing_is_made_when_the_run_is_resumed, create,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(a_contradiction_is_refused, create, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
