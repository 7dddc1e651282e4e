#include "test.h"

#include "base/child.h"
#include "base/progress.h"
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static int touched; /* by the child: a copy */

static status give(void *context, uint8_t **bytes, size_t *count) {
    touched = 1;
    *count = *(size_t *)context;
    *bytes = xmalloc(*count);
    for (size_t i = 0; i < *count; i++) (*bytes)[i] = (uint8_t)(i * 7);
    return STATUS_OK;
}

static status refuse(void *context, uint8_t **bytes, size_t *count) {
    (void)bytes, (void)count;
    return fail_usage("%s: expected less", (const char *)context);
}

static status ask_too_much(void *context, uint8_t **bytes, size_t *count) {
    (void)context, (void)bytes, (void)count;
    memory_out(1000);
}

static status crash(void *context, uint8_t **bytes, size_t *count) {
    (void)context, (void)bytes, (void)count;
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    return STATUS_OK;
}

static status leave(void *context, uint8_t **bytes, size_t *count) {
    (void)context, (void)bytes, (void)count;
    _exit(7);
}

static status hang(void *context, uint8_t **bytes, size_t *count) {
    (void)context, (void)bytes, (void)count;
    pause(); /* no signal will come */
    return STATUS_OK;
}

static void bytes_come_back(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 65536, 1000000};
    for (int i = 0; i < 4; i++) {
        uint8_t *bytes;
        size_t wanted = sizes[i], count;
        assert_ok(child_run("work", give, &wanted, &bytes, &count));
        assert_int_equal(count, wanted);
        for (size_t k = 0; k < count; k++) assert_int_equal(bytes[k], (uint8_t)(k * 7));
        assert_int_equal(bytes[count], 0);
        free(bytes);
    }
    assert_int_equal(touched, 0);
}

static void failures_come_back(void **state) {
    (void)state;
    uint8_t *bytes;
    size_t count;
    assert_int_equal(child_run("work", refuse, "27", &bytes, &count), STATUS_USAGE);
    assert_string_equal(error_message(), "27: expected less");
    assert_fails(child_run("work", ask_too_much, NULL, &bytes, &count), "out of memory (1000 bytes were asked for)");
    assert_fails(child_run("work", crash, NULL, &bytes, &count), "work: its process was ended by signal 6");
    assert_fails(child_run("work", leave, NULL, &bytes, &count), "work: its process ended with exit code 7");
}

static void an_interrupt_ends_it(void **state) { /* last: the flag stays */
    (void)state;
    uint8_t *bytes;
    size_t count;
    interrupt_catch();
    pid_t self = getpid(), other = fork();
    if (other == 0) {
        usleep(200 * 1000);
        kill(self, SIGINT);
        _exit(0);
    }
    double started = clock_seconds();
    assert_int_equal(child_run("work", hang, NULL, &bytes, &count), STATUS_INTERRUPTED);
    assert_string_equal(error_message(), "work: interrupted");
    assert_true(clock_seconds() - started < 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(failures_come_back),
        cmocka_unit_test(an_interrupt_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
