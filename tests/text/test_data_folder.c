#include "test.h"

#include "base/json.h"
#include "base/json_seal.h"
#include "text/checksums.h"
#include "text/data_folder.h"
#include <unistd.h>

/* A data.json of moec's has a seal; this one is none that fits, so that names alone tell what moec made. */
static char *content(const char *name, const char *text) {
    return strcmp(name, "data.json") == 0 ? xasprintf("{\"crc64\": \"%s\"}", text) : xstrdup(text);
}

static void put(const char *folder, const char *name, const char *text) {
    char *path = path_join(folder, name), *whole = content(name, text);
    assert_ok(folder_create(folder));
    assert_ok(file_write_whole(path, whole, strlen(whole)));
    free(whole);
    free(path);
}

static void assert_holds(const char *folder, const char *name, const char *text) {
    char *path = path_join(folder, name);
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    char *whole = content(name, text);
    assert_string_equal((char *)bytes, whole);
    free(whole);
    free(bytes);
    free(path);
}

static void assert_entries(const char *folder, size_t count) {
    char **names;
    size_t found;
    assert_ok(folder_list(folder, &names, &found));
    assert_int_equal(found, count);
    for (size_t i = 0; i < found; i++) free(names[i]);
    free(names);
}

static void fill(const char *folder, const char *text) {
    static const char *const names[] = {"tokenizer.model", "data.json", "heldout.txt", "old_train_000000.bin",
                                        "old_val_000000.docs.tsv"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) put(folder, names[i], text);
}

static void it_takes_the_place_of_nothing_or_an_empty_folder(void **state) {
    char *out = path_join(*state, "deep/out");
    data_folder f;
    for (int empty = 0; empty < 2; empty++) {
        if (empty) assert_ok(folder_create(out));
        assert_ok(data_folder_begin(&f, out, false));
        put(f.temporary, "data.json", "new");
        assert_ok(data_folder_commit(&f));
        assert_null(f.kept);
        data_folder_end(&f);
        assert_holds(out, "data.json", "new");
        char *parent = path_parent(out);
        assert_entries(parent, 1);
        free(parent);
        assert_ok(folder_remove(out));
    }
    free(out);
}

static void only_a_data_folder_is_replaced_and_only_when_asked(void **state) {
    char *out = path_join(*state, "out");
    data_folder f;
    put(out, "notes.txt", "mine");
    assert_fails(data_folder_begin(&f, out, true), "expected nothing, an empty folder or one with a data.json");
    fill(out, "old");
    assert_fails(data_folder_begin(&f, out, false), "--overwrite replaces it");
    assert_entries(*state, 1);
    put(*state, "file", "x");
    char *file = path_join(*state, "file");
    assert_fails(data_folder_begin(&f, file, true), "expected a folder or nothing, found a file");
    free(file), free(out);
}

static void what_moec_did_not_make_stays(void **state) {
    char *out = path_join(*state, "out"), *folder = path_join(out, "heldout.txt.d"),
         *notes = path_join(out, "notes.txt");
    data_folder f;
    fill(out, "old");
    put(out, "notes.txt", "mine");
    put(out, "old_train_12.bin", "mine");
    put(out, "old_train_000000.bin.tmp-77", "half");
    put(folder, "data.json", "mine");
    assert_ok(data_folder_begin(&f, out, true));
    put(f.temporary, "data.json", "new");
    put(f.temporary, "out_train_000000.bin", "new");
    assert_holds(out, "data.json", "old");
    assert_ok(data_folder_commit(&f));
    assert_non_null(strstr(f.kept, notes));
    data_folder_end(&f);
    assert_holds(out, "data.json", "new");
    assert_holds(out, "notes.txt", "mine");
    assert_holds(out, "old_train_12.bin", "mine");
    assert_holds(folder, "data.json", "mine");
    assert_entries(out, 5);
    assert_entries(*state, 1);
    free(notes), free(folder), free(out);
}

/* Names of the record scripts' shards are moec's, too: what data.json lists is what moec made. */
static void a_shard_of_the_users_stays(void **state) {
    char *out = path_join(*state, "out"), *list = path_join(out, "data.json");
    static const char *const listed[] = {"tokenizer.model", "heldout.txt", "old_train_000000.bin",
                                         "old_val_000000.docs.tsv"};
    cJSON *json = cJSON_CreateObject(), *files = cJSON_AddObjectToObject(json, "files");
    data_folder f;
    fill(out, "old");
    for (size_t i = 0; i < sizeof listed / sizeof *listed; i++) checksums_add(files, listed[i], i);
    json_seal(json);
    assert_ok(json_write_file(list, json));
    cJSON_Delete(json);
    put(out, "fineweb_train_000007.bin", "mine");
    put(out, "old_train_000000.bin.tmp-77", "half");
    assert_ok(data_folder_begin(&f, out, true));
    put(f.temporary, "data.json", "new");
    assert_ok(data_folder_commit(&f));
    assert_non_null(strstr(f.kept, "fineweb_train_000007.bin"));
    data_folder_end(&f);
    assert_holds(out, "fineweb_train_000007.bin", "mine");
    assert_entries(out, 2);
    free(list), free(out);
}

/* A folder of another program's that has a file of that name, too. */
static void a_foreign_data_json_is_not_replaced(void **state) {
    char *out = path_join(*state, "out"), *path = path_join(out, "data.json");
    data_folder f;
    assert_ok(folder_create(out));
    assert_ok(file_write_whole(path, "[1, 2]\n", 7));
    put(out, "tokenizer.model", "mine");
    assert_fails(data_folder_begin(&f, out, true), "one with a data.json of moec's");
    free(path), free(out);
}

static void what_appears_meanwhile_is_not_lost(void **state) {
    char *out = path_join(*state, "out");
    data_folder f;
    assert_ok(data_folder_begin(&f, out, true));
    put(f.temporary, "data.json", "new");
    put(out, "notes.txt", "mine");
    assert_fails(data_folder_commit(&f), "expected nothing, an empty folder or one with a data.json");
    data_folder_end(&f);
    assert_non_null(strstr(error_message(), "expected nothing")); /* cleaning up hides no message */
    assert_holds(out, "notes.txt", "mine");
    assert_entries(*state, 1);
    free(out);
}

static void a_commit_that_fails_leaves_the_old_one(void **state) {
    char *out = path_join(*state, "out");
    data_folder f;
    fill(out, "old");
    assert_ok(data_folder_begin(&f, out, true));
    assert_fails(data_folder_commit(&f), out); /* there is nothing to commit */
    data_folder_end(&f);
    assert_holds(out, "data.json", "old");
    assert_entries(out, 5);
    assert_entries(*state, 1);
    free(out);
}

static void one_process_at_a_time(void **state) {
    char *out = path_join(*state, "out");
    data_folder first, second;
    assert_ok(data_folder_begin(&first, out, false));
    assert_fails(data_folder_begin(&second, out, false), "out.lock: held by moec data, process ");
    put(first.temporary, "data.json", "new");
    assert_ok(data_folder_commit(&first));
    data_folder_end(&first);
    assert_holds(out, "data.json", "new");
    free(out);
}

static void what_killed_ones_left_goes(void **state) {
    char *out = path_join(*state, "out"), *half = path_join(*state, "out.tmp-123");
    char *taken = path_join(*state, "out.tmp-124-old"), *other = path_join(*state, "out.tmp-mine");
    data_folder f;
    fill(half, "half");
    fill(taken, "old"); /* killed between the renames of an exchange in steps: the only copy */
    fill(other, "mine");
    put(*state, "out.lock", "moec data, process 123\n");
    assert_fails(data_folder_begin(&f, out, false), "--overwrite replaces it");
    assert_holds(out, "data.json", "old");
    assert_false(path_exists(half) || path_exists(taken));
    fill(taken, "old");
    assert_ok(data_folder_begin(&f, out, true));
    data_folder_end(&f);
    assert_false(path_exists(taken));
    assert_holds(other, "data.json", "mine");
    assert_entries(*state, 2);
    free(other), free(taken), free(half), free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(it_takes_the_place_of_nothing_or_an_empty_folder),
        in_scratch(only_a_data_folder_is_replaced_and_only_when_asked),
        in_scratch(what_moec_did_not_make_stays),
        in_scratch(a_shard_of_the_users_stays),
        in_scratch(a_foreign_data_json_is_not_replaced),
        in_scratch(what_appears_meanwhile_is_not_lost),
        in_scratch(a_commit_that_fails_leaves_the_old_one),
        in_scratch(one_process_at_a_time),
        in_scratch(what_killed_ones_left_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
