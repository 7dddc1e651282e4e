/* What a text proposes of itself. */
#include "test.h"

#include "base/random.h"
#include "generate/lookup.h"

/* Letters are tokens. */
static int proposed(const char *text, char *out, int most) {
    int32_t tokens[256], found[32];
    const int64_t count = (int64_t)strlen(text);
    for (int64_t i = 0; i < count; i++) tokens[i] = text[i];
    const int n = draft_lookup(tokens, count, found, most);
    for (int i = 0; i < n; i++) out[i] = (char)found[i];
    out[n] = '\0';
    return n;
}

static void what_followed_before_is_proposed(void **state) {
    char out[33];
    (void)state;
    assert_int_equal(proposed("the cat sat. the c", out, 8), 8);
    assert_string_equal(out, "at sat. ");
    assert_int_equal(proposed("the cat sat. the c", out, 3), 3);
    assert_string_equal(out, "at ");
}

static void the_longest_end_counts_and_of_equal_ones_the_last(void **state) {
    char out[33];
    (void)state;
    assert_int_equal(proposed("in abcX, then bcY, and abc", out, 1), 1);
    assert_string_equal(out, "X"); /* " abc", not "bc" */
    assert_int_equal(proposed("abX abY ab", out, 1), 1);
    assert_string_equal(out, "Y");
    /* beyond LOOKUP_MOST nobody looks for more */
    assert_int_equal(proposed("1abcdefghijklmnopqrX 2abcdefghijklmnopqrY 1abcdefghijklmnopqr", out, 1), 1);
    assert_string_equal(out, "Y");
}

static void a_period_goes_on(void **state) {
    char out[33];
    (void)state;
    assert_int_equal(proposed("xabcabc", out, 8), 8);
    assert_string_equal(out, "abcabcab");
    assert_int_equal(proposed("zzz", out, 5), 5);
    assert_string_equal(out, "zzzzz");
}

static void nothing_is_made_up(void **state) {
    char out[33];
    (void)state;
    assert_int_equal(proposed("abcdefg", out, 8), 0);
    assert_int_equal(proposed("abcdaXa", out, 8), 0); /* one token is no end */
    assert_int_equal(proposed("a", out, 8), 0);
    assert_int_equal(proposed("ab", out, 8), 0);
    assert_int_equal(proposed("aa", out, 8), 0);
    assert_int_equal(draft_lookup(NULL, 0, NULL, 0), 0);
}

/* The definition, word for word. */
static int slowly(const int32_t *tokens, int64_t count, int32_t *out, int most) {
    for (int length = LOOKUP_MOST; length >= LOOKUP_LEAST; length--)
        for (int64_t at = count - 1; at >= length; at--) {
            if (memcmp(tokens + at - length, tokens + count - length, (size_t)length * sizeof *tokens) != 0) continue;
            for (int i = 0; i < most; i++) out[i] = at + i < count ? tokens[at + i] : out[at + i - count];
            return most;
        }
    return 0;
}

static void random_texts_are_looked_up_as_defined(void **state) {
    int32_t tokens[120], found[15], expected[15];
    rng r = rng_seed(6);
    int any = 0;
    (void)state;
    for (int round = 0; round < 2000; round++) {
        const int64_t count = 1 + (int64_t)rng_below(&r, 120);
        const uint64_t letters = 1 + rng_below(&r, 12);
        for (int64_t i = 0; i < count; i++) tokens[i] = (int32_t)rng_below(&r, letters);
        const int n = draft_lookup(tokens, count, found, 15);
        assert_int_equal(n, slowly(tokens, count, expected, 15));
        assert_memory_equal(found, expected, (size_t)n * sizeof *found);
        any += n > 0;
    }
    assert_in_range(any, 500, 1990);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_followed_before_is_proposed),
        cmocka_unit_test(the_longest_end_counts_and_of_equal_ones_the_last),
        cmocka_unit_test(a_period_goes_on),
        cmocka_unit_test(nothing_is_made_up),
        cmocka_unit_test(random_texts_are_looked_up_as_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
