/* The command moec, which lies beside the folder of the tests, run with its output in files. */
#ifndef MOEC_TESTS_FETCH_COMMAND_H
#define MOEC_TESTS_FETCH_COMMAND_H

#include "base/progress.h"
#include "test.h"
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct command_run {
    pid_t process;
    char *out, *err; /* paths */
} command_run;

static inline void command_path(char path[PATH_MAX + 16]) {
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    self[length] = '\0';
    snprintf(path, PATH_MAX + 16, "%s/moec", dirname(dirname(self)));
}

static inline command_run command_start(const char *folder, const char *const *arguments) {
    char moec[PATH_MAX + 16];
    command_run c = {.out = path_join(folder, "stdout"), .err = path_join(folder, "stderr")};
    command_path(moec);
    c.process = fork();
    if (c.process == 0) {
        const char *argv[32] = {moec, NULL};
        for (int i = 0; arguments[i] && i < 30; i++) argv[i + 1] = arguments[i];
        if (!freopen(c.out, "w", stdout) || !freopen(c.err, "w", stderr)) _exit(99);
        execv(moec, (char *const *)argv);
        _exit(98);
    }
    return c;
}

/* Its exit code. */
static inline int command_wait(command_run *c) {
    int outcome;
    assert_int_equal(waitpid(c->process, &outcome, 0), c->process);
    return WIFEXITED(outcome) ? WEXITSTATUS(outcome) : -1;
}

static inline void command_end(command_run *c) {
    free(c->out);
    free(c->err);
}

static inline char *text_of(const char *path) {
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(path, 1 << 20, &bytes, &count));
    return (char *)bytes;
}

/* Exit code and a part of stderr; no line of either has `secret` in it. */
static inline void command_gives(const char *folder, int code, const char *part, const char *const *arguments) {
    command_run c = command_start(folder, arguments);
    int found = command_wait(&c);
    char *err = text_of(c.err), *out = text_of(c.out);
    if (found != code) fail_msg("exit %d instead of %d: %s", found, code, err);
    if (*part && !strstr(err, part)) fail_msg("\"%s\" lacks \"%s\"", err, part);
    assert_null(strstr(err, "hf_secret"));
    assert_null(strstr(out, "hf_secret"));
    free(err);
    free(out);
    command_end(&c);
}
#define command_gives(folder, code, part, ...)                                                                         \
    command_gives(folder, code, part, (const char *const[]){__VA_ARGS__, NULL})

#endif
