/* What differs between two zoos, and which differences matter. */
#include "toy.h"

#include "config/compare.h"
#include <unistd.h>

static toy parsed(const char *yaml) {
    toy t = toy_default();
    assert_ok(toy_parse(&t, yaml));
    return t;
}

static void check(const char *was, const char *is, const char *others, const char *harmless) {
    toy a = parsed(was), b = parsed(is);
    config_differences d = config_compare(&toy_schema, &a, &b);
    const char *const expected[2] = {others, harmless};
    for (int i = 0; i < 2; i++) {
        char *text = config_differences_text(&d, i);
        assert_string_equal(text, expected[i]);
        assert_int_equal(config_differences_count(&d, i) > 0, *expected[i] != '\0');
        free(text);
    }
    config_differences_free(&d);
    schema_free(&toy_schema, &a);
    schema_free(&toy_schema, &b);
}

static void differences(void **state) {
    (void)state;
    check("lions: 3\n", "lions: 3\n", "", "");
    check("lions: 3\n", "lions: 4\nhunger: 0.25\n", "lions 3 -> 4, hunger 0.5 -> 0.25", "");
    check("lions: 3\n", "lions: 3\ncages: [1, 3]\n", "cages [] -> [1, 3]", "");
    check("keeper: ann\n", "keeper: ~\n", "", "keeper ann -> (none)"); /* the zoo is the same, whoever keeps it */
    check("visits: [{who: family, hour: 9}]\n",
          "visits: [{who: family, before: 9}, {who: school, hour: 1, children: 3}]\n",
          "visits [{who: family, hour: 9, children: 2}] -> [{who: family, before: 9, children: 2}, "
          "{who: school, hour: 1, children: 3}]",
          "");
}

static void growing(void **state) {
    (void)state;
    check("width: 2\n", "width: 3\n", "", "width 2 -> 3");
    check("width: 3\n", "width: 2\n", "width 3 -> 2", "");
}

/* A place is the same however its path is written; a path that leads nowhere is its text. */
static void check_place(const char *was, const char *is, const char *expected) {
    typedef struct place {
        char *house;
    } place;
    static const config_field fields[] = {
        CONFIG_FIELD_CHANGE(place, "house", FIELD_STRING, house, 0, 0, NULL, CHANGE_ANOTHER_PLACE, "of the lions")};
    static const config_section section = {"place", TABLE_AND_COUNT(fields), NULL, 0};
    static const config_part parts[] = {{&section, 0}};
    static const config_schema schema = {TABLE_AND_COUNT(parts)};
    place a = {.house = (char *)was}, b = {.house = (char *)is};
    config_differences d = config_compare(&schema, &a, &b);
    char *text = config_differences_text(&d, false);
    assert_string_equal(text, expected);
    free(text);
    config_differences_free(&d);
}

static void places(void **state) {
    char *here = path_join(*state, "."), *link = path_join(*state, "link");
    assert_int_equal(symlink(*state, link), 0);
    check_place(*state, here, "");
    check_place(link, *state, "");
    check_place("nowhere/a", "nowhere/a", "");
    check_place("nowhere/a", "nowhere/./a", "house nowhere/a -> nowhere/./a");
    check_place("/", "/tmp", "house / -> /tmp");
    check_place("/", NULL, "house / -> (none)");
    free(link);
    free(here);
}

static void copies(void **state) {
    (void)state;
    toy a = parsed("{lions: 7, hunger: 0.125, keeper: bob, cages: [7], doors: true, width: 4}"), b = toy_default();
    for (int i = 0; i < schema_size(&toy_schema); i++) {
        const config_field f = schema_key(&toy_schema, i).field;
        if (f.type != FIELD_RECORDS) field_copy(&f, &a, &b);
    }
    config_differences d = config_compare(&toy_schema, &a, &b);
    assert_int_equal(d.count, 0);
    config_differences_free(&d);
    assert_ptr_not_equal(a.animals.keeper, b.animals.keeper);
    schema_free(&toy_schema, &a);
    schema_free(&toy_schema, &b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences),
        cmocka_unit_test(growing),
        in_scratch(places),
        cmocka_unit_test(copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
