/* Sections of keys that nothing in config/ knows: reading, refusing, overriding, checking, writing, describing. */
#include "toy.h"

#include "config/read.h"

static char *written(const toy *t) {
    char *folder = scratch_create(), *path = path_join(folder, "zoo.yaml");
    uint8_t *bytes;
    size_t count;
    assert_ok(config_write(&toy_schema, t, path));
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    free(path);
    scratch_remove(folder);
    return (char *)bytes;
}

static void sections_and_flat_keys(void **state) {
    (void)state;
    toy t = toy_default();
    assert_ok(toy_parse(&t, "animals: {lions: 3, cages: [1, 7]}\nhunger: 0.1\nanimals.keeper: 'a b'\ndoors: true\n"));
    assert_int_equal(t.animals.lions, 3);
    assert_true(t.animals.hunger == 0.1f && t.animals.cages[1] && t.animals.cages[7] && !t.animals.cages[0]);
    assert_string_equal(t.animals.keeper, "a b");
    assert_true(t.doors.doors);
    assert_ok(toy_parse(&t, "doors: {doors: false, width: 4}\nkeeper: ~\nanimals:\n  # all comments\n"));
    assert_true(!t.doors.doors && t.doors.width == 4);
    assert_null(t.animals.keeper);
    schema_free(&toy_schema, &t);
}

static void refused(const char *yaml, const char *message) {
    toy t = toy_default();
    assert_int_equal(toy_parse(&t, yaml), STATUS_USAGE);
    assert_string_equal(error_message(), message);
    schema_free(&toy_schema, &t);
}

static void refusals(void **state) {
    (void)state;
    refused("lions: ten\n", "z.yaml:1: lions: expected an integer from 0 to 9, found `ten`");
    refused("cages: [8]\n", "z.yaml:1: cages: expected a list of numbers from 0 to 7, such as [4, 5], found a list");
    refused("width: {a: 1}\n", "z.yaml:1: width: expected an integer from 1 to 4, found a mapping");
    refused("loins: 1\n", "z.yaml:1: unknown key loins; the nearest is lions in section animals");
    refused("animal: {lions: 1}\n", "z.yaml:1: unknown section animal; the nearest is animals");
    refused("doors:\n  lions: 1\n", "z.yaml:2: unknown key doors.lions; the nearest is lions in section animals");
    refused("doors:\n", "z.yaml:1: doors: expected true or false, found ``");
}

/* ---- given twice, or not at all ---- */

static void twice(void **state) {
    (void)state;
    refused("lions: 1\nwidth: 1\nlions: 1\n", "z.yaml:3: lions is given twice, first on line 1");
    refused("animals: {lions: 1}\nlions: 1\n", "z.yaml:2: lions is given twice, first on line 1");
    refused("lions: 1\nanimals.lions: 1\n", "z.yaml:2: lions is given twice, first on line 1");
    refused("animals: {lions: 1}\ndoors: true\nanimals: {hunger: 1}\n",
            "z.yaml:3: animals is given twice, first on line 1");
    refused("animals:\n  # nothing\nanimals:\n", "z.yaml:3: animals is given twice, first on line 1");
    refused("doors: {width: 1}\ndoors: true\n", "z.yaml:2: doors is given twice, first on line 1");
    refused("visits: []\nvisits: []\n", "z.yaml:2: visits is given twice, first on line 1");
}

static void nothing(void **state) {
    (void)state;
    refused("", "z.yaml: expected keys and values, found none");
    refused("# only\n# comments\n", "z.yaml: expected keys and values, found none");
    refused("~\n", "z.yaml: expected keys and values, found none");
    refused("{}\n", "z.yaml: expected keys and values, found none");
    refused("animals:\n  # lions: 4\n", "z.yaml: expected keys and values, found none");
    refused("[]\n", "z.yaml:1: expected keys and values, found a list");
    refused("lions\n", "z.yaml:1: expected keys and values, found a single value");
}

/* ---- what others call them ---- */

static void foreign_names(void **state) {
    (void)state;
    refused("num_lions: 1\n", "z.yaml:1: unknown key num_lions: moec calls it lions");
    refused("doors: {Num-Lions: 1}\n", "z.yaml:1: unknown key doors.Num-Lions: moec calls it lions");
    refused("appetite: 1\n", "z.yaml:1: unknown key appetite: moec calls it hunger (of the lions)");
    refused("tigers: 1\n", "z.yaml:1: unknown key tigers: this zoo has no tigers");
    refused("tiger: {stripes: 1}\n", "z.yaml:1: unknown key tiger: this zoo has no tigers");
    refused("num_lion: 1\n", "z.yaml:1: unknown key num_lion; the nearest is lions in section animals");
    toy t = toy_default();
    assert_fails(config_override(&toy_schema, &t, "--num-lions=1"),
                 "override --num-lions=1: unknown key --num-lions: moec calls it lions");
}

/* ---- overrides ---- */

static void overrides(void **state) {
    (void)state;
    toy t = toy_default();
    assert_ok(config_override(&toy_schema, &t, "lions=4"));
    assert_ok(config_override(&toy_schema, &t, "animals.cages=[2]"));
    assert_ok(config_override(&toy_schema, &t, "keeper=it's: #1 = me"));
    assert_ok(config_override(&toy_schema, &t, "visits=[{who: family, before: 9}]"));
    assert_int_equal(t.animals.lions, 4);
    assert_true(t.animals.cages[2]);
    assert_string_equal(t.animals.keeper, "it's: #1 = me");
    assert_int_equal(t.visits.count, 1);
    assert_true(t.visits.items[0].before == 9 && t.visits.items[0].children == 2);
    assert_ok(config_override(&toy_schema, &t, "keeper="));
    assert_null(t.animals.keeper);
    assert_fails(config_override(&toy_schema, &t, "lions"), "override lions: expected key=value");
    assert_fails(config_override(&toy_schema, &t, "=1"), "override =1: expected key=value");
    assert_fails(config_override(&toy_schema, &t, "lions="), "lions: expected an integer from 0 to 9, found nothing");
    assert_fails(config_override(&toy_schema, &t, "lions='4'"), "override lions='4': lions: expected an integer");
    assert_fails(config_override(&toy_schema, &t, "doors.lions=1"), "the nearest is lions in section animals");
    assert_fails(config_override(&toy_schema, &t, "cages=[1"), "override cages=[1: not YAML");
    assert_fails(config_override(&toy_schema, &t, "cages=*a"), "without anchors and aliases, found *a");
    schema_free(&toy_schema, &t);
}

/* What is read can be written and read again, though each byte may take six to write. */
static void long_texts(void **state) {
    (void)state;
    char *text = xmalloc(READ_MAX_TEXT + 2), *override;
    memset(text, '\x01', READ_MAX_TEXT + 1);
    text[READ_MAX_TEXT + 1] = '\0';
    override = xasprintf("keeper=%s", text);
    toy t = toy_default(), back = toy_default();
    assert_fails(config_override(&toy_schema, &t, override),
                 "keeper: expected a text of at most 4096 bytes, found 4097");
    override[strlen(override) - 1] = '\0';
    assert_ok(config_override(&toy_schema, &t, override));
    char *yaml = written(&t);
    assert_ok(toy_parse(&back, yaml));
    assert_string_equal(back.animals.keeper, t.animals.keeper);
    free(yaml);
    free(override);
    free(text);
    schema_free(&toy_schema, &back);
    schema_free(&toy_schema, &t);
}

/* ---- records ---- */

static void records(void **state) {
    (void)state;
    toy t = toy_default();
    assert_ok(toy_parse(&t, "visits: [{who: school, hour: 0, children: 30}, {before: 3, who: family}]\n"));
    assert_int_equal(t.visits.count, 2);
    assert_true(t.visits.items[0].kind == TOY_SCHOOL && t.visits.items[0].children == 30);
    refused("visits: 1\n", "z.yaml:1: visits: expected a list of visits, such as [{hour: 10, who: family}], found `1`");
    refused("visits: [1]\n", "z.yaml:1: visits: expected mappings such as {hour: 10, who: family}");
    refused("visits: [{hour: 1}]\n", "z.yaml:1: visit: expected who, one of school, family, found none");
    refused("visits: [{who: aunt}]\n", "z.yaml:1: who: expected one of school, family, found `aunt`");
    refused("visits: [{hours: 1}]\n", "z.yaml:1: unknown key hours of a visit; the nearest is hour");
    refused("visits: [{hour: 1, hour: 2}]\n", "z.yaml:1: hour is given twice, first on line 1");
    refused("visits: [{who: school, hour: 1}]\n", "z.yaml:1: visit: school expected children, found none");
    refused("visits: [{who: school, children: 1}]\n", "z.yaml:1: visit: expected hour, found none");
    refused("visits: [{who: school, before: 1}]\n", "z.yaml:1: visit: before is no key of school");
    refused("visits: [{who: family}]\n", "z.yaml:1: visit: expected either hour or before, found none");
    refused("visits: [{who: family, hour: 1, before: 1}]\n",
            "z.yaml:1: visit: expected either hour or before, found both");
    const char *four = "visits:\n- {who: family, hour: 1}\n- {who: family, hour: 1}\n- {who: family, hour: 1}\n"
                       "- {who: family, hour: 1}\n";
    assert_fails(toy_parse(&t, four), "z.yaml:5: visits: expected at most 3");
    assert_int_equal(t.visits.count, 2); /* as it was */
}

static void checks(void **state) {
    (void)state;
    toy t = toy_default();
    assert_ok(section_check(&toy_animal_section, &t.animals));
    t.animals.lions = 10;
    assert_fails(section_check(&toy_animal_section, &t.animals), "lions: expected an integer from 0 to 9, found 10");
    t.visits = (toy_visits){.count = 1, .items = {{.kind = TOY_FAMILY, .hour = 25, .children = 1}}};
    assert_fails(section_check(&toy_visit_section, &t.visits), "visits[0].hour: expected a number from 0 to 24");
    t.visits.items[0].before = 5; /* counts instead of the hour */
    assert_ok(section_check(&toy_visit_section, &t.visits));
    t.visits.items[0] = (toy_visit){.kind = TOY_SCHOOL, .before = 5, .children = 1};
    assert_fails(section_check(&toy_visit_section, &t.visits), "visits[0].before: is no key of school");
    t.visits.items[0].kind = (toy_kind)7;
    assert_fails(section_check(&toy_visit_section, &t.visits), "visits[0].who: expected one of school, family");
    t.visits.count = TOY_VISITS + 1;
    assert_fails(section_check(&toy_visit_section, &t.visits), "visits: expected 0 to 3, found 4");
}

/* ---- writing ---- */

static void writing(void **state) {
    (void)state;
    toy t = toy_default(), back = toy_default();
    assert_ok(toy_parse(
        &t, "keeper: \"a\\n\\u00e9\"\nhunger: 0.1\ncages: [3, 1]\nvisits: [{who: school, hour: 0, children: 9}, "
            "{who: family, hour: 0}, {who: family, before: 1, children: 3}]\n"));
    char *text = written(&t);
    assert_string_equal(text, "animals:\n  lions: 2\n  hunger: 0.1\n  keeper: \"a\\u000A\\u00E9\"\n  cages: [1, 3]\n"
                              "doors:\n  doors: false\n  width: 2\nvisits:\n  - {who: school, hour: 0, children: 9}\n"
                              "  - {who: family, hour: 0, children: 2}\n  - {who: family, before: 1, children: 3}\n");
    assert_ok(toy_parse(&back, text));
    char *again = written(&back);
    assert_string_equal(again, text);
    free(again);
    free(text);
    t.visits.count = 0;
    text = written(&t);
    assert_non_null(strstr(text, "visits: []\n"));
    free(text);
    schema_free(&toy_schema, &back);
    schema_free(&toy_schema, &t);
}

static void described(void **state) {
    (void)state;
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    const toy t = toy_default();
    config_describe(&toy_schema, &t, out);
    fclose(out);
    assert_non_null(
        strstr(text, "\nanimals:\n  lions                       how many; an integer from 0 to 9. Default: 2\n"));
    assert_non_null(strstr(text, "who feeds them; a text. Default: (none)\n"));
    assert_non_null(strstr(text, "\nvisits: a list of {hour: H, who: school, children: N}; their keys:\n"));
    free(text);
}

/* ---- damage ---- */

/* Every prefix and every changed bit is read or refused with the text's name. */
static void damaged(void **state) {
    (void)state;
    char text[] = "animals: {lions: 3, keeper: \"x\", cages: [1, 7]}\nvisits:\n  - {who: family, before: 3.5}\n";
    int refused_count = 0;
    for (size_t bits = 0; bits < 8 * (sizeof text - 1); bits++) {
        toy t = toy_default();
        text[bits / 8] ^= (char)(1 << bits % 8);
        if (config_parse(&toy_schema, &t, "z.yaml", text, sizeof text - 1) != STATUS_OK) {
            assert_int_equal(strncmp(error_message(), "z.yaml", 6), 0);
            refused_count++;
        }
        text[bits / 8] ^= (char)(1 << bits % 8);
        schema_free(&toy_schema, &t);
    }
    assert_true(refused_count > 100);
    for (size_t length = 0; length < sizeof text - 1; length++) {
        toy t = toy_default();
        if (config_parse(&toy_schema, &t, "z.yaml", text, length) != STATUS_OK)
            assert_int_equal(strncmp(error_message(), "z.yaml", 6), 0);
        schema_free(&toy_schema, &t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_and_flat_keys),
        cmocka_unit_test(refusals),
        cmocka_unit_test(twice),
        cmocka_unit_test(nothing),
        cmocka_unit_test(foreign_names),
        cmocka_unit_test(overrides),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(records),
        cmocka_unit_test(checks),
        cmocka_unit_test(writing),
        cmocka_unit_test(described),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
