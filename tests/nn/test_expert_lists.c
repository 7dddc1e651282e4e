/* Lists of experts as people write them. */
#include "test.h"

#include "nn/expert_names.h"

static moe_config named(void) {
    moe_config c = {.experts = 3};
    assert_true(labels_add(&c.names, "code") && labels_add(&c.names, "0") && labels_add(&c.names, "two words"));
    return c;
}

static void assert_list(const moe_config *c, const char *list, int expected) { /* bits */
    bool chosen[3] = {false};
    assert_ok(experts_read(c, "--expert", list, chosen));
    assert_int_equal(chosen[0] + 2 * chosen[1] + 4 * chosen[2], expected);
}

static void names_and_numbers(void **state) {
    (void)state;
    const moe_config c = named(), none = {.experts = 3};
    assert_list(&c, "code", 1);
    assert_list(&c, "two words,code", 5);
    assert_list(&c, "2", 4);
    assert_list(&c, "0", 2); /* a name goes before a number */
    assert_list(&c, "code,code", 1);
    assert_list(&none, "0,2", 5);
}

static void what_is_no_expert(void **state) {
    (void)state;
    static const char *const wrong[] = {"",     "3",   "-1",    "00",      "code,", ",code",
                                        "Code", "cod", "codes", "code, 2", "1e0"};
    const moe_config c = named(), none = {.experts = 2};
    bool chosen[3];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(experts_read(&c, "--omit", wrong[i], chosen),
                     "--omit: expected names or numbers of experts, found `");
    assert_non_null(strstr(error_message(), "the experts are code, 0, two words"));
    assert_fails(experts_read(&none, "--omit", "2", chosen), "the experts are expert 0, expert 1, by their numbers");
}

/* Those that are chosen keep their numbers. */
static void some_of_them(void **state) {
    (void)state;
    const moe_config c = named(), none = {.experts = 3};
    const bool chosen[] = {false, true, true};
    char text[40];
    assert_string_equal(expert_list(&none, chosen, text, sizeof text), "expert 1, expert 2");
    assert_string_equal(expert_list(&c, chosen, text, sizeof text), "0, two words");
}

/* Many experts are cut, not more than there is room. */
static void long_lists(void **state) {
    (void)state;
    const moe_config many = {.experts = 512}, one = {.experts = 1};
    char text[40], exact[sizeof "expert 0"];
    expert_list(&many, NULL, text, sizeof text);
    assert_string_equal(text, "expert 0, expert 1, expert 2, expert...");
    assert_string_equal(expert_list(&one, NULL, exact, sizeof exact), "expert 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers),
        cmocka_unit_test(what_is_no_expert),
        cmocka_unit_test(some_of_them),
        cmocka_unit_test(long_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
