#include "base/child.h"
#include "base/memory.h"
#include "base/progress.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 50, CHUNK = 1 << 16 };

/* ---- the child ---- */

static void send_all(int fd, const void *bytes, size_t count) {
    for (const uint8_t *at = bytes; count > 0;) {
        ssize_t sent = write(fd, at, count);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return; /* the parent is gone, or will miss the rest */
        at += sent;
        count -= (size_t)sent;
    }
}

/* The work, and what it makes. */
typedef struct errand {
    child_work work;
    void *context;
    uint8_t *bytes;
    size_t count;
} errand;

static status do_errand(void *of) {
    errand *e = of;
    return e->work(e->context, &e->bytes, &e->count);
}

/* Sends one byte of status, then the result or the message; memory that runs out is an outcome, too. */
static _Noreturn void be_child(int fd, pid_t parent, child_work work, void *context) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1); /* it ended before the line above */
    signal(SIGINT, SIG_IGN);           /* the terminal sends it to both; the parent decides */
    errand e = {.work = work, .context = context};
    status s = memory_guarded(do_errand, &e);
    uint8_t first = (uint8_t)s;
    send_all(fd, &first, 1);
    if (s == STATUS_OK)
        send_all(fd, e.bytes, e.count);
    else
        send_all(fd, error_message(), strlen(error_message()));
    _exit(0); /* not exit(): buffered output belongs to the parent */
}

/* ---- the parent ---- */

typedef struct answer {
    uint8_t *bytes;
    size_t count, capacity;
} answer;

/* Until the child closes its end or an interrupt comes; poll() wakes up from signals although read() would go on. */
static status receive(int fd, answer *a) {
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    for (;;) {
        if (interrupt_requested()) return STATUS_INTERRUPTED;
        if (poll(&waiting, 1, LOOK_EVERY_MS) <= 0) continue;
        if (a->count + CHUNK + 1 > a->capacity) {
            a->capacity = 2 * a->capacity + CHUNK + 1;
            a->bytes = xrealloc(a->bytes, a->capacity);
        }
        ssize_t got = read(fd, a->bytes + a->count, CHUNK);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return STATUS_OK;
        a->count += (size_t)got;
    }
}

/* What the child said, after its end. */
static status outcome(const char *what, pid_t child, const answer *a) {
    int how;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR) {}
    if (interrupt_requested()) {
        fail("%s: interrupted", what);
        return STATUS_INTERRUPTED;
    }
    if (WIFSIGNALED(how))
        return fail("%s: its process was ended by signal %d (%s)", what, WTERMSIG(how), strsignal(WTERMSIG(how)));
    if (a->count == 0 || WEXITSTATUS(how) != 0)
        return fail("%s: its process ended with exit code %d", what, WEXITSTATUS(how));
    status s = (status)a->bytes[0];
    if (s != STATUS_OK) fail("%.*s", (int)(a->count - 1), (const char *)a->bytes + 1);
    return s;
}

status child_run(const char *what, child_work work, void *context, uint8_t **bytes, size_t *count) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail("%s: cannot make a pipe: %s", what, strerror(errno));
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        close(ends[0]);
        be_child(ends[1], parent, work, context);
    }
    status s = child < 0 ? fail("%s: cannot start a process: %s", what, strerror(errno)) : STATUS_OK;
    close(ends[1]);
    answer a = {0};
    if (child > 0) {
        if (receive(ends[0], &a) != STATUS_OK) kill(child, SIGKILL);
        s = outcome(what, child, &a);
    }
    close(ends[0]);
    if (s != STATUS_OK) {
        free(a.bytes);
        return s;
    }
    *count = a.count - 1; /* behind the status */
    memmove(a.bytes, a.bytes + 1, *count);
    a.bytes[*count] = 0;
    *bytes = a.bytes;
    return STATUS_OK;
}
