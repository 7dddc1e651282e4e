/* What a request may ask for beside a text: routes and experts, log-probabilities, JSON; what is counted of all; what is refused. */
#include "scheduled.h"

#include <cjson/cJSON.h>

static void routing_is_shown_and_steered(void **state) {
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of(poem);
    static const bool two[TEXTS_EXPERTS] = {true, false, false, true};
    static const int by_layer[TEXTS_LAYERS] = {0, 1, 3};
    const struct {
        expert_control c;
        int most[2]; /* of layer 1 and of layer 2 */
    } cases[] = {{{0}, {2, 2}},
                 {{.top_k = 1}, {1, 1}},
                 {{.top_k = 4}, {4, 4}},
                 {{.allowed = two}, {2, 2}},
                 {{.layer_top_k = by_layer}, {1, 3}}};
    char texts[5][ASKED_BYTES];
    for (int i = 0; i < 5; i++) {
        const text_request r = {.prompt = p.ids,
                                .prompt_count = p.count,
                                .how = {.max_tokens = 60, .ignore_end = true},
                                .routing = true,
                                .experts = cases[i].c};
        asked *a = answer(f, r, (scheduler_options){.slots = 1});
        assert_int_equal(a->entries, 3);
        for (int e = 0; e < 3; e++) assert_int_equal(a->most[e], cases[i].most[e == 2]);
        for (int e = 0; e < TEXTS_EXPERTS && cases[i].c.allowed; e++)
            if (!cases[i].c.allowed[e]) assert_false(a->used[e]);
        strcpy(texts[i], a->text);
        for (int j = 0; j < i; j++) assert_string_not_equal(texts[i], texts[j]);
        free(a);
    }
}

static void traffic_is_counted_and_kept(void **state) {
    const texts_fixture *f = *state;
    scheduler *s = start(f, (scheduler_options){.slots = 2});
    prompt_ids p = prompt_of(poem);
    asked *a = xcalloc(1, sizeof *a);
    assert_int_equal(
        ask(s, a,
            (text_request){.prompt = p.ids, .prompt_count = p.count, .how = {.max_tokens = 11, .ignore_end = true}}),
        SUBMIT_ACCEPTED);
    asked_wait(a);
    assert_int_equal(a->entries, 0); /* routes were not asked for */
    scheduler_traffic t, twice;
    scheduler_traffic_read(s, &t);
    assert_int_equal(t.layers, 2);
    assert_int_equal(t.experts, TEXTS_EXPERTS);
    assert_int_equal(t.tokens, p.count + 10);
    int64_t sums[2] = {0};
    for (int i = 0; i < 2 * TEXTS_EXPERTS; i++) sums[i / TEXTS_EXPERTS] += t.counts[i];
    assert_int_equal(t.layer[0], 1);
    assert_int_equal(t.layer[1], 2);
    assert_int_equal(sums[0], 2 * 2 * t.tokens); /* the layer runs twice */
    assert_int_equal(sums[1], 2 * t.tokens);
    assert_ok(scheduler_traffic_add(s, &t));
    scheduler_traffic_read(s, &twice);
    assert_int_equal(twice.tokens, 2 * t.tokens);
    assert_int_equal(twice.counts[3], 2 * t.counts[3]);
    free(twice.counts);
    scheduler_traffic_reset(s);
    scheduler_traffic_read(s, &twice);
    assert_int_equal(twice.tokens, 0);
    t.experts = 3;
    assert_fails(scheduler_traffic_add(s, &t), "expected counts of 2 layers with 4 experts, found 2 with 3");
    free(twice.counts);
    free(t.counts);
    scheduler_destroy(s);
    free(a);
}

static void log_probabilities_are_said(void **state) {
    const texts_fixture *f = *state;
    prompt_ids p = prompt_of("abc");
    const text_request r = {.prompt = p.ids,
                            .prompt_count = p.count,
                            .how = {.max_tokens = 15, .ignore_end = true, .log_probs = true, .top_log_probs = 2}};
    asked *a = answer(f, r, (scheduler_options){.slots = 1});
    /* greedy: the last token is the likeliest but for end tokens, which are barred, and ids without a piece */
    for (int i = 0; i < a->tokens; i++) assert_true(a->log_probs[i] < 0 && a->log_probs[i] > -20);
    assert_true(a->top[0] >= a->top[1] && a->top[1] < 0);
    assert_true(a->log_probs[a->tokens - 1] <= a->top[0]);
    free(a);
}

static void an_untrained_model_writes_json(void **state) {
    const texts_fixture *f = *state;
    enum { ASKERS = 24 };
    scheduler *s = start(f, (scheduler_options){.slots = 6, .context = 500});
    prompt_ids p = prompt_of("As JSON: ");
    asked *a = xcalloc(ASKERS, sizeof *a);
    int whole = 0;
    static const logit_bias closing[] = {{TEXTS_BYTES + '"', 2}, {TEXTS_BYTES + '}', 3}, {TEXTS_BYTES + ']', 2}};
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(ask(s, &a[i],
                             (text_request){.prompt = p.ids,
                                            .prompt_count = p.count,
                                            .how = {.sampler = {.temperature = 1,
                                                                .top_p = 1,
                                                                .seed = (uint64_t)i,
                                                                .json = true,
                                                                .biases = closing,
                                                                .bias_count = 3}}}),
                         SUBMIT_ACCEPTED);
    for (int i = 0; i < ASKERS; i++) {
        asked_wait(&a[i]);
        cJSON *parsed = cJSON_Parse(a[i].text);
        if (a[i].end.reason == END_STOP && !cJSON_IsObject(parsed)) fail_msg("not an object: %s", a[i].text);
        assert_true(a[i].end.reason == END_STOP || a[i].end.reason == END_LENGTH);
        whole += a[i].end.reason == END_STOP;
        cJSON_Delete(parsed);
    }
    assert_true(whole > ASKERS / 3);
    scheduler_destroy(s);
    free(a);
}

static void nonsense_is_refused(void **state) {
    const texts_fixture *f = *state;
    scheduler *s = start(f, (scheduler_options){.context = 40}), *none;
    prompt_ids p = prompt_of("abc"), far = p, long_one = prompt_of(poem);
    far.ids[2] = TEXTS_VOCAB;
    asked *a = xcalloc(1, sizeof *a);
    const bool nobody[TEXTS_EXPERTS] = {false};
    const int dense_layer[TEXTS_LAYERS] = {1};
    const text_request good = {.prompt = p.ids, .prompt_count = p.count};
    const struct {
        text_request r;
        const char *says;
    } cases[] = {
        {{.prompt = p.ids}, "prompt: expected at least one token, found none"},
        {{.prompt = long_one.ids, .prompt_count = long_one.count},
         "expected fewer tokens than the context of 40, found 1"},
        {{.prompt = far.ids, .prompt_count = far.count}, "expected ids below the vocabulary of 304, found 304"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.max_tokens = -1}}, "max_tokens: expected 1 or more, found -1"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.sampler = {.min_p = 2}}}, "min_p"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.stops = (const char *[]){""}, .stop_count = 1}},
         "stop: expected strings of 1 to"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.stops = (const char *[]){"\xff"}, .stop_count = 1}},
         "stop: expected UTF-8"},
        {{.prompt = p.ids, .prompt_count = 1, .how = {.log_probs = true, .top_log_probs = 21}},
         "top_logprobs: expected 0 to 20, found 21"},
        {{.prompt = p.ids, .prompt_count = 1, .experts = {.top_k = 5}}, "top_k: expected 1 to 4 experts, found 5"},
        {{.prompt = p.ids, .prompt_count = 1, .experts = {.allowed = nobody}},
         "expected at least one that may be chosen"},
        {{.prompt = p.ids, .prompt_count = 1, .experts = {.layer_top_k = dense_layer}}, "top_k of layer 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ask(s, a, cases[i].r), SUBMIT_REFUSED);
        if (!strstr(error_message(), cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", error_message(), cases[i].says);
    }
    assert_int_equal(a->ends, 0);
    assert_int_equal(ask(s, a, good), SUBMIT_ACCEPTED);
    asked_wait(a);
    scheduler_destroy(s);
    assert_fails(scheduler_start(&none, f->m, f->t, &(scheduler_options){0}), "context: expected 2 to");
    assert_fails(scheduler_start(&none, f->m, f->t, &(scheduler_options){.context = 10, .chunk = 3}),
                 "chunk: expected 16 to");
    free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(routing_is_shown_and_steered),
        cmocka_unit_test(traffic_is_counted_and_kept),
        cmocka_unit_test(log_probabilities_are_said),
        cmocka_unit_test(an_untrained_model_writes_json),
    };
    return cmocka_run_group_tests(tests, texts_setup, texts_teardown);
}
