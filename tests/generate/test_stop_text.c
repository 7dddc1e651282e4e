/* Stop strings, however the text is cut into tokens. */
#include "test.h"

#include "base/random.h"
#include "generate/stop_text.h"

/* The text fed in these pieces; returns what was shown, *met the stop. */
static void feed(const char *text, const size_t *cuts, size_t count, const char *const *stops, int stop_count, bool all,
                 char shown[256], const char **met) {
    stop_text *s = stop_text_create(stops, stop_count);
    size_t at = 0, total = 0;
    *met = NULL;
    for (size_t i = 0; i < count && !*met; i++) {
        const char *out;
        size_t bytes;
        *met = stop_text_feed(s, text + at, cuts[i] - at, &out, &bytes);
        assert_int_equal(out[bytes], 0);
        at = cuts[i];
        if (i + 1 == count && all && !*met) out = stop_text_all(s, &bytes);
        memcpy(shown + total, out, bytes);
        total += bytes;
    }
    if (!*met && !all) {
        size_t bytes;
        const char *rest = stop_text_rest(s, &bytes);
        assert_int_equal(rest[bytes], 0);
        memcpy(shown + total, rest, bytes);
        total += bytes;
    }
    shown[total] = 0;
    if (*met) /* it is the caller's array that names it */
        for (int i = 0; i < stop_count; i++)
            if (strcmp(*met, stops[i]) == 0) *met = stops[i];
    stop_text_free(s);
}

static void check(const char *text, const char *const *stops, int stop_count, const char *expected, const char *stop) {
    const size_t length = strlen(text);
    rng r = rng_seed(length);
    for (int round = 0; round < 200; round++) {
        size_t cuts[64], count = 0;
        char shown[256];
        const char *met;
        for (size_t at = 0; at < length;) {
            at += round == 0 ? 1 : 1 + rng_below(&r, round < 100 ? 4 : 30);
            cuts[count++] = at < length ? at : length;
        }
        feed(text, cuts, count, stops, stop_count, round % 2, shown, &met);
        assert_string_equal(shown, expected);
        if (stop)
            assert_string_equal(met, stop);
        else
            assert_null(met);
    }
}

static void a_text_ends_before_a_stop_string(void **state) {
    static const char *const one[] = {"END"}, *const two[] = {"###", "\n\n"}, *const nested[] = {"abcd", "bc"};
    static const char *const repeating[] = {"aab"}, *const same[] = {"xyz", "yz"};
    (void)state;
    check("some text END more", one, 1, "some text ", "END");
    check("END", one, 1, "", "END");
    check("E EN ENE ENDE", one, 1, "E EN ENE ", "END");
    check("no stop EN", one, 1, "no stop EN", NULL);
    check("line\n\nnext ###", two, 2, "line", "\n\n");
    check("line ## # ### \n\n", two, 2, "line ## # ", "###");
    check("xabcd", nested, 2, "xa", "bc");
    check("aaaaab!", repeating, 1, "aaa", "aab");
    check("wxyz", same, 2, "w", "xyz");
    check("caf\xc3\xa9 EN\xc3\xa9", one, 1, "caf\xc3\xa9 EN\xc3\xa9", NULL);
}

/* Nothing is held back that no stop string begins with. */
static void text_is_shown_as_soon_as_it_may_be(void **state) {
    static const char *const stops[] = {"stop!", "st."};
    (void)state;
    stop_text *s = stop_text_create(stops, 2);
    const char *out;
    size_t bytes;
    assert_null(stop_text_feed(s, "first", 5, &out, &bytes));
    assert_string_equal(out, "fir");
    assert_null(stop_text_feed(s, "o", 1, &out, &bytes));
    assert_string_equal(out, "");
    assert_null(stop_text_feed(s, "p", 1, &out, &bytes));
    assert_string_equal(out, "");
    assert_null(stop_text_feed(s, "?", 1, &out, &bytes));
    assert_string_equal(out, "stop?");
    stop_text_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_text_ends_before_a_stop_string),
                                       cmocka_unit_test(text_is_shown_as_soon_as_it_may_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
