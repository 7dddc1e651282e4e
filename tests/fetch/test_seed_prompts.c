/* Files of prompts, and the questions that they become. */
#include "fetch/seed_prompts.h"
#include "test.h"

static status read_text(const char *folder, const char *text, seed_prompts *p) {
    char *path = path_join(folder, "p.yaml");
    assert_ok(file_write_whole(path, text, strlen(text)));
    status s = seed_prompts_read(p, path);
    free(path);
    return s;
}

static void test_reads(void **state) {
    seed_prompts p;
    assert_ok(read_text(
        *state,
        "domains:\n"
        "  code: {system: Be short., vary: {thing: [a, b, c]}, prompts: ['Write {thing} or {thing}, {0}', Two]}\n"
        "  prose: {prompts: [One]}\n",
        &p));
    assert_int_equal(p.count, 2);
    assert_string_equal(p.domains[0].system, "Be short.");
    assert_null(p.domains[1].system);
    int64_t seeds[3], other;
    bool seen[3] = {false};
    for (int i = 0; i < 64; i++) {
        char *text = seed_prompts_question(&p.domains[0], 0, i, 7, &seeds[i % 3]);
        const char word = text[6];
        char *wanted = xasprintf("Write %c or %c, {0}", word, word);
        assert_string_equal(text, wanted);
        seen[word - 'a'] = true;
        char *same = seed_prompts_question(&p.domains[0], 0, i, 7, &other);
        assert_string_equal(text, same);
        assert_int_equal(other, seeds[i % 3]);
        assert_in_range(other, 0, INT32_MAX);
        free(same);
        free(wanted);
        free(text);
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    assert_true(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
    seed_prompts_free(&p);
}

/* A question is the same wherever its prompt stands; another system's text makes another one. */
static void test_what_a_question_depends_on(void **state) {
    seed_prompts p, q;
    int64_t a, b;
    assert_ok(read_text(*state, "domains: {x: {vary: {w: [a, b, c, d]}, prompts: ['One {w}', 'Two {w}']}}", &p));
    assert_ok(read_text(*state,
                        "domains: {y: {prompts: [z]}, x: {vary: {w: [a, b, c, d]}, prompts: [Zero, 'Two {w}']}}", &q));
    char *first = seed_prompts_question(&p.domains[0], 1, 5, 1, &a),
         *moved = seed_prompts_question(&q.domains[1], 1, 5, 1, &b);
    assert_string_equal(first, moved);
    assert_int_equal(a, b);
    free(moved);
    q.domains[1].system = xstrdup("Otherwise.");
    free(seed_prompts_question(&q.domains[1], 1, 5, 1, &b));
    assert_int_not_equal(a, b);
    free(seed_prompts_question(&p.domains[0], 1, 5, 2, &b));
    assert_int_not_equal(a, b);
    free(first);
    seed_prompts_free(&p);
    seed_prompts_free(&q);
}

static void test_refuses(void **state) {
    static const char *const wrong[][2] = {
        {"", "expected `domains:` and nothing beside it"},
        {"[a]", "expected `domains:` and nothing beside it"},
        {"domains: {a: {prompts: [x]}}\nmore: 1", "expected `domains:` and nothing beside it"},
        {"domains: 3", "domains: expected a mapping"},
        {"domains: {}", "domains: expected a mapping"},
        {"domains: {a: [x]}", "a domain: expected keys and values"},
        {"domains: {a: {prompt: [x]}}", "unknown key prompt of a domain; the nearest is prompts"},
        {"domains: {a: {system: x}}", "a: expected prompts"},
        {"domains: {a: {prompts: x}}", "prompts: expected a list of texts, found `x`"},
        {"domains: {a: {prompts: []}}", "prompts: expected at least one"},
        {"domains: {a: {prompts: ['']}}", "prompts: expected a text of 1 to 4096 bytes, found 0"},
        {"domains: {a: {prompts: [{x: 1}]}}", "prompts: expected a text, found a mapping"},
        {"domains: {a: {prompts: [x, y, x]}}", "prompts: number 1 and number 3 are the same"},
        {"domains: {a: {prompts: [x]}, a: {prompts: [x]}}", "a is given twice"},
        {"domains: {../a: {prompts: [x]}}", "expected a domain's name"},
        {"domains: {a: {vary: [x], prompts: [x]}}", "vary: expected a mapping"},
        {"domains: {a: {vary: {w: []}, prompts: ['{w}']}}", "w: expected at least one"},
        {"domains: {a: {vary: {w: [x]}, prompts: ['{v}']}}", "a: vary: no prompt has {w} in it"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        seed_prompts p;
        assert_fails(read_text(*state, wrong[i][0], &p), wrong[i][1]);
        assert_non_null(strstr(error_message(), "p.yaml"));
        seed_prompts_free(&p);
    }
}

static void test_the_demos(void **state) {
    (void)state;
    static const char *const names[] = {"code",  "manuals",      "dictionary", "scripture",
                                        "prose", "conversation", "instruction"};
    seed_prompts p;
    int64_t seed;
    assert_ok(seed_prompts_read(&p, "configs/teach/demo-domains.yaml"));
    assert_int_equal(p.count, 7);
    for (int i = 0; i < p.count; i++) {
        assert_string_equal(p.domains[i].name, names[i]);
        for (int j = 0; j < p.domains[i].prompts.count; j++) {
            char *text = seed_prompts_question(&p.domains[i], j, 0, 1, &seed);
            assert_null(strpbrk(text, "{}")); /* every place has its words */
            free(text);
        }
    }
    assert_non_null(strstr(p.domains[2].system, "abandon, forsake (verb)\n    leave"));
    seed_prompts_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {in_scratch(test_reads), in_scratch(test_what_a_question_depends_on),
                                       in_scratch(test_refuses), cmocka_unit_test(test_the_demos)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
