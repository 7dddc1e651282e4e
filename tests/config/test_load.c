/* Files that build on others: which value wins, whose it was, circles, and how many files one configuration may be. */
#include "toy.h"

#include <time.h>
#include <unistd.h>

static char *folder;

static void write_file(const char *name, const char *text) {
    char *path = path_join(folder, name);
    assert_ok(file_write_whole(path, text, strlen(text)));
    free(path);
}

static status load(toy *t, const char *name, char *const *overrides, int count, int *texts) {
    char *path = path_join(folder, name);
    *t = toy_default();
    const status s = config_load(&toy_schema, t, path, overrides, count, texts);
    free(path);
    return s;
}

static void refused(const char *name, const char *part) {
    toy t;
    assert_fails(load(&t, name, NULL, 0, NULL), part);
    schema_free(&toy_schema, &t);
}

static void later_wins(void **state) {
    (void)state;
    write_file("first.yaml", "lions: 1\nhunger: 0.1\nwidth: 1\nkeeper: a\n");
    write_file("second.yaml", "base: first.yaml\nlions: 2\nhunger: 0.2\n");
    write_file("third.yaml", "hunger: 0.3\n");
    write_file("last.yaml", "keeper: d\nbase: [./second.yaml, third.yaml]\n");
    toy t;
    int texts[16] = {0};
    assert_true(schema_size(&toy_schema) <= 16);
    assert_ok(load(&t, "last.yaml", (char *[]){"doors=true", "width=4"}, 2, texts));
    assert_int_equal(t.animals.lions, 2);
    assert_true(t.animals.hunger == 0.3f && t.doors.width == 4 && t.doors.doors);
    assert_string_equal(t.animals.keeper, "d");
    static const struct {
        const char *key;
        int text;
    } givers[] = {{"lions", 2}, {"hunger", 3}, {"keeper", 4}, {"width", 5}, {"doors", 5}, {"cages", 0}};
    for (size_t i = 0; i < sizeof givers / sizeof *givers; i++)
        assert_int_equal(texts[schema_find(&toy_schema, givers[i].key)], givers[i].text);
    schema_free(&toy_schema, &t);
}

static void bases(void **state) {
    (void)state;
    write_file("only.yaml", "base: first.yaml\n"); /* a name for another file */
    toy t;
    assert_ok(load(&t, "only.yaml", NULL, 0, NULL));
    assert_int_equal(t.animals.lions, 1);
    schema_free(&toy_schema, &t);
    write_file("missing.yaml", "base: nowhere.yaml\n");
    refused("missing.yaml", "nowhere.yaml");
    write_file("mapping.yaml", "lions: 5\nbase: {a: b}\n");
    refused("mapping.yaml", "mapping.yaml:2: base: expected the path of a preset");
    write_file("nothing.yaml", "base:\n");
    refused("nothing.yaml", "nothing.yaml:1: base: expected the path of a preset");
    write_file("twice.yaml", "base: first.yaml\nbase: first.yaml\n");
    refused("twice.yaml", "twice.yaml:2: base is given twice, first on line 1");
    write_file("wrong.yaml", "lions: 99\n");
    write_file("outer.yaml", "base: wrong.yaml\n");
    refused("outer.yaml", "wrong.yaml:1: lions: expected an integer");
    write_file("empty.yaml", "# nothing\n");
    write_file("on-empty.yaml", "base: empty.yaml\nlions: 1\n");
    refused("on-empty.yaml", "empty.yaml: expected keys and values, found none");
    assert_fails(toy_parse(&t, "base: first.yaml\nlions: 1\n"), "unknown key base"); /* a text has no folder */
}

static void circles(void **state) {
    (void)state;
    write_file("itself.yaml", "base: itself.yaml\n");
    refused("itself.yaml", "itself.yaml:1: base: found a circle: ");
    write_file("a.yaml", "lions: 1\nbase: b.yaml\n");
    write_file("b.yaml", "base: [first.yaml, c.yaml]\n");
    write_file("c.yaml", "base: ./b.yaml\n");
    char *circle =
        xasprintf("c.yaml:1: base: found a circle: %s/b.yaml > %s/c.yaml > %s/b.yaml", folder, folder, folder);
    refused("a.yaml", circle);
    free(circle);
    char *target = path_join(folder, "link.yaml"), *link = path_join(folder, "linked.yaml");
    write_file("link.yaml", "base: linked.yaml\n"); /* the same file by another name */
    assert_int_equal(symlink(target, link), 0);
    refused("link.yaml", "link.yaml:1: base: found a circle: ");
    free(target);
    free(link);
}

/* Names of presets, each ten times as a base of the one before it: 10^7 readings of the last. */
static void write_tower(bool closed) {
    for (int i = 0; i < 8; i++) {
        char name[16], text[256] = "lions: 1\nbase: [", entry[16];
        snprintf(name, sizeof name, "p%d.yaml", i);
        snprintf(entry, sizeof entry, "p%d.yaml", closed ? (i + 1) % 8 : i + 1);
        for (int n = 0; n < 10 && (closed || i < 7); n++) strcat(strcat(text, n ? ", " : ""), entry);
        strcat(text, "]\n");
        write_file(name, text);
    }
}

static void bounded(void **state) {
    (void)state;
    const clock_t started = clock();
    write_tower(true);
    refused("p0.yaml", "p7.yaml:2: base: found a circle: ");
    write_tower(false);
    refused("p0.yaml", "base: expected a configuration of at most 32 files, found more");
    assert_true(clock() - started < 5 * CLOCKS_PER_SEC);
    /* A chain of as many files is fine, one more is not. */
    for (int i = 0; i < CONFIG_MAX_FILES; i++) {
        char name[16], text[64] = "lions: 7\n";
        snprintf(name, sizeof name, "chain%d", i);
        if (i > 0) snprintf(text, sizeof text, "base: chain%d\n", i - 1);
        write_file(name, text);
    }
    toy t;
    assert_ok(load(&t, "chain31", NULL, 0, NULL));
    assert_int_equal(t.animals.lions, 7);
    write_file("chain32", "base: chain31\n");
    refused("chain32", "chain1:1: base: expected a configuration of at most 32 files, found more");
}

int main(void) {
    folder = scratch_create();
    const struct CMUnitTest tests[] = {cmocka_unit_test(later_wins), cmocka_unit_test(bases), cmocka_unit_test(circles),
                                       cmocka_unit_test(bounded)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    scratch_remove(folder);
    return failed;
}
