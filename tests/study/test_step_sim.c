/* A machine's file, and steps on it whose times can be worked out by hand. */
#include "test.h"

#include "config/load.h"
#include "nn/budget.h"
#include "nn/model.h"
#include "study/step_report.h"
#include <math.h>

#define assert_near(found, expected) assert_true(fabs((found) - (expected)) <= 1e-6 * fabs(1.0 * (expected)))

static const char text[] = "name: two\nproducts: 2e9\nmemory_rate: 1e9\nnode_ranks: 4\nshared: true\nact_bytes: 4\n"
                           "inside: {rate: 1e8, overhead: 1e-5, latency: 2e-5}\n";

static machine parsed(const char *yaml) {
    machine m;
    assert_ok(machine_parse(&m, "test", yaml, strlen(yaml)));
    return m;
}

static void machines_are_read(void **state) {
    char *path = path_join(*state, "machine.yaml");
    machine m = parsed(text), again;
    assert_true(m.node_ranks == 4 && m.shared && m.products == 2e9 && m.between.rate == 1e8 &&
                m.inside.efficiency == 1);
    assert_ok(machine_write(&m, path));
    assert_ok(machine_load(&again, path));
    assert_string_equal(again.name, "two");
    assert_true(again.inside.latency == m.inside.latency && again.memory_rate == m.memory_rate && again.shared);
    machine_free(&m);
    machine_free(&again);
    free(path);
}

static void what_is_no_machine_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *says;
    } bad[] = {
        {"", "expected a machine"},
        {"- 1", "expected keys and values"},
        {"name: x\nproducts: 1e9\nmemory_rate: 1e9\n", "inside: expected a value"},
        {"name: x\nproducts: 1e9\nmemory_rate: 1e9\ninside: {latency: 1}\n", "inside: expected a rate"},
        {"name: x\nproducts: fast\n", "test:2: products: expected a number"},
        {"name: x\nproducts: 0\n", "products: expected a number from 1"},
        {"nmae: x\n", "unknown key nmae of a machine; the nearest is name"},
        {"name: x\nname: y\n", "given twice"},
        {"name: x\nproducts: 1e9\nmemory_rate: 1e9\ninside: {rate: 1}\nnode_ranks: 2\ncards: 3\n",
         "cards: expected at most"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        machine m;
        assert_fails(machine_parse(&m, "test", bad[i].yaml, strlen(bad[i].yaml)), bad[i].says);
        machine_free(&m);
    }
    /* Cut anywhere it is read or refused, and nothing else happens. */
    for (size_t bytes = 0; bytes < sizeof text; bytes++) {
        machine m;
        (void)machine_parse(&m, "test", text, bytes);
        machine_free(&m);
    }
}

static void computing_has_its_time(void **state) {
    (void)state;
    machine m = parsed(text);
    assert_near(machine_product_seconds(&m, 1, 4e9, 10, 10), 2);
    assert_near(machine_product_seconds(&m, 4, 4e9, 10, 10), 8); /* four share the node */
    assert_near(machine_memory_seconds(&m, 2, 1e9), 2);
    m.shared = false;
    m.units = 10;
    m.tile = 16;
    assert_near(machine_product_seconds(&m, 4, 4e9, 16, 160), 2);         /* ten tiles on ten units */
    assert_near(machine_product_seconds(&m, 4, 4e9, 16, 16), 20);         /* one of ten units */
    assert_near(machine_product_seconds(&m, 4, 4e9, 17, 160), 2);         /* two rows of tiles, one behind the other */
    assert_near(machine_product_seconds(&m, 4, 4e9, 16, 161), 40 / 11.0); /* eleven tiles take as long as twenty */
    machine_free(&m);
}

/* ---- what a step is ---- */

static run_config small(int experts) {
    run_config c = run_config_default();
    const char *lines[] = {"vocab_size=256", "num_layers=3", "model_dim=64",           "num_heads=4",
                           "num_kv_heads=2", "rope_dims=16", "parallel_start_layer=3", "num_loops=0",
                           "batch=2",        "seq=32",       "accumulate=8",           "events=[]",
                           "bigram_dim=16",  "ema_decay=0",  "eval_stride=32"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) assert_ok(config_override(&run_schema, &c, lines[i]));
    if (experts) {
        char number[32];
        snprintf(number, sizeof number, "moe_num_experts=%d", experts);
        assert_ok(config_override(&run_schema, &c, number));
        assert_ok(config_override(&run_schema, &c, "moe_start_layer=1"));
        assert_ok(config_override(&run_schema, &c, "moe_top_k=2"));
    }
    assert_ok(run_config_check(&c));
    return c;
}

static void work_is_the_models(void **state) {
    (void)state;
    run_config c = small(4);
    step_work w = step_work_of(&c, true);
    double flops = w.ends_flops;
    for (int i = 0; i < w.block_count; i++) flops += w.blocks[i].flops + w.blocks[i].expert_flops;
    assert_near(flops, model_forward_flops(&c.model, 32));
    assert_near(w.values, (double)model_budget_count(&c.model).total);
    assert_near(w.expert_values, (double)model_budget_count(&c.model).of[COMPONENT_EXPERTS]);
    assert_true(w.blocks[0].routed == 0 && w.blocks[1].routed == 2 * 64);
    step_work_free(&w);
    run_config_free(&c);
}

/* ---- steps ---- */

static step_result step_of(const step_work *w, const machine *m, int ranks, step_method method, bool grows) {
    const step_options o = {.ranks = ranks, .method = method, .grows = grows, .imbalance = 1, .messages = 1e6};
    step_result r;
    assert_ok(step_simulate(w, m, &o, &r));
    return r;
}

/* Without messages' times and with nothing but products, a step is its operations. */
static void a_step_is_its_operations(void **state) {
    (void)state;
    machine m = parsed("name: x\nproducts: 1e9\nmemory_rate: 1e18\nnode_ranks: 8\ninside: {rate: 1e18}\n");
    run_config c = small(0);
    step_work w = step_work_of(&c, true);
    double update = 0, blocks = 0;
    for (int i = 0; i < w.param_count; i++) update += w.params[i].update_flops;
    for (int i = 0; i < w.block_count; i++) blocks += w.blocks[i].flops;
    const double tokens = 16 * 32, all = tokens * (3 * blocks + 4 * w.ends_flops);
    for (step_method method = STEP_AS_BUILT; method <= STEP_SHARDED; method++) {
        step_result one = step_of(&w, &m, 1, method, false), eight = step_of(&w, &m, 8, method, false);
        assert_near(one.computing, all / 1e9);
        assert_near(one.updating, update / 1e9);
        assert_near(one.seconds, (all + update) / 1e9);
        assert_true(one.sent == 0 && one.waiting < 1e-9);
        assert_near(eight.computing, all / 8e9);
        assert_true(eight.seconds >= (all + update) / 8e9 && eight.seconds < one.seconds);
        assert_near(eight.seconds, eight.computing + eight.updating + eight.waiting);
    }
    step_result grown = step_of(&w, &m, 8, STEP_SHARDED, true);
    assert_near(grown.computing, all / 8e9); /* one of the eight micro-batches */
    assert_near(grown.tokens, 8.0 * 2 * 32);
    step_work_free(&w);
    run_config_free(&c);
    machine_free(&m);
}

/* As built each rank sends, for each micro-batch, all gradients that it does not own; and all values that it owns to all others. */
static void bytes_are_those_that_are_sent(void **state) {
    (void)state;
    machine m = parsed(text);
    run_config c = small(0);
    step_work w = step_work_of(&c, true);
    for (int singly = 0; singly < 2; singly++) {
        const step_options o = {.ranks = 4, .method = STEP_AS_BUILT, .imbalance = 1, .messages = singly ? 1e6 : 0};
        step_result r;
        assert_ok(step_simulate(&w, &m, &o, &r));
        assert_int_equal(r.by_message, singly);
        const double gradients = 4 * w.values, told = 3 * (8.0 * w.param_count + 24);
        assert_true(r.sent >= 2 * 0.75 * gradients + 0.75 * gradients + told);
        assert_true(r.sent < 2 * gradients + 1.2 * gradients + told);
        assert_true(r.waiting > 0);
    }
    step_work_free(&w);
    run_config_free(&c);
    machine_free(&m);
}

/* Gradients go while backward does: where messages take less than it, what is waited for of a step does not grow with its micro-batches. */
static void sending_hides_behind_backward(void **state) {
    (void)state;
    machine m = parsed("name: x\nproducts: 1e9\nmemory_rate: 1e18\nnode_ranks: 2\ninside: {rate: 1e8}\n");
    run_config c = small(0);
    step_work w = step_work_of(&c, true);
    const double gradients =
        4 * w.values / 2 / 1e8; /* seconds in which a rank sends those of a micro-batch that it does not own */
    step_result four = step_of(&w, &m, 2, STEP_AS_BUILT, false);
    w.rows *= 2;
    step_result eight = step_of(&w, &m, 2, STEP_AS_BUILT, false);
    assert_near(eight.computing, 2 * four.computing);
    assert_true(eight.sent > four.sent + 3.9 * gradients * 1e8);
    assert_true(gradients < 0.3 * four.computing / 4);
    /* The tied embedding is final last, and goes by itself; an exchange that begins behind backward would wait for all. */
    const double each = (eight.waiting - four.waiting) / 4;
    assert_true(each > 0 && each < 0.8 * gradients);
    step_work_free(&w);
    run_config_free(&c);
    machine_free(&m);
}

/* The same step message by message and by formulas: the same bytes, and seconds that are near. Buckets that are on their way together as built
 * come one after another by formulas, which costs most where there are as many small ones as here. */
static void formulas_stand_for_messages(void **state) {
    (void)state;
    machine m =
        parsed("name: x\nproducts: 1e12\nmemory_rate: 1e11\nnode_ranks: 4\ninside: {rate: 1e10, overhead: 1e-6}\n"
               "between: {rate: 1e9, overhead: 1e-6, latency: 5e-6}\n");
    run_config c = small(4);
    step_work w = step_work_of(&c, true);
    for (step_method method = 0; method < STEP_METHODS; method++) {
        const step_options o = {.ranks = 16, .method = method, .grows = true, .imbalance = 1, .messages = 1e6};
        step_options formulas = o;
        step_result a, b;
        formulas.messages = 0;
        assert_ok(step_simulate(&w, &m, &o, &a));
        assert_ok(step_simulate(&w, &m, &formulas, &b));
        assert_true(a.by_message && !b.by_message);
        assert_near(a.sent, b.sent);
        assert_near(a.sent_apart, b.sent_apart);
        assert_true(a.seconds < 1.25 * b.seconds);
        assert_true(b.seconds < (method == STEP_AS_BUILT ? 1.5 : 1.25) * a.seconds);
        assert_int_equal(a.expert_ranks, method == STEP_EXPERTS ? 4 : 1);
    }
    step_work_free(&w);
    run_config_free(&c);
    machine_free(&m);
}

/* Of ranks that share a node, one for each node is what there is to reach; of others each of them. */
static void ideals_know_who_shares(void **state) {
    (void)state;
    static const char free_messages[] =
        "name: x\nproducts: 1e9\nmemory_rate: 1e18\nnode_ranks: 4\ninside: {rate: 1e18}\n";
    run_config c = small(0);
    step_work w = step_work_of(&c, true);
    machine m = parsed(free_messages);
    for (int shared = 0; shared < 2; shared++) {
        step_study s = {.config = "x", .machine = &m, .work = &w, .ranks = {1, 4, 8}, .count = 3};
        s.options = (step_options){.imbalance = 1, .messages = 1e6};
        m.shared = shared;
        assert_ok(step_study_run(&s));
        for (int i = 0; i < s.count; i++) {
            const double found = step_study_efficiency(&s, i, STEP_SHARDED);
            assert_true(found > 0.5 && found <= 1 + 1e-9);
        }
    }
    machine_free(&m);
    step_work_free(&w);
    run_config_free(&c);
}

static void what_cannot_be_is_said(void **state) {
    (void)state;
    machine m = parsed(text);
    run_config c = small(0);
    step_work w = step_work_of(&c, true);
    step_result r = step_of(&w, &m, 32, STEP_AS_BUILT, false); /* 16 rows */
    assert_false(r.possible);
    assert_non_null(strstr(r.why, "16 rows"));
    const step_options odd = {.ranks = 6, .imbalance = 1};
    assert_fails(step_simulate(&w, &m, &odd, &r), "whole nodes");
    step_work_free(&w);
    run_config_free(&c);
    machine_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(machines_are_read, scratch_setup, scratch_teardown),
        cmocka_unit_test(what_is_no_machine_is_refused),
        cmocka_unit_test(computing_has_its_time),
        cmocka_unit_test(work_is_the_models),
        cmocka_unit_test(a_step_is_its_operations),
        cmocka_unit_test(bytes_are_those_that_are_sent),
        cmocka_unit_test(sending_hides_behind_backward),
        cmocka_unit_test(formulas_stand_for_messages),
        cmocka_unit_test(ideals_know_who_shares),
        cmocka_unit_test(what_cannot_be_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
