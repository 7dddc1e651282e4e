#include "study/plot.h"

#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char plot_palette[] = "set cbrange [0:1]\nset palette defined (0 '#ffffff', 0.02 '#fde8cf', 0.5 '#f08030', 0.9 "
                            "'#a01030', 1 '#400020')\n";

void plot_put_text(FILE *script, const char *text) {
    fputc('\'', script);
    for (; *text; text++) {
        if (*text == '\'') fputc('\'', script);
        fputc(*text, script);
    }
    fputc('\'', script);
}

status plot_begin(plot *p, const char *name, int width, int height) {
    *p = (plot){.data = open_memstream(&p->bytes[0], &p->size[0]), .script = open_memstream(&p->bytes[1], &p->size[1])};
    p->name = xstrdup(name);
    if (!p->data || !p->script) {
        plot_abandon(p);
        return fail("plots: out of memory");
    }
    fprintf(p->script,
            "set terminal svg size %d,%d font 'sans,13' background '#ffffff'\nset output '%s.svg'\n"
            "set datafile separator '\\t'\nset datafile missing 'NaN'\nset termoption noenhanced\n"
            "set grid ytics lc rgb '#dddddd'\nset border 3\nset tics nomirror\n",
            width, height, name);
    return STATUS_OK;
}

static void close_streams(plot *p) {
    if (p->data) fclose(p->data);
    if (p->script) fclose(p->script);
    p->data = p->script = NULL;
}

void plot_abandon(plot *p) {
    close_streams(p);
    free(p->bytes[0]);
    free(p->bytes[1]);
    free(p->name);
    *p = (plot){0};
}

/* STATUS_OK and *found false where there is no gnuplot. */
static status gnuplot(const char *folder, const char *script, bool *found) {
    char *arguments[] = {"gnuplot", (char *)script, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int outcome;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, folder);
    int error = posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    *found = error != ENOENT;
    if (error == ENOENT) return STATUS_OK;
    if (error) return fail("gnuplot: cannot start: %s", strerror(error));
    while (waitpid(child, &outcome, 0) < 0)
        if (errno != EINTR) return fail("gnuplot: cannot wait for it: %s", strerror(errno));
    if (!WIFEXITED(outcome) || WEXITSTATUS(outcome) != 0) return fail("gnuplot: %s/%s failed", folder, script);
    return STATUS_OK;
}

static status write_part(const char *folder, const char *name, const char *ending, const char *bytes, size_t size) {
    char *file = xasprintf("%s/%s%s", folder, name, ending);
    status s = file_write_whole(file, bytes, size);
    free(file);
    return s;
}

status plot_end(plot *p, const char *folder, bool *found) {
    close_streams(p);
    status s = write_part(folder, p->name, ".tsv", p->bytes[0], p->size[0]);
    if (s == STATUS_OK) s = write_part(folder, p->name, ".gp", p->bytes[1], p->size[1]);
    char *script = xasprintf("%s.gp", p->name);
    if (s == STATUS_OK) s = gnuplot(folder, script, found);
    free(script);
    plot_abandon(p);
    return s;
}

void plot_say_missing(const char *what) {
    fprintf(stderr, "%s: no plots: gnuplot is not installed (scripts/install-deps plots)\n", what);
}
