/* The automaton against texts that are JSON and texts that are not; and what it lets a drawer of random bytes or tokens
 * write, against cJSON. */
#include "test.h"

#include "generate/json_masks.h"
#include "texts.h"
#include <cjson/cJSON.h>
#include <stdio.h>

/* How many bytes of the text are accepted. */
static size_t accepted(const char *text, json_grammar *g) {
    size_t n = 0;
    *g = json_grammar_start();
    while (text[n] && json_grammar_step(g, (uint8_t)text[n])) n++;
    return n;
}

static void json_is_accepted(void **state) {
    static const char *const texts[] = {"{}",
                                        " \n{ } ",
                                        "{\"a\":1}",
                                        "{\"a\" : [ ] , \"b\":[1,-2.5e+3,0,0.1,1E9]}\n",
                                        "{\"\":{\"\":{\"\":[[[]]]}}}",
                                        "{\"a\":true,\"b\":false,\"c\":null}",
                                        "{\"\\u00e9\\n\\\"\\\\\\/\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}",
                                        "{\"x\":\"\\ud83d\\ude00\",\"y\":\"\\uD7FF\\uE000\"}",
                                        "{\"a\":123456789012345678901234}"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_grammar g;
        assert_int_equal(accepted(texts[i], &g), strlen(texts[i]));
        assert_true(json_grammar_is_whole(&g));
        cJSON *parsed = cJSON_Parse(texts[i]);
        assert_non_null(parsed);
        cJSON_Delete(parsed);
    }
}

static void what_is_none_is_refused_at_its_byte(void **state) {
    static const struct {
        const char *text;
        size_t bytes; /* that are good */
    } cases[] = {{"[1]", 0},
                 {"1", 0},
                 {"{\"a\":01}", 6},
                 {"{\"a\":1.}", 7},
                 {"{\"a\":-}", 6},
                 {"{\"a\":1e}", 7},
                 {"{\"a\":tru }", 8},
                 {"{\"a\":1,}", 7},
                 {"{,", 1},
                 {"{\"a\" 1}", 5},
                 {"{\"a\":[1,]", 8},
                 {"{\"a\":[1}", 7},
                 {"{a:1}", 1},
                 {"{}x", 2},
                 {"{}{", 2},
                 {"{\"\t\"}", 2},
                 {"{\"\\x\"}", 3},
                 {"{\"\\u12g", 6},
                 {"{\"\\udc00", 5},
                 {"{\"\\ud800x", 8},
                 {"{\"\\ud800\\n", 9},
                 {"{\"\\ud800\\u0041", 10},
                 {"{\"\\ud800\\ud8", 11},
                 {"{\"\x80", 2},
                 {"{\"\xc0\xaf", 2},
                 {"{\"\xe0\x80", 3},
                 {"{\"\xed\xa0", 3},
                 {"{\"\xf4\x90", 3},
                 {"{\"\xc3\"", 3},
                 {"{\"\xff", 2},
                 {"{\"a\":1234567890123456789012345}", 29}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_grammar g;
        const size_t found = accepted(cases[i].text, &g);
        if (found != cases[i].bytes) fail_msg("%s: %zu bytes were accepted", cases[i].text, found);
    }
    char deep[2 * JSON_DEPTH + 8] = "{\"a\":";
    memset(deep + 5, '[', JSON_DEPTH);
    json_grammar g;
    assert_int_equal(accepted(deep, &g), 5 + JSON_DEPTH - 1);
    char spaces[2 * JSON_SPACES] = "{";
    memset(spaces + 1, ' ', sizeof spaces - 2);
    assert_int_equal(accepted(spaces, &g), 1 + JSON_SPACES);
}

static uint8_t any_byte(rng *r) {
    static const char likely[] = "{}[]\",:\\u19e.-tfn ad8";
    return rng_below(r, 2) ? (uint8_t)rng_below(r, 256) : (uint8_t)likely[rng_below(r, sizeof likely - 1)];
}

static uint8_t closing_byte(rng *r) {
    static const char ends[] = "\"}]0:\\u", others[] = "dc8eln";
    if (rng_below(r, 8)) return (uint8_t)ends[rng_below(r, sizeof ends - 1)];
    return rng_below(r, 3) ? (uint8_t)rng_below(r, 256) : (uint8_t)others[rng_below(r, sizeof others - 1)];
}

/* Whatever is drawn there is a way on, and the nearest way to the end is short: a text that is closed as soon as it may
 * be is JSON. */
static void random_bytes_become_json(void **state) {
    (void)state;
    rng r = rng_seed(1);
    for (int round = 0; round < 3000; round++) {
        json_grammar g = json_grammar_start();
        char text[4096];
        size_t bytes = 0;
        const size_t wild = rng_below(&r, 200);
        while (!json_grammar_is_whole(&g)) {
            json_grammar next = g;
            const uint8_t byte = bytes > wild ? closing_byte(&r) : any_byte(&r);
            assert_true(bytes < sizeof text - 1);
            if (!json_grammar_step(&next, byte)) continue;
            g = next;
            text[bytes++] = (char)byte;
        }
        text[bytes] = 0;
        cJSON *parsed = cJSON_Parse(text);
        if (!parsed) fail_msg("cJSON does not read %s", text);
        assert_true(cJSON_IsObject(parsed));
        cJSON_Delete(parsed);
    }
}

/* A mask says of each token what stepping through its bytes says, whichever states were asked about before. */
static void masks_are_what_steps_say(void **state) {
    (void)state;
    tokenizer *t = texts_tokenizer();
    json_masks *m = json_masks_create(t, TEXTS_IDS);
    rng r = rng_seed(2);
    json_grammar states[300];
    int count = 0;
    for (json_grammar g = json_grammar_start(); count < 300;) {
        states[count++] = g;
        const uint64_t *bits = json_masks_of(m, &g);
        int32_t allowed[TEXTS_IDS];
        int ways = 0;
        for (int32_t id = 0; id < TEXTS_IDS; id++) {
            json_grammar next = g;
            const bool said = bits[id / 64] >> id % 64 & 1;
            assert_int_equal(json_masks_step(m, &next, id), said);
            if (said) allowed[ways++] = id;
        }
        if (ways == 0 || json_grammar_is_whole(&g))
            g = json_grammar_start();
        else
            (void)json_masks_step(m, &g, allowed[rng_below(&r, (uint64_t)ways)]);
        if (rng_below(&r, 4) == 0) g = states[rng_below(&r, (uint64_t)count)];
    }
    json_grammar g = json_grammar_start();
    assert_false(json_masks_step(m, &g, TEXTS_BOS));
    assert_false(json_masks_step(m, &g, -1));
    assert_false(json_masks_step(m, &g, TEXTS_IDS));
    json_masks_free(m);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_accepted), cmocka_unit_test(what_is_none_is_refused_at_its_byte),
        cmocka_unit_test(random_bytes_become_json), cmocka_unit_test(masks_are_what_steps_say)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
