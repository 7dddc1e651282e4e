/* moec: finds the command, runs it, prints its error. */
#include "base/nearest.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "comm/comm.h"
#include "kernel/kernel.h"
#include <dnnl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const command *const commands[] = {
    &command_data,   &command_train,    &command_pack,    &command_eval,  &command_generate, &command_chat,
    &command_serve,  &command_inspect,  &command_verify,  &command_bench, &command_sweep,    &command_upcycle,
    &command_export, &command_tokenize, &command_fetch,   &command_probe, &command_teach,    &command_compare,
    &command_route,  &command_study,    &command_simulate};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_overview(FILE *out) {
    fputs("moec trains, upcycles, packs, evaluates and runs small mixture-of-experts language models.\n\n"
          "usage: moec COMMAND [arguments]\n\n",
          out);
    for (int i = 0; i < COMMANDS; i++) fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\nmoec help COMMAND tells more, with examples; moec --version what this machine runs.\n"
          "example: moec inspect configs/demo.yaml\n",
          out);
}

static status print_version(void) {
    const dnnl_version_t *dnnl = dnnl_version();
    TRY(kernels_check());
    printf("moec %s\noneDNN %d.%d.%d\nkernels %s\nthreads %d\nactivations %s\n", MOEC_VERSION, dnnl->major, dnnl->minor,
           dnnl->patch, kernels_isa(), kernels_threads(), dtype_name(kernels_best_act()));
    return STATUS_OK;
}

static const command *find_command(const char *name) {
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static status unknown_command(const char *name) {
    nearest n = {.word = name};
    for (int i = 0; i < COMMANDS; i++) nearest_offer(&n, commands[i]->name);
    return fail_usage("unknown command %.60s; the nearest is %s", name, n.name);
}

static bool is_one_of(const char *text, const char *a, const char *b) {
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

static status run_command(const command *c, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (is_one_of(argv[i], "--help", "-h")) {
            fputs(c->help, stdout);
            return STATUS_OK;
        }
    if (comm_launched() > 1 && !c->takes_ranks)
        return fail_usage(
            "%s: works in one process, and a launcher started %d; train, bench, eval, pack, teach and sweep "
            "take ranks",
            c->name, comm_launched());
    TRY(kernels_check());
    return cli_run(c, argc, argv);
}

/* moec help [COMMAND] */
static status print_help(int argc, char **argv) {
    if (argc > 2) return fail_usage("help: expected at most one command, found `%.60s` too", argv[2]);
    const command *c = argc > 1 ? find_command(argv[1]) : NULL;
    if (argc > 1 && !c) return unknown_command(argv[1]);
    if (c)
        fputs(c->help, stdout);
    else
        print_overview(stdout);
    return STATUS_OK;
}

static status dispatch(int argc, char **argv) {
    if (argc < 2 || is_one_of(argv[1], "--help", "-h")) {
        print_overview(stdout);
        return STATUS_OK;
    }
    if (strcmp(argv[1], "help") == 0) return print_help(argc - 1, argv + 1);
    if (is_one_of(argv[1], "--version", "version")) return print_version();
    if (argv[1][0] == '-') return fail_usage("unknown option %.60s; moec --help lists what there is", argv[1]);
    const command *c = find_command(argv[1]);
    return c ? run_command(c, argc - 1, argv + 1) : unknown_command(argv[1]);
}

/* OpenMP's threads spin between parallel regions. libgomp's default is to spin for milliseconds, which costs a whole time
 * slice at each of some thousand regions a step as soon as another process wants the cores; 10,000 rounds (some 10 µs) cost
 * nothing on an idle machine. It is read while the program is loaded, so the program loads itself again. */
static void load_tuned(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "10000", 1);
    execv("/proc/self/exe", argv); /* where that fails, it goes on as it is */
}

/* A descriptor of these three that is closed would be given to the next file that is opened, and lines for stderr would go into
 * a log. Nothing can be written to what takes its place, so that a closed stdout is still an error. */
static void occupy_standard_descriptors(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd) exit(STATUS_FAILED);
}

/* A full disk or a closed pipe behind stdout must not look like success. */
static status finish_stdout(status s) {
    bool flushed = fflush(stdout) == 0;
    if (s != STATUS_OK || (flushed && !ferror(stdout))) return s;
    return flushed ? fail("stdout: not all of it could be written") : fail("stdout: cannot write: %m");
}

static void print_error(void) {
    bool red = color_enabled(STDERR_FILENO);
    fprintf(stderr, "%smoec: %s%s\n", red ? "\033[31m" : "", error_message(), red ? "\033[0m" : "");
}

int main(int argc, char **argv) {
    occupy_standard_descriptors();
    load_tuned(argv);
    status s = finish_stdout(dispatch(argc, argv));
    if (s != STATUS_OK && error_message()[0] && comm_speaks(s)) {
        comm_sign(s);
        print_error();
    }
    comm_finish(s);
    return s;
}
