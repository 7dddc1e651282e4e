#include "test.h"

#include "base/json.h"

static void a_file_comes_back(void **state) {
    (void)state;
    char *folder = scratch_create(), *path = path_join(folder, "a.json");
    cJSON *out = cJSON_CreateObject(), *in;
    cJSON_AddNumberToObject(out, "layers", 12);
    cJSON_AddNumberToObject(out, "large", 999999999999999.0);
    cJSON_AddNumberToObject(out, "lr", 0.1);
    cJSON_AddBoolToObject(out, "loop", 1);
    cJSON_AddStringToObject(out, "name", "Zürich \"x\"\n");
    assert_ok(json_write_file(path, out));
    assert_ok(json_read_file(path, &in));
    int64_t layers, large;
    double lr;
    bool loop;
    const char *name;
    assert_ok(json_get_int(in, path, "layers", &layers));
    assert_ok(json_get_int(in, path, "large", &large));
    assert_ok(json_get_double(in, path, "lr", &lr));
    assert_ok(json_get_bool(in, path, "loop", &loop));
    assert_ok(json_get_string(in, path, "name", &name));
    assert_int_equal(layers, 12);
    assert_true(large == INT64_C(999999999999999));
    assert_true(lr == 0.1);
    assert_true(loop);
    assert_string_equal(name, "Zürich \"x\"\n");
    cJSON_Delete(out);
    cJSON_Delete(in);
    free(path);
    scratch_remove(folder);
}

static void errors_name_the_file_and_the_key(void **state) {
    (void)state;
    cJSON *root = cJSON_Parse("{\"half\": 1.5, \"huge\": 1e300, \"text\": \"x\", \"list\": []}");
    int64_t i;
    double d;
    bool b;
    const char *s;
    assert_fails(json_get_int(root, "c.json", "half", &i), "c.json: \"half\": expected an integer");
    assert_fails(json_get_int(root, "c.json", "huge", &i), "1e+300");
    assert_fails(json_get_int(root, "c.json", "text", &i), "found a string");
    assert_fails(json_get_int(root, "c.json", "absent", &i), "found nothing");
    assert_fails(json_get_double(root, "c.json", "list", &d), "expected a number, found an array");
    assert_fails(json_get_bool(root, "c.json", "half", &b), "expected true or false, found a number");
    assert_fails(json_get_string(root, "c.json", "half", &s), "expected a string");
    assert_fails(json_get_int(NULL, "c.json", "half", &i), "found nothing");
    cJSON_Delete(root);
}

static void broken_files_name_the_line(void **state) {
    (void)state;
    char *folder = scratch_create(), *path = path_join(folder, "bad.json");
    const struct {
        const char *text, *part;
    } cases[] = {
        {"", "line 1"},
        {"{\n\"a\": 1,\n\"b\" 2}", "line 3"},
        {"{} x", "bad.json: not valid JSON"},
        {"{\"a\": [1, 2", "JSON"},
        {"nul", "JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *root;
        assert_ok(file_write_whole(path, cases[i].text, strlen(cases[i].text)));
        assert_fails(json_read_file(path, &root), cases[i].part);
        assert_null(root);
    }
    cJSON *root;
    assert_ok(file_write_whole(path, "{}\n\0 {", 6)); /* what stands behind a NUL is not passed over */
    assert_fails(json_read_file(path, &root), "bad.json: not valid JSON, line 2");
    assert_fails(json_read_file("/nowhere/x.json", &root), "/nowhere/x.json: cannot open: No such file");
    free(path);
    scratch_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_comes_back),
        cmocka_unit_test(errors_name_the_file_and_the_key),
        cmocka_unit_test(broken_files_name_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
