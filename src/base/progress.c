#include "base/progress.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const double SECONDS_BETWEEN_LINES_ON_A_TERMINAL = 0.1, SECONDS_BETWEEN_LINES_ELSEWHERE = 10;

double time_of_day(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool color_enabled(int fd) {
    const char *no_color = getenv("NO_COLOR"); /* no-color.org: set and not empty */
    return isatty(fd) && !(no_color && *no_color);
}

/* "7s", "3m05s", "2h14m" */
static void format_duration(char *text, size_t bytes, double seconds) {
    long s = seconds > 0 ? (long)(seconds + 0.5) : 0;
    if (s < 60)
        snprintf(text, bytes, "%lds", s);
    else if (s < 3600)
        snprintf(text, bytes, "%ldm%02lds", s / 60, s % 60);
    else
        snprintf(text, bytes, "%ldh%02ldm", s / 3600, s / 60 % 60);
}

static bool quiet;

void progress_keep_quiet(void) {
    quiet = true;
}

progress progress_start(const char *what) {
    double now = clock_seconds();
    return (progress){.what = what, .started = now, .last_shown = now, .terminal = isatty(STDERR_FILENO)};
}

void progress_show(progress *p, double fraction, const char *detail) {
    double now = clock_seconds();
    double pause = p->terminal ? SECONDS_BETWEEN_LINES_ON_A_TERMINAL : SECONDS_BETWEEN_LINES_ELSEWHERE;
    if (quiet || now - p->last_shown < pause) return;
    p->last_shown = now;
    double elapsed = now - p->started;
    char elapsed_text[32], left_text[32] = "?";
    format_duration(elapsed_text, sizeof elapsed_text, elapsed);
    if (fraction > 0) format_duration(left_text, sizeof left_text, elapsed * (1 - fraction) / fraction);
    fprintf(stderr, "%s%s %3.0f%%  %s  %s, %s left%s", p->terminal ? "\r\033[K" : "", p->what, 100 * fraction,
            detail ? detail : "", elapsed_text, left_text, p->terminal ? "" : "\n");
    fflush(stderr);
}

void progress_end(progress *p, const char *detail) {
    char elapsed_text[32];
    if (quiet) return;
    format_duration(elapsed_text, sizeof elapsed_text, clock_seconds() - p->started);
    fprintf(stderr, "%s%s done  %s  %s\n", p->terminal ? "\r\033[K" : "", p->what, detail ? detail : "", elapsed_text);
}

void progress_clear(progress *p) {
    if (!p->terminal || p->last_shown == p->started) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}

static volatile sig_atomic_t interrupted;

static char announcement[160];
static volatile sig_atomic_t announcement_bytes;

void interrupt_announce(const char *line) {
    announcement_bytes = 0;
    if (!line) return;
    const int bytes =
        snprintf(announcement, sizeof announcement, "%s%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", line);
    if (!quiet && bytes < (int)sizeof announcement) announcement_bytes = bytes;
}

static void note_interrupt(int signal_number) {
    const int error = errno;
    (void)signal_number;
    interrupted = 1;
    const size_t bytes = (size_t)announcement_bytes;
    announcement_bytes = 0;
    if (bytes > 0) (void)!write(STDERR_FILENO, announcement, bytes);
    errno = error;
}

static void catch_signal(int signal_number) {
    /* SA_RESETHAND gives the second signal its usual effect. */
    struct sigaction action = {.sa_handler = note_interrupt, .sa_flags = SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
}

void interrupt_catch(void) {
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGUSR1);
}

bool interrupt_requested(void) {
    return interrupted;
}

void interrupt_forget(void) {
    interrupted = 0;
    catch_signal(SIGINT);
}
