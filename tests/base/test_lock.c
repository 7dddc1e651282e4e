#include "test.h"

#include "base/lock.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void only_one_holds_it(void **state) {
    char *path = path_join(*state, "lock");
    char *holder = xasprintf("%s: held by moec train, process %ld on ", path, (long)getpid());
    lock first, second;
    assert_ok(lock_take(&first, path, "moec train"));
    assert_fails(lock_take(&second, path, "moec data"), holder);
    assert_fails(lock_take(&second, path, "moec data"), " UTC");
    lock_release(&second); /* was not taken */
    assert_fails(lock_take(&second, path, "moec data"), holder);
    lock_release(&first);
    assert_false(path_exists(path));
    assert_ok(lock_take(&second, path, "moec data"));
    lock_release(&second);
    lock_release(&second);
    free(holder), free(path);
}

/* A child that holds the lock until it is killed; it has it when the call returns. */
static pid_t hold_in_a_child(const char *path) {
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        lock held;
        if (lock_take(&held, path, "a child") != STATUS_OK || write(ready[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void it_ends_with_its_process(void **state) {
    char *path = path_join(*state, "lock");
    pid_t child = hold_in_a_child(path);
    char *holder = xasprintf("held by a child, process %ld on ", (long)child);
    lock mine;
    assert_fails(lock_take(&mine, path, "moec train"), holder);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(path_exists(path));
    assert_ok(lock_take(&mine, path, "moec train"));
    lock_release(&mine);
    assert_false(path_exists(path));
    free(holder), free(path);
}

static void errors_name_the_path(void **state) {
    char *absent = path_join(*state, "absent/lock");
    lock mine;
    assert_fails(lock_take(&mine, absent, "x"), "absent/lock: cannot open: No such file");
    assert_fails(lock_take(&mine, *state, "x"), "found a folder");
    free(absent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(only_one_holds_it),
        in_scratch(it_ends_with_its_process),
        in_scratch(errors_name_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
