/* Recipes of domains: ours, and broken ones. */
#include "fetch/data_recipe.h"
#include "test.h"

static void test_ours(void **state) {
    (void)state;
    data_recipe r;
    assert_ok(data_recipe_read(&r, "configs/data/specialists.yaml"));
    assert_int_equal(r.count, 4);
    for (int i = 0; i < r.count; i++) assert_true(r.sources[i].dataset && r.sources[i].licence && r.sources[i].fields);
    assert_string_equal(r.sources[0].config, "wikitext-103-raw-v1");
    assert_int_equal(r.sources[1].rows, 2000);
    assert_string_equal(r.sources[3].fields, "instruction,context,response");
    data_recipe_free(&r);
    assert_ok(data_recipe_read(&r, "configs/data/demo.yaml"));
    assert_int_equal(r.count, 4);
    assert_string_equal(r.sources[2].path, "data/corpora/dictionary");
    data_recipe_free(&r);
}

static void test_broken(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {{"", "expected a mapping from domains"},
                 {"[a]", "expected a mapping from domains"},
                 {"a: b", "a domain: expected keys and values"},
                 {"a: {datset: b}", "the nearest is dataset"},
                 {"a: {licence: b}", "expected one of dataset and path"},
                 {"a: {dataset: b, path: c}", "expected one of dataset and path"},
                 {"a: {dataset: ../b}", "expected a repository as ORG/NAME"},
                 {"a: {dataset: b, rows: 0}", "rows: expected an integer from 1"},
                 {"a: {dataset: b, rows: many}", "rows: expected an integer from 1"},
                 {"../a: {dataset: b}", "expected a domain's name"},
                 {"a/b: {dataset: b}", "expected a domain's name"},
                 {"a: {dataset: b}\na: {dataset: b}", "recipe.yaml:2: a is given twice"},
                 {"a: &x {dataset: b}\nc: *x", "recipe.yaml:"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = path_join(*state, "recipe.yaml");
        data_recipe r;
        assert_ok(file_write_whole(path, cases[i].text, strlen(cases[i].text)));
        assert_fails(data_recipe_read(&r, path), cases[i].message);
        assert_non_null(strstr(error_message(), path));
        data_recipe_free(&r);
        free(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ours), in_scratch(test_broken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
