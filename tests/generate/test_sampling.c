/* Samplers against distributions that were worked out by hand: which ids may be drawn, how often, and what penalties make
 * of logits. */
#include "test.h"

#include "generate/writing.h"
#include "texts.h"
#include <cjson/cJSON.h>
#include <math.h>

enum { IDS = 5, DRAWS = 40000 };

/* How often each id is drawn first. */
static void shares(const sampler *s, const float *logits, const int32_t *prompt, size_t count, const int32_t *said,
                   int said_count, double *share) {
    int seen[IDS] = {0};
    for (int i = 0; i < DRAWS; i++) {
        sampler one = *s;
        float own[IDS];
        one.seed = (uint64_t)i;
        memcpy(own, logits, sizeof own);
        sampling *text = sampling_create(&one, NULL, IDS, prompt, count);
        for (int j = 0; j < said_count; j++) sampling_accept(text, said[j]);
        seen[sampling_next(text, own)]++;
        sampling_free(text);
    }
    for (int i = 0; i < IDS; i++) share[i] = (double)seen[i] / DRAWS;
}

static void expect(const sampler *s, const float *logits, const double *expected) {
    double share[IDS];
    shares(s, logits, NULL, 0, NULL, 0, share);
    for (int i = 0; i < IDS; i++) assert_float_equal(share[i], expected[i], 0.012);
}

/* Probabilities 0.5, 0.25, 0.15, 0.06, 0.04. */
static void logits_of(float *logits) {
    static const double p[IDS] = {0.15, 0.5, 0.04, 0.25, 0.06};
    for (int i = 0; i < IDS; i++) logits[i] = (float)log(p[i]) + 3;
}

static void each_filter_leaves_what_it_says(void **state) {
    float logits[IDS];
    (void)state;
    logits_of(logits);
    expect(&(sampler){.temperature = 1, .top_p = 1}, logits, (double[]){0.15, 0.5, 0.04, 0.25, 0.06});
    expect(&(sampler){0}, logits, (double[]){0, 1, 0, 0, 0});
    expect(&(sampler){.temperature = 1, .top_p = 1, .top_k = 2}, logits, (double[]){0, 2 / 3., 0, 1 / 3., 0});
    expect(&(sampler){.temperature = 1, .top_p = 0.7f}, logits, (double[]){0, 2 / 3., 0, 1 / 3., 0});
    expect(&(sampler){.temperature = 1}, logits, (double[]){0, 1, 0, 0, 0}); /* top_p 0: one token */
    /* at least 0.28 · 0.5 = 0.14 */
    expect(&(sampler){.temperature = 1, .top_p = 1, .min_p = 0.28f}, logits, (double[]){1 / 6., 5 / 9., 0, 5 / 18., 0});
    expect(&(sampler){.temperature = 1, .top_p = 1, .min_p = 1}, logits, (double[]){0, 1, 0, 0, 0});
    /* top_k 4 leaves 0.5, 0.25, 0.15, 0.06 of 0.96; top_p 0.9 of that 0.5 + 0.25 + 0.15; min_p 0.4 the first two */
    expect(&(sampler){.temperature = 1, .top_k = 4, .top_p = 0.9f, .min_p = 0.4f}, logits,
           (double[]){0, 2 / 3., 0, 1 / 3., 0});
    /* temperature ½ squares probabilities: 0.25, 0.0625, 0.0225, 0.0036, 0.0016 of 0.3402 */
    expect(&(sampler){.temperature = 0.5f, .top_p = 1}, logits, (double[]){0.0661, 0.7349, 0.0047, 0.1837, 0.0106});
}

static void penalties_and_biases_change_logits(void **state) {
    const float logits[IDS] = {2, 1, 0, -1, -2};
    const int32_t prompt[] = {0, 4}, said[] = {1, 1, 1, 3};
    (void)state;
    const sampler s = {.repetition_penalty = 2,
                       .presence_penalty = 0.5f,
                       .frequency_penalty = 0.25f,
                       .biases = (const logit_bias[]){{2, 0.75f}, {0, -INFINITY}},
                       .bias_count = 2};
    /* the prompt's: 2 / 2, −2 · 2; the text's: 1 / 2 − 3 · 0.25 − 0.5, −1 · 2 − 0.25 − 0.5 */
    const float expected[IDS] = {-INFINITY, -0.75f, 0.75f, -2.75f, -4};
    float own[IDS];
    memcpy(own, logits, sizeof own);
    sampling *text = sampling_create(&s, NULL, IDS, prompt, 2);
    for (int i = 0; i < 4; i++) sampling_accept(text, said[i]);
    assert_int_equal(sampling_next(text, own), 2);
    for (int i = 0; i < IDS; i++) assert_true(own[i] == expected[i]);
    sampling_free(text);
    double share[IDS];
    shares(&(sampler){.temperature = 1, .top_p = 1, .biases = s.biases, .bias_count = 2}, logits, NULL, 0, NULL, 0,
           share);
    const double sum = exp(1) + exp(0.75) + exp(-1) + exp(-2);
    assert_true(share[0] == 0);
    assert_float_equal(share[2], exp(0.75) / sum, 0.012);
    assert_float_equal(share[4], exp(-2) / sum, 0.012);
}

static void a_seed_is_a_text(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        const sampler s = {.temperature = 1, .top_p = 0.9f, .min_p = 0.01f, .presence_penalty = 0.1f, .seed = seed};
        sampling *a = sampling_create(&s, NULL, IDS, NULL, 0), *b = sampling_create(&s, NULL, IDS, NULL, 0);
        int same = 0;
        for (int i = 0; i < 200; i++) {
            float logits[2][IDS];
            logits_of(logits[0]);
            logits_of(logits[1]);
            const int32_t id = sampling_next(a, logits[0]);
            assert_int_equal(sampling_next(b, logits[1]), id);
            sampling_accept(a, id);
            sampling_accept(b, id);
            same += id == 1;
        }
        assert_in_range(same, 1, 199);
        sampling_free(a);
        sampling_free(b);
    }
}

static void nonsense_is_refused(void **state) {
    (void)state;
    assert_ok(sampler_check(&(sampler){0}, IDS));
    assert_fails(sampler_check(&(sampler){.temperature = -1}, IDS),
                 "temperature: expected a number from 0 to 1e+06, found -1");
    assert_fails(sampler_check(&(sampler){.temperature = NAN}, IDS), "temperature");
    assert_fails(sampler_check(&(sampler){.top_k = -1}, IDS), "top_k");
    assert_fails(sampler_check(&(sampler){.top_p = -0.1f}, IDS), "top_p");
    assert_fails(sampler_check(&(sampler){.min_p = 1.5f}, IDS), "min_p");
    assert_fails(sampler_check(&(sampler){.repetition_penalty = -2}, IDS), "repetition_penalty");
    assert_fails(sampler_check(&(sampler){.presence_penalty = INFINITY}, IDS), "presence_penalty");
    assert_fails(sampler_check(&(sampler){.biases = (const logit_bias[]){{IDS, 1}}, .bias_count = 1}, IDS),
                 "expected ids below the vocabulary of 5, found 5");
    assert_fails(sampler_check(&(sampler){.biases = (const logit_bias[]){{1, NAN}}, .bias_count = 1}, IDS),
                 "logit_bias");
}

static void log_probabilities_are_the_models_own(void **state) {
    float logits[IDS];
    token_probability top[IDS];
    (void)state;
    logits_of(logits);
    assert_float_equal(top_probabilities(logits, IDS, 3, top), 3, 1e-6);
    static const int32_t ids[] = {1, 3, 0};
    static const double p[] = {0.5, 0.25, 0.15};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(top[i].id, ids[i]);
        assert_float_equal(top[i].log_prob, log(p[i]), 1e-6);
    }
    const float tied[IDS] = {1, 2, 2, 1, 2};
    top_probabilities(tied, IDS, 5, top);
    static const int32_t order[] = {1, 2, 4, 0, 3};
    for (int i = 0; i < 5; i++) assert_int_equal(top[i].id, order[i]);
    top_probabilities(tied, IDS, 2, top);
    assert_int_equal(top[1].id, 2);
}

/* Random logits, whatever they like: the text is an object that cJSON reads, unless it was cut. */
static void json_is_written_whatever_the_logits_say(void **state) {
    (void)state;
    tokenizer *t = texts_tokenizer();
    json_masks *masks = json_masks_create(t, TEXTS_IDS);
    rng r = rng_seed(4);
    int whole = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        const writing_options o = {.sampler = {.temperature = seed % 3 ? 1 : 0,
                                               .top_p = 1,
                                               .top_k = seed % 2 ? 0 : 40,
                                               .seed = seed,
                                               .json = true},
                                   .max_tokens = 400};
        writing *w = writing_create(t, masks, TEXTS_IDS, &o, (const int32_t[]){TEXTS_BOS}, 1);
        char text[8192] = "";
        written next = {0};
        while (!next.ended) {
            float logits[TEXTS_IDS];
            for (int i = 0; i < TEXTS_IDS; i++) logits[i] = (float)(4 * rng_uniform(&r));
            for (int i = 0; i < 5; i++) logits[TEXTS_BYTES + "\"}]:,"[i]] += 3;
            logits[TEXTS_END] += 5; /* wants to end all the time */
            assert_ok(writing_next(w, logits, &next));
            if (next.drew) strcat(text, next.event.text);
        }
        writing_free(w);
        cJSON *parsed = cJSON_Parse(text);
        assert_true(next.reason == END_STOP || next.reason == END_LENGTH);
        if (next.reason == END_STOP && !cJSON_IsObject(parsed)) fail_msg("not an object: %s", text);
        whole += next.reason == END_STOP;
        cJSON_Delete(parsed);
    }
    assert_true(whole > 100);
    json_masks_free(masks);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_filter_leaves_what_it_says),
        cmocka_unit_test(penalties_and_biases_change_logits),
        cmocka_unit_test(a_seed_is_a_text),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(log_probabilities_are_the_models_own),
        cmocka_unit_test(json_is_written_whatever_the_logits_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
