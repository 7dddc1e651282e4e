/* The keys of a recipe, and files of prompts that are wrong. */
#include "parents.h"

#include "config/load.h"
#include "surgery/recipe.h"

/* ---- keys ---- */

static status read_recipe(recipe *r, const char *const *overrides) {
    char *copies[4] = {NULL};
    int count = 0;
    while (overrides[count]) {
        copies[count] = xstrdup(overrides[count]);
        count++;
    }
    *r = recipe_default();
    status s = config_load(&recipe_schema, r, NULL, copies, count, NULL);
    for (int i = 0; i < count; i++) free(copies[i]);
    return s == STATUS_OK ? recipe_check(r) : s;
}

static void refuse(const char *a, const char *b, const char *part) {
    const char *const overrides[] = {a, b, NULL};
    recipe r;
    assert_fails(read_recipe(&r, overrides), part);
    recipe_free(&r);
}

static void wrong_keys(void **state) {
    (void)state;
    refuse("experts=0", NULL, "experts");
    refuse("experts=513", NULL, "experts");
    refuse("shared=65", NULL, "shared");
    refuse("drop=1.5", NULL, "drop");
    refuse("layers=[256]", NULL, "layers");
    refuse("gates=soft", NULL, "gates");
    refuse("router=hidden", NULL,
           "prompts: expected a file with prompts for each expert with router=hidden, found none");
    refuse("router=cheap_embed", NULL, "router=cheap_embed");
    refuse("router=cluster", "prompts=p.yaml", "prompts: has no meaning with router=cluster");
    refuse("prompts=p.yaml", NULL, "prompts: has no meaning with router=random");
    refuse("shared=0", "shared_gate=true", "shared_gate: has no meaning without shared experts");
    refuse("num_experts_per_tok=2", NULL, "top_k");
    refuse("gate_mode=hidden", NULL, "router");
    refuse("type=q8_0", NULL, "type");
    refuse("experts=3", "names=[a, b]", "names: expected a name for each of the 3 experts, found 2");
    refuse("names=[a, a]", NULL, "names: expected at most 64 different names");
    refuse("moe_expert_names=[a, b]", NULL, "names");
}

static void keys_become_options(void **state) {
    (void)state;
    const char *const overrides[] = {"gates=probability", "attention=average", "layers=[1, 2]", NULL};
    recipe r;
    assert_ok(read_recipe(&r, overrides));
    assert_int_equal(r.options.gate, GATE_PROBABILITY);
    assert_true(r.options.average);
    assert_true(r.options.layers[1] && r.options.layers[2] && !r.options.layers[0]);
    assert_true(r.options.scaled);
    recipe_free(&r);
}

/* ---- prompts ---- */

static status read_text(void **state, const char *text, int experts, bool shared, expert_prompts **prompts) {
    char *path = path_join(*state, "prompts.yaml");
    assert_ok(file_write_whole(path, text, strlen(text)));
    const status s = prompts_read(prompts, path, experts, shared);
    free(path);
    return s;
}

static void good_prompts(void **state) {
    static const char text[] = "experts:\n"
                               "  - {name: code, prompts: [main, \"for (;;)\"], negative: [king]}\n"
                               "  - prompts:\n"
                               "      - 250\n"
                               "shared:\n"
                               "  prompts: [all]\n";
    expert_prompts *p;
    assert_ok(read_text(state, text, 2, true, &p));
    assert_string_equal(p[0].name, "code");
    assert_int_equal(p[0].positive_count, 2);
    assert_string_equal(p[0].positive[1], "for (;;)");
    assert_string_equal(p[0].negative[0], "king");
    assert_null(p[1].name);
    assert_string_equal(p[1].positive[0], "250");
    assert_string_equal(p[2].positive[0], "all");
    assert_int_equal(prompts_names(p, 1).count, 1);
    assert_string_equal(prompts_names(p, 1).label[0], "code");
    assert_int_equal(prompts_names(p, 2).count, 0); /* the other one has none */
    prompts_free(p, 3);
}

static const struct {
    const char *text, *part;
} wrong[] = {
    {"", "found nothing"},
    {"- a\n", "experts: expected a list"},
    {"experts: 3\n", "experts: expected a list"},
    {"experts: []\n", "experts: expected 2, as the mixture has, found 0"},
    {"experts: [{prompts: [a]}]\n", "found 1"},
    {"experts: [{prompts: [a]}, {prompts: [a]}, {prompts: [a]}]\n", "found 3"},
    {"experts: [{prompts: [a]}, {prompts: []}]\n", "prompts: expected at least one text"},
    {"experts: [{prompts: [a]}, {name: x}]\n", "prompts: expected at least one text"},
    {"experts: [{prompts: [a]}, {prompts: a}]\n", "prompts: expected a list of texts"},
    {"experts: [{prompts: [a]}, {prompts: [[a]]}]\n", "prompts: expected a text"},
    {"experts: [{prompts: [a]}, {prompts: [\"\"]}]\n", "prompts: expected a text"},
    {"experts: [{prompts: [a]}, {prompts: [a], negative: {a: b}}]\n", "negative: expected a list of texts"},
    {"experts: [{prompts: [a]}, {prompts: [a], negative: [\"\"]}]\n", "negative: expected a text"},
    {"experts: [{prompts: [a]}, {prompts: [a], name: [b]}]\n", "name: expected a text"},
    {"experts: [{prompts: [a]}, {positive_prompts: [a]}]\n", "unknown key positive_prompts"},
    {"experts: [{prompts: [a]}, b]\n", "expected {name"},
    {"experts: [{prompts: [a]}, {prompts: [a]}]\nshard: {prompts: [a]}\n", "unknown key shard"},
    {"experts: [{prompts: [a]}, {prompts: [a]}\n", "prompts.yaml"},
    {"experts: &x [*x]\n", "prompts.yaml"},
};

static void wrong_prompts(void **state) {
    expert_prompts *p;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_fails(read_text(state, wrong[i].text, 2, false, &p), wrong[i].part);
        assert_non_null(strstr(error_message(), "prompts.yaml"));
    }
    static const char two[] = "experts: [{prompts: [a]}, {prompts: [a]}]\n";
    assert_fails(read_text(state, two, 2, true, &p), "shared: expected prompts for the shared MLP's gate, found none");
    assert_fails(prompts_read(&p, "/nonexistent/prompts.yaml", 2, false), "/nonexistent/prompts.yaml");
    assert_fails(prompts_read(&p, "/dev/zero", 2, false), "/dev/zero");
}

/* A file that is cut somewhere is refused or has fewer words, but is never read beyond its end. */
static void cut_prompts(void **state) {
    static const char text[] =
        "experts: [{name: a, prompts: [b, c], negative: [d]}, {prompts: [e]}]\nshared: {prompts: [f]}\n";
    for (size_t left = 0; left < sizeof text - 2; left++) {
        char *part = xstrdup(text);
        expert_prompts *p;
        part[left] = 0;
        if (read_text(state, part, 2, true, &p) == STATUS_OK) prompts_free(p, 3);
        free(part);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_keys), cmocka_unit_test(keys_become_options),
        in_scratch(good_prompts),     in_scratch(wrong_prompts),
        in_scratch(cut_prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
