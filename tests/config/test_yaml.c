/* The tree of a YAML text: what it says, what is refused, and that nothing costs more than its bytes. */
#include "test.h"

#include "config/yaml.h"
#include <time.h>

static yaml_document d;

static status read_bytes(const char *text, size_t bytes) {
    return yaml_read(&d, "x.yaml", true, text, bytes);
}

static void refused(const char *text, const char *part) {
    assert_fails(read_bytes(text, strlen(text)), part);
    yaml_close(&d);
}

static void nodes(void **state) {
    (void)state;
    const char *text = "# a comment\nsteps: 4\nlayers: [1, '2']\nempty: {}\nnothing:\n";
    assert_ok(read_bytes(text, strlen(text)));
    const yaml_node *steps = d.root->first, *layers = steps->next, *empty = layers->next, *nothing = empty->next;
    assert_int_equal(d.root->kind, YAML_MAPPING);
    assert_string_equal(steps->text, "steps");
    assert_int_equal(steps->line, 2);
    assert_string_equal(steps->value->text, "4");
    assert_int_equal(layers->value->kind, YAML_LIST);
    assert_false(layers->value->first->quoted);
    assert_true(layers->value->first->next->quoted);
    assert_string_equal(layers->value->first->next->text, "2");
    assert_null(layers->value->first->next->next);
    assert_true(empty->value->kind == YAML_MAPPING && !empty->value->first);
    assert_true(yaml_is_null(nothing->value) && !yaml_is_null(steps->value));
    assert_null(nothing->next);
    yaml_close(&d);
    assert_ok(read_bytes("# nothing\n", 10));
    assert_null(d.root);
    yaml_close(&d);
}

static void refusals(void **state) {
    (void)state;
    refused("a: [1\n", "x.yaml:2: not YAML: ");
    refused("a: \xff\n", "not YAML: ");
    refused("a: 1\n---\nb: 2\n", "x.yaml:2: expected one YAML document, found a second");
    refused("---\n---\n", "x.yaml:2: expected one YAML document, found a second");
    refused("[a]: 4\n", "x.yaml:1: expected a plain key");
    refused("a: 1\nb: &x 2\n", "x.yaml:2: expected values without anchors and aliases, found &x");
    refused("a: &x [1]\n", "x.yaml:1: expected values without anchors and aliases, found &x");
    refused("&x {a: 1}\n", "x.yaml:1: expected values without anchors and aliases, found &x");
    refused("a: *x\n", "x.yaml:1: expected values without anchors and aliases, found *x");
    refused("a: \"b\\0c\"\n", "x.yaml:1: expected a text without NUL characters, found one behind `b`");
    /* Without lines, as an override is. */
    assert_fails(yaml_read(&d, "override a=[", false, "[", 1), "override a=[: not YAML: ");
    yaml_close(&d);
}

/* ---- bounds ---- */

static char *repeated(const char *part, size_t count) {
    const size_t length = strlen(part);
    char *text = xmalloc(length * count + 1);
    for (size_t i = 0; i < count; i++) memcpy(text + i * length, part, length);
    text[length * count] = '\0';
    return text;
}

/* 100,000 levels took half a minute before they were counted. */
static void expect_quick_refusal(const char *part_of_text, size_t count, const char *part) {
    char *text = repeated(part_of_text, count);
    const clock_t started = clock();
    assert_fails(read_bytes(text, strlen(text)), part);
    yaml_close(&d);
    assert_true(clock() - started < 5 * CLOCKS_PER_SEC);
    free(text);
}

static void deep(void **state) {
    (void)state;
    expect_quick_refusal("[", 100000, "x.yaml:1: expected at most 16 lists and mappings within one another");
    expect_quick_refusal("{a: ", 60000, "x.yaml:1: expected at most 16 lists and mappings within one another");
    expect_quick_refusal("- ", 100000, "x.yaml:1: expected at most 16 lists and mappings within one another");
    char *open = repeated("[", YAML_MAX_DEPTH), *close = repeated("]", YAML_MAX_DEPTH), *all;
    all = xasprintf("%s%s", open, close);
    assert_ok(read_bytes(all, strlen(all)));
    yaml_close(&d);
    free(open);
    free(close);
    free(all);
}

static void large(void **state) {
    (void)state;
    expect_quick_refusal("- 1\n", 40000, "expected at most 16384 keys and values");
    expect_quick_refusal("# a comment\n", 40000, "x.yaml: expected a YAML text of at most 262144 bytes, found 480000");
    /* libyaml compares every tag directive with those before it. */
    char *text = xmalloc(YAML_MAX_BYTES);
    size_t bytes = 0;
    for (int i = 0; bytes + 32 < YAML_MAX_BYTES; i++) bytes += (size_t)sprintf(text + bytes, "%%TAG !%x! b\n", i);
    const clock_t started = clock();
    assert_fails(read_bytes(text, bytes), "not YAML");
    yaml_close(&d);
    assert_true(clock() - started < 20 * CLOCKS_PER_SEC);
    free(text);
}

/* Every prefix and every changed byte is read or refused with a message, and nothing is left (the sanitizers see to that). */
static void damaged(void **state) {
    (void)state;
    char text[] = "train: {batch: 4, run: \"a\\u00e9\"}\nevents:\n  - {at: 0.3, layers: [1, 2]}\n  - ~\n";
    int refused_count = 0;
    for (size_t length = 0; length < sizeof text; length++) {
        if (read_bytes(text, length) != STATUS_OK) refused_count += strncmp(error_message(), "x.yaml:", 7) == 0;
        yaml_close(&d);
    }
    assert_true(refused_count > 10);
    for (size_t i = 0; i + 1 < sizeof text; i++)
        for (int bit = 0; bit < 8; bit++) {
            text[i] ^= (char)(1 << bit);
            if (read_bytes(text, sizeof text - 1) != STATUS_OK)
                assert_int_equal(strncmp(error_message(), "x.yaml:", 7), 0);
            yaml_close(&d);
            text[i] ^= (char)(1 << bit);
        }
}

/* ---- writing ---- */

static char *on_one_line(const char *text) {
    char *line;
    size_t bytes;
    FILE *out = open_memstream(&line, &bytes);
    assert_ok(read_bytes(text, strlen(text)));
    yaml_write_value(out, d.root);
    fclose(out);
    yaml_close(&d);
    return line;
}

static void on_one_line_and_back(void **state) {
    (void)state;
    static const struct {
        const char *text, *line;
    } cases[] = {
        {"a 'b'", "a 'b'"},
        {"'it''s'", "it's"},
        {"- 1\n- x y\n- '3'\n-\n", "[1, x y, \"3\", null]"},
        {"- a, b\n- \"c\\nd\"\n- []\n", "[\"a, b\", \"c\\u000Ad\", []]"},
        {"k: {at: 0.3, do: loop}\n", "{k: {at: 0.3, do: loop}}"},
        {"- {'a: b': -1e-3}\n", "[{\"a: b\": -1e-3}]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *line = on_one_line(cases[i].text);
        assert_string_equal(line, cases[i].line);
        char *again = strchr("[{", *line) ? on_one_line(line) : xstrdup(line);
        assert_string_equal(again, line);
        free(again);
        free(line);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nodes),   cmocka_unit_test(refusals),
                                       cmocka_unit_test(deep),    cmocka_unit_test(large),
                                       cmocka_unit_test(damaged), cmocka_unit_test(on_one_line_and_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
