/* Trainings whose tokens have labels: what live and averaged weights are compared by, what is resumed, what is refused. */
#include "tiny.h"

#include "eval/bpb.h"
#include <math.h>

/* The shards of tiny_data, half of whose tokens are of one domain. */
static int create(void **state) {
    char *folder = scratch_create(), *data = path_join(folder, "data");
    char *path = path_join(data, "tiny_train_000000.bin"), *table = path_join(data, "tiny_train_000000.docs.tsv");
    shard s;
    tiny_data(data);
    assert_ok(shard_open(&s, path, TINY_VOCAB));
    const long long half = s.count / 2, rest = s.count - half;
    char *text = xasprintf("0\t%lld\t%lld\tone\ta\n%lld\t%lld\t%lld\ttwo\tb\n", half, half, half, rest, rest);
    assert_ok(file_write_whole(table, text, strlen(text)));
    shard_close(&s);
    free(text), free(table), free(path), free(data);
    *state = folder;
    return 0;
}

/* Experts from the beginning, which are taught. */
static run_config taught_run(void **state, const char *name, int64_t steps) {
    run_config c = tiny_run(*state, name, steps);
    c.events.count = 0;
    c.model.moe.layers[1] = c.model.moe.layers[2] = true;
    c.model.moe.experts = 2;
    c.model.moe.top_k = 1;
    c.optimizer.router_lr = 0.05;
    c.labels.weight = (curve){.at = {0, 1}, .value = {1, 0.25}, .count = 2};
    return c;
}

static double score_by_hand(const run_config *c, const checkpoint *saved) {
    model *m;
    pass *p;
    loader *l;
    tokenizer *tok;
    batch b;
    bpb_score score = {0};
    float nll[64];
    assert_ok(checkpoint_load_model(saved, kernels_for(DTYPE_F32), "live", MODEL_RUN, &m));
    assert_ok(checkpoint_open_tokenizer(saved, &tok));
    assert_ok(pass_create(&p, m));
    assert_ok(loader_open(&l, c->data.path, TINY_VOCAB, tokenizer_bos(tok), 2, 32, true, c->train.seed));
    loader_keep(l, c->average.choice_tokens);
    for (int64_t row = 0; loader_kept(l, row, &b) == STATUS_OK && b.batch > 0; row += b.batch) {
        assert_non_null(b.domain);
        assert_ok(pass_evaluate(p, &b, nll));
        for (int64_t t = 0; t < b.batch * b.length; t++) {
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

/* As they are used: where routers choose, also after a training in which labels chose. */
static void weights_are_compared_without_labels(void **state) {
    run_config c = taught_run(state, "document", 20);
    train_result result;
    checkpoint *saved;
    c.labels.routing = LABEL_BY_DOCUMENT;
    c.labels.weight = curve_constant(0); /* its routers know nothing */
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    assert_ok(checkpoint_require(&saved, c.train.run));
    assert_true(saved->choice.tokens > 0);
    assert_float_equal(saved->choice.live_bpb, score_by_hand(&c, saved), 1e-5);
    checkpoint_close(saved);
    run_config_free(&c);
}

static void assert_same_weights(const run_config *a, const run_config *b) {
    static const char *const names[] = {"model.safetensors", "optimizer.safetensors"};
    for (int i = 0; i < 2; i++) {
        uint8_t *x, *y;
        size_t x_count, y_count;
        char *first = xasprintf("%s/checkpoints/step-00000016/%s", a->train.run, names[i]);
        char *second = xasprintf("%s/checkpoints/step-00000016/%s", b->train.run, names[i]);
        assert_ok(file_read(first, FILE_ANY_SIZE, &x, &x_count));
        assert_ok(file_read(second, FILE_ANY_SIZE, &y, &y_count));
        assert_int_equal(x_count, y_count);
        assert_memory_equal(x, y, x_count);
        free(x), free(y), free(first), free(second);
    }
}

static run_config frozen_run(void **state, const char *name) {
    static const char *const frozen[] = {"attention", "blocks.3.*"};
    run_config c = taught_run(state, name, 16);
    c.events.items[0] = (event){.at = 0.3, .kind = EVENT_LOOP};
    c.events.items[1] = (event){.at = 0.5, .kind = EVENT_QAT, .bits = 6};
    c.events.count = 2;
    c.train.checkpoint_every = 12;
    c.train.val_every = 5;
    c.train.freeze = (name_list){xcalloc(2, sizeof(char *)), 2};
    for (int i = 0; i < 2; i++) c.train.freeze.names[i] = xstrdup(frozen[i]);
    return c;
}

/* A run that goes on packs all weights anew; one that was never interrupted has packed what is frozen at its beginning, at QAT's, and
 * whenever its average was looked at. */
static void resumed_to_the_bit_with_frozen_weights(void **state) {
    run_config whole = frozen_run(state, "whole"), halves = frozen_run(state, "halves");
    train_result result;
    char *last = path_join(halves.train.run, "checkpoints/step-00000016");
    assert_ok(train_run(&whole, TRAIN_NEW, &result));
    assert_ok(train_run(&halves, TRAIN_NEW, &result));
    assert_ok(folder_remove(last));
    assert_ok(train_run(&halves, TRAIN_RESUME, &result));
    assert_int_equal(result.state.step, 16);
    assert_same_weights(&whole, &halves);
    run_config_free(&whole);
    run_config_free(&halves);
    free(last);
}

static void a_bias_has_nothing_to_do_where_labels_choose(void **state) {
    run_config c = taught_run(state, "refused", 2);
    train_result result;
    c.labels.routing = LABEL_BY_DOCUMENT;
    c.model.moe.bias_rate = 0.01f;
    assert_fails(train_run(&c, TRAIN_NEW, &result), "label_routing: document needs moe_bias_rate 0");
    c.labels.routing = LABEL_BY_TOKEN;
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_compared_without_labels),
        cmocka_unit_test(resumed_to_the_bit_with_frozen_weights),
        cmocka_unit_test(a_bias_has_nothing_to_do_where_labels_choose),
    };
    return cmocka_run_group_tests(tests, create, scratch_teardown);
}
