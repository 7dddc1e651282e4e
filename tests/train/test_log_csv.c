/* The log as a table. */
#include "test.h"

#include "train/log_csv.h"

static char **columns_of(int *count) {
    static const char *const names[] = {"step", "loss", "val_bpb_domains.code", "val_bpb_domains.v1.0",
                                        "drawn.a \"b\", c"};
    *count = sizeof names / sizeof *names;
    char **columns = xcalloc((size_t)*count, sizeof *columns);
    for (int i = 0; i < *count; i++) columns[i] = xstrdup(names[i]);
    return columns;
}

static void tell(log_csv *c, const char *text) {
    cJSON *record = cJSON_Parse(text);
    assert_non_null(record);
    assert_ok(log_csv_record(c, record));
    cJSON_Delete(record);
}

static void rows(void **state) {
    char *path = path_join(*state, LOG_CSV_FILE);
    for (int pass = 0; pass < 2; pass++) { /* the second one replaces the first */
        log_csv *c;
        int count;
        uint8_t *bytes;
        size_t size;
        char **columns = columns_of(&count);
        assert_ok(log_csv_create(&c, path, columns, count));
        tell(c, "{\"record\":\"header\",\"loss\":3}");
        tell(c, "{\"record\":\"step\",\"step\":1,\"loss\":0.25,\"aux\":7}");
        tell(c, "{\"record\":\"step\",\"step\":2,\"loss\":1e-7,\"val_bpb_domains\":{\"code\":1.5,\"v1.0\":2},"
                "\"drawn\":{\"a \\\"b\\\", c\":4}}");
        log_csv_close(c);
        assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &size));
        assert_string_equal((char *)bytes,
                            "step,loss,val_bpb_domains.code,val_bpb_domains.v1.0,\"drawn.a \"\"b\"\", c\"\n"
                            "1,0.25,,,\n2,1e-07,1.5,2,4\n");
        free(bytes);
    }
    free(path);
}

static void another_file_stays(void **state) {
    char *path = path_join(*state, LOG_CSV_FILE);
    log_csv *c;
    int count;
    assert_ok(file_write_whole(path, "stepmother,1\n", 13));
    char **columns = columns_of(&count);
    assert_fails(log_csv_create(&c, path, columns, count), "log.csv: expected nothing or the table of an older run");
    assert_fails(log_csv_check(path), "found another file");
    assert_ok(file_write_whole(path, "", 0));
    assert_ok(log_csv_check(path));
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {in_scratch(rows), in_scratch(another_file_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
