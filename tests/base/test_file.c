#include "test.h"

#include "base/temporary.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DISK_TEST_BYTES = 10 };

static void assert_content(const char *path, const char *expected) {
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    assert_int_equal(count, strlen(expected));
    assert_string_equal((char *)bytes, expected); /* the NUL behind the end is there, too */
    free(bytes);
}

/* Frees the names; the folder holds exactly `count` of them. */
static void assert_names(const char *folder, size_t count, const char *const *expected) {
    char **names;
    size_t found;
    assert_ok(folder_list(folder, &names, &found));
    assert_int_equal(found, count);
    for (size_t i = 0; i < found; i++) {
        assert_string_equal(names[i], expected[i]);
        free(names[i]);
    }
    free(names);
}

static void the_old_file_stays_until_commit(void **state) {
    char *path = path_join(*state, "a.txt");
    assert_ok(file_write_whole(path, "old", 3));
    file_writer w;
    assert_ok(file_create(&w, path));
    file_write(&w, "new ", 4);
    file_write(&w, "text", 4);
    assert_int_equal(w.bytes, 8);
    assert_true(w.crc == crc64(0, "new text", 8));
    fflush(w.stream);
    assert_content(path, "old");
    assert_ok(file_commit(&w));
    assert_content(path, "new text");
    assert_names(*state, 1, (const char *[]){"a.txt"});
    free(path);
}

static void only_a_file_is_replaced(void **state) {
    char *pipe_path = path_join(*state, "pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_fails(file_write_whole(pipe_path, "x", 1), "pipe: expected a file to replace or nothing, found a pipe");
    assert_fails(file_write_whole(*state, "x", 1), "found a folder");
    assert_fails(file_write_whole("", "x", 1), "expected the name of a file");
    assert_names(*state, 1, (const char *[]){"pipe"});
    free(pipe_path);
}

/* Neither waits for a pipe's other end, nor reads a device until memory ends. */
static void only_regular_files_are_read(void **state) {
    char *pipe_path = path_join(*state, "pipe"), *socket_path = path_join(*state, "socket");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    int unused, listener = socket(AF_UNIX, SOCK_STREAM, 0);
    uint8_t *bytes;
    size_t count;
    file_map m;
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    const struct {
        const char *path, *kind;
    } cases[] = {{pipe_path, "found a pipe"},
                 {socket_path, "found a socket"},
                 {"/dev/zero", "found a device"},
                 {"/dev/full", "found a device"},
                 {*state, "found a folder"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails(file_read(cases[i].path, FILE_ANY_SIZE, &bytes, &count), cases[i].path);
        assert_fails(file_read(cases[i].path, FILE_ANY_SIZE, &bytes, &count), cases[i].kind);
        assert_fails(file_map_open(&m, cases[i].path), cases[i].kind);
        assert_fails(file_open(cases[i].path, O_WRONLY | O_APPEND, &unused), cases[i].kind);
        assert_fails(file_append(cases[i].path, "x", 1), cases[i].kind);
    }
    close(listener);
    free(socket_path), free(pipe_path);
}

static void reading_is_bounded(void **state) {
    char *path = path_join(*state, "large");
    uint8_t *bytes;
    size_t count;
    assert_ok(file_write_whole(path, "12345", 5));
    assert_ok(file_read(path, 5, &bytes, &count));
    assert_int_equal(count, 5);
    free(bytes);
    assert_fails(file_read(path, 4, &bytes, &count), "large: expected at most 4 bytes, found 5");
    assert_int_equal(truncate(path, INT64_C(1) << 43), 0); /* a hole of 8 TiB */
    assert_fails(file_read(path, FILE_ANY_SIZE, &bytes, &count), "no memory for");
    free(path);
    /* A size of 0 that is not the truth. */
    assert_ok(file_read("/proc/self/status", FILE_ANY_SIZE, &bytes, &count));
    assert_true(count > 0);
    free(bytes);
    assert_fails(file_read("/proc/self/status", 10, &bytes, &count), "expected at most 10 bytes");
}

/* What a killed writer left, whose file nobody holds. */
static void the_next_writer_cleans_up(void **state) {
    const char *const others[] = {"a.txt.tmp-", "a.txt.tmp-1x", "a.txt.tmp-mine", "b.txt.tmp-1"};
    char *path = path_join(*state, "a.txt"), *left = path_join(*state, "a.txt.tmp-123");
    char *left_too = path_join(*state, "a.txt.tmp-123-4");
    file_writer first, second;
    assert_ok(file_write_whole(left, "half", 4));
    assert_ok(file_write_whole(left_too, "half", 4));
    for (int i = 0; i < 4; i++) {
        char *other = path_join(*state, others[i]);
        assert_ok(file_write_whole(other, "x", 1));
        free(other);
    }
    assert_ok(file_create(&first, path)); /* is written while another one begins */
    assert_ok(file_create(&second, path));
    file_write(&first, "first", 5);
    file_write(&second, "second", 6);
    assert_false(path_exists(left) || path_exists(left_too));
    assert_ok(file_commit(&first));
    assert_content(path, "first");
    assert_ok(file_commit(&second));
    assert_content(path, "second");
    assert_names(*state, 5, (const char *[]){"a.txt", others[0], others[1], others[2], others[3]});
    free(left_too), free(left), free(path);
}

static void abandoning_leaves_nothing(void **state) {
    char *path = path_join(*state, "a.txt");
    file_writer w;
    assert_ok(file_create(&w, path));
    file_write(&w, "x", 1);
    file_abandon(&w);
    assert_names(*state, 0, NULL);
    free(path);
}

static void crc64_is_that_of_xz(void **state) {
    (void)state;
    assert_true(crc64(0, "123456789", 9) == 0x995dc9bbdf1939fau); /* the check value of CRC-64/XZ */
    assert_true(crc64(crc64(0, "1234", 4), "56789", 5) == 0x995dc9bbdf1939fau);
}

static void whole_files_of_any_size(void **state) {
    char *path = path_join(*state, "b.bin");
    const size_t sizes[] = {0, 1, 65534, 65535, 65536, 65537, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *bytes = xmalloc(sizes[i] + 1), *back;
        for (size_t k = 0; k < sizes[i]; k++) bytes[k] = (uint8_t)(k * 7 + k / 251);
        size_t count;
        assert_ok(file_write_whole(path, bytes, sizes[i]));
        assert_ok(file_read(path, FILE_ANY_SIZE, &back, &count));
        assert_int_equal(count, sizes[i]);
        assert_memory_equal(back, bytes, sizes[i]);
        file_map m;
        assert_ok(file_map_open(&m, path));
        assert_int_equal(m.count, sizes[i]);
        if (sizes[i]) assert_memory_equal(m.bytes, bytes, sizes[i]);
        file_map_forget(&m, m.bytes, m.count); /* is read anew */
        if (sizes[i]) file_map_forget(&m, m.bytes + 1, m.count - 1);
        file_map_forget(&m, bytes, sizes[i]); /* no part of it: nothing happens */
        file_map_forget(&m, m.bytes, m.count + 1);
        if (sizes[i]) assert_memory_equal(m.bytes, bytes, sizes[i]);
        assert_memory_equal(bytes, back, sizes[i]);
        file_map_close(&m);
        free(bytes);
        free(back);
    }
    free(path);
}

static void errors_name_the_path(void **state) {
    char *absent = path_join(*state, "absent/x");
    file_writer w;
    file_map m;
    uint8_t *bytes;
    char **names;
    size_t count;
    assert_fails(file_create(&w, absent), absent);
    assert_fails(file_read(absent, FILE_ANY_SIZE, &bytes, &count), absent);
    assert_fails(file_map_open(&m, absent), absent);
    assert_fails(file_map_open(&m, *state), "found a folder");
    assert_fails(file_read(*state, FILE_ANY_SIZE, &bytes, &count), "expected a regular file, found a folder");
    assert_fails(folder_list(absent, &names, &count), absent);
    free(absent);
}

/* What this program does as a child, in whose environment the limit is; the exit code, 0 when all is right. */
static int append_on_a_full_disk(const char *path) {
    char bytes[DISK_TEST_BYTES] = {0};
    if (file_append(path, bytes, sizeof bytes) == STATUS_OK) return 3;
    return strstr(error_message(), path) && strstr(error_message(), "No space left") ? 0 : 4;
}

static int write_on_a_full_disk(const char *path, bool fits) {
    char bytes[DISK_TEST_BYTES] = {0};
    file_writer w;
    if (file_create(&w, path) != STATUS_OK) return 1;
    for (size_t i = 0; i < sizeof bytes; i++) file_write(&w, bytes + i, 1);
    status s = file_commit(&w);
    if (fits) return s == STATUS_OK ? 0 : 2;
    if (s == STATUS_OK) return 3;
    return strstr(error_message(), path) && strstr(error_message(), "No space left") ? 0 : 4;
}

/* The limit holds for a whole process and is read once, so that each needs a new one. */
static int run_on_a_full_disk(const char *what, const char *path, size_t limit) {
    pid_t child = fork();
    if (child == 0) {
        char text[32];
        snprintf(text, sizeof text, "%zu", limit);
        setenv("MOEC_FAIL_WRITE_AFTER", text, 1);
        execl("/proc/self/exe", "test_file", what, path, NULL);
        _exit(127);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    return WIFEXITED(result) ? WEXITSTATUS(result) : 128;
}

static void no_space_leaves_the_old_file_whole(void **state) {
    char *path = path_join(*state, "a.txt");
    const size_t limits[] = {0, 1, DISK_TEST_BYTES - 1, DISK_TEST_BYTES, DISK_TEST_BYTES + 1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_ok(file_write_whole(path, "old", 3));
        assert_int_equal(run_on_a_full_disk(limits[i] < DISK_TEST_BYTES ? "full" : "fits", path, limits[i]), 0);
        uint8_t *bytes;
        size_t count;
        assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
        assert_int_equal(count, limits[i] < DISK_TEST_BYTES ? 3 : DISK_TEST_BYTES);
        if (count == 3) assert_string_equal((char *)bytes, "old");
        free(bytes);
        assert_names(*state, 1, (const char *[]){"a.txt"});
    }
    free(path);
}

static void appending_is_all_or_nothing(void **state) {
    char *path = path_join(*state, "lines");
    assert_ok(file_append(path, "one\n", 4));
    assert_ok(file_append(path, "two\n", 4));
    assert_content(path, "one\ntwo\n");
    assert_int_equal(run_on_a_full_disk("append", path, DISK_TEST_BYTES - 1), 0);
    assert_content(path, "one\ntwo\n");
    free(path);
}

/* A real one: writes to /dev/full succeed into the buffer and fail at the flush. */
static void a_failed_flush_is_seen(void **state) {
    char *path = path_join(*state, "a.txt");
    skip_without("/dev/full");
    file_writer w;
    assert_ok(file_create(&w, path));
    assert_non_null(freopen("/dev/full", "wb", w.stream));
    file_write(&w, "x", 1);
    assert_fails(file_commit(&w), "No space left");
    assert_names(*state, 0, NULL);
    free(path);
}

/* A slash at the end is no name; what a killed process left goes, what a living one fills stays. */
static void temporary_folders(void **state) {
    char *place = path_join(*state, "out"), *slashed = path_join(*state, "out//");
    char *left = path_join(*state, "out.tmp-999999"), *half = path_join(left, "half"), *living;
    temporary_folder first, second;
    assert_ok(folder_create(left));
    assert_ok(file_write_whole(half, "x", 1));
    assert_ok(temporary_folder_begin(&first, slashed));
    assert_false(path_exists(left) || path_exists(place));
    assert_string_equal(first.place, place);
    living = path_join(first.path, "f");
    assert_ok(file_write_whole(living, "mine", 4));
    assert_ok(temporary_folder_begin(&second, place));
    assert_string_not_equal(first.path, second.path);
    assert_content(living, "mine");
    assert_ok(temporary_folder_commit(&first));
    assert_fails(temporary_folder_commit(&second), "exists already");
    temporary_folder_end(&second);
    assert_non_null(strstr(error_message(), "exists already"));
    temporary_folder_end(&first);
    assert_names(*state, 1, (const char *const[]){"out"});
    free(living);
    living = path_join(place, "f");
    assert_content(living, "mine");
    free(living), free(half), free(left), free(slashed), free(place);
}

static void folders_appear_whole(void **state) {
    char *temporary = path_join(*state, "step.tmp-1"), *path = path_join(*state, "step");
    char *deep = path_join(temporary, "a//b/c"), *file = path_join(deep, "f");
    assert_ok(folder_create(deep));
    assert_ok(folder_create(deep));
    assert_ok(file_write_whole(file, "x", 1));
    assert_false(path_exists(path));
    assert_ok(folder_commit(temporary, path));
    assert_false(path_exists(temporary));
    assert_true(path_is_folder(path));
    char *moved = path_join(path, "a/b/c/f");
    assert_content(moved, "x");
    assert_ok(folder_create(temporary));
    assert_fails(folder_commit(temporary, path), "exists already");
    assert_content(moved, "x");
    assert_fails(folder_create(moved), moved);
    free(moved), free(file), free(deep), free(path), free(temporary);
}

static void room_for_a_folder(void **state) {
    char *file = path_join(*state, "file"), *under = path_join(file, "a/b"), *deep = path_join(*state, "a/b//c");
    assert_ok(file_write_whole(file, "x", 1));
    assert_ok(folder_check(*state));
    assert_ok(folder_check(deep));
    assert_ok(folder_check("absent/deeper"));
    char *expected = xasprintf("%s: expected a folder, found a file", file);
    assert_fails(folder_check(file), expected);
    assert_fails(folder_check(under), expected);
    assert_fails(folder_check("/dev/null"), "/dev/null: expected a folder, found a device");
    assert_fails(folder_check(""), "expected the name of a folder, found an empty one");
    assert_fails(folder_create(""), "expected the name of a folder, found an empty one");
    assert_names(*state, 1, (const char *[]){"file"});
    free(expected), free(deep), free(under), free(file);
}

static void folders_change_places(void **state) {
    status (*const ways[])(const char *, const char *) = {folder_exchange, folder_exchange_in_steps};
    char *old = path_join(*state, "old"), *new = path_join(*state, "new"), *absent = path_join(*state, "absent");
    char *old_file = path_join(old, "f"), *new_file = path_join(new, "f");
    assert_ok(folder_create(old));
    assert_ok(folder_create(new));
    for (int i = 0; i < 2; i++) {
        assert_ok(file_write_whole(old_file, "old", 3));
        assert_ok(file_write_whole(new_file, "new", 3));
        assert_ok(ways[i](new, old));
        assert_content(old_file, "new");
        assert_content(new_file, "old");
        assert_fails(ways[i](absent, old), absent);
        assert_content(old_file, "new");
        assert_names(*state, 2, (const char *[]){"new", "old"});
    }
    free(new_file), free(old_file), free(absent), free(new), free(old);
}

/* What root may do is no test: this process becomes nobody for a while. */
static void a_closed_folder_is_not_an_absent_one(void **state) {
    char *closed = path_join(*state, "closed"), *inside = path_join(closed, "x"), *deep = path_join(inside, "y");
    bool root = geteuid() == 0;
    path_kind kind;
    file_writer w;
    assert_ok(folder_create(closed));
    assert_int_equal(chmod(*state, 0755), 0);
    assert_int_equal(chmod(closed, root ? 0700 : 0), 0);
    if (root) assert_int_equal(seteuid(65534), 0);
    const status looked = path_look(inside, &kind), created = folder_create(deep), written = file_create(&w, inside);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(closed, 0555), 0);
    assert_true(looked == STATUS_FAILED && created == STATUS_FAILED && written == STATUS_FAILED);
    if (root) assert_int_equal(seteuid(65534), 0);
    status outcomes[] = {file_create(&w, inside), folder_create(deep)}; /* may be read, but not be written */
    char *message = xstrdup(error_message());
    if (root) assert_int_equal(seteuid(0), 0);
    assert_true(outcomes[0] == STATUS_FAILED && outcomes[1] == STATUS_FAILED);
    char *expected = xasprintf("%s: cannot create the folder: Permission denied", inside);
    assert_string_equal(message, expected);
    free(expected), free(message), free(deep), free(inside), free(closed);
}

static void removing_follows_no_links(void **state) {
    char *keep = path_join(*state, "keep"), *gone = path_join(*state, "gone"), *link = path_join(gone, "link");
    char *file = path_join(keep, "f");
    assert_ok(folder_create(keep));
    assert_ok(folder_create(gone));
    assert_ok(file_write_whole(file, "x", 1));
    assert_int_equal(symlink(keep, link), 0);
    assert_ok(folder_remove(gone));
    assert_ok(folder_remove(gone));
    assert_content(file, "x");
    assert_names(*state, 1, (const char *[]){"keep"});
    free(file), free(link), free(gone), free(keep);
}

static void lists_are_sorted(void **state) {
    const char *names[] = {"B", "a", "a0", "\xc3\xa9"};
    for (int i = 3; i >= 0; i--) {
        char *path = path_join(*state, names[i]);
        assert_ok(file_write_whole(path, "", 0));
        free(path);
    }
    assert_names(*state, 4, names);
}

static void cache_and_state_follow_the_environment(void **state) {
    (void)state;
    setenv("HOME", "/home/x", 1);
    setenv("XDG_CACHE_HOME", "/var/c", 1);
    char *path = cache_folder();
    assert_string_equal(path, "/var/c/moec");
    free(path);
    setenv("XDG_CACHE_HOME", "relative", 1);
    path = cache_folder();
    assert_string_equal(path, "/home/x/.cache/moec");
    free(path);
    setenv("XDG_STATE_HOME", "/var/s", 1);
    path = state_folder();
    assert_string_equal(path, "/var/s/moec");
    free(path);
    unsetenv("XDG_STATE_HOME");
    path = state_folder();
    assert_string_equal(path, "/home/x/.local/state/moec");
    free(path);
}

int main(int count, char **arguments) {
    if (count == 3 && !strcmp(arguments[1], "append")) return append_on_a_full_disk(arguments[2]);
    if (count == 3) return write_on_a_full_disk(arguments[2], !strcmp(arguments[1], "fits"));
    const struct CMUnitTest tests[] = {
        in_scratch(the_old_file_stays_until_commit),
        in_scratch(abandoning_leaves_nothing),
        in_scratch(only_a_file_is_replaced),
        in_scratch(only_regular_files_are_read),
        in_scratch(reading_is_bounded),
        in_scratch(appending_is_all_or_nothing),
        in_scratch(the_next_writer_cleans_up),
        cmocka_unit_test(crc64_is_that_of_xz),
        in_scratch(whole_files_of_any_size),
        in_scratch(errors_name_the_path),
        in_scratch(no_space_leaves_the_old_file_whole),
        in_scratch(a_failed_flush_is_seen),
        in_scratch(temporary_folders),
        in_scratch(folders_appear_whole),
        in_scratch(room_for_a_folder),
        in_scratch(folders_change_places),
        in_scratch(a_closed_folder_is_not_an_absent_one),
        in_scratch(removing_follows_no_links),
        in_scratch(lists_are_sorted),
        cmocka_unit_test(cache_and_state_follow_the_environment),
    };
    return run_skippable_tests(tests, NULL, NULL);
}
