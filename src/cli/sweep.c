/* moec sweep */
#include "study/sweep.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/ranks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec sweep FILE [options]\n"
    "\n"
    "Trains every configuration of FILE with every seed, one after another, each with the same steps or the same "
    "time;\n"
    "scores each on the held-out text, live, averaged and, where FILE says pack: true, packed. FILE is YAML:\n"
    "\n"
    "  seeds: [1, 2, 3]\n"
    "  max_seconds: 90                # of training; or steps: 600\n"
    "  pack: false                    # true: pack each run and score the artifact\n"
    "  eval_tokens: 0                 # held-out tokens scored at the end, the same part of every domain; 0: all\n"
    "  config: ../cpu/dense-9l.yaml   # for runs that name none; paths start from FILE's folder\n"
    "  common: {val_every: 0}         # keys for every run\n"
    "  runs:\n"
    "    - {name: dense}\n"
    "    - {name: wide, config: other.yaml, overrides: {mlp_mult: 4}}\n"
    "  scaling: {of: tokens, times: [1, 2, 4, 8]}   # every run with so many times the steps, as NAME-x1, NAME-x2, "
    "...\n"
    "\n"
    "With scaling, the laws loss = E + A D^-alpha and A D^-alpha go through the runs, with intervals over seeds, how "
    "well "
    "each\n"
    "fits, and what they say of 2, 4 and 10 times the largest. Without times they go through all runs: those may have\n"
    "`times: N` of their own, and `of: parameters` or `of: active_parameters` is for runs of different sizes.\n"
    "\n"
    "DIR gets a run folder for each, results.jsonl, results.md with the tables (means over seeds, and what each run\n"
    "differs by from the first, seed by seed), plots/ (by gnuplot) and, with scaling, scaling.json. All of FILE is "
    "checked\n"
    "before any work. Finished runs are not made again, an interrupted one goes on from its checkpoint: the same "
    "command\n"
    "does what is left.\n"
    "\n"
    "Under `mpirun -n N moec sweep ...` or srun each rank takes every N-th of the runs that are to be made, by "
    "itself.\n"
    "\n"
    "  --out DIR    (runs/sweeps/NAME for NAME.yaml)\n"
    "  --list       only show the runs, their parameters and how far they are\n"
    "  --report     only write the table and the plots anew\n"
    "\n"
    "example: moec sweep configs/sweeps/b-loops-steps.yaml\n";

/* runs/sweeps/NAME for .../NAME.yaml */
static char *default_out(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return xasprintf("runs/sweeps/%.*s", dot && dot > name ? (int)(dot - name) : (int)strlen(name), name);
}

static status print_table(const char *out) {
    char *path = path_join(out, "results.md");
    uint8_t *text;
    size_t count;
    status s = file_read(path, FILE_ANY_SIZE, &text, &count);
    if (s == STATUS_OK) {
        fwrite(text, 1, count, stdout);
        free(text);
    }
    free(path);
    return s;
}

static void say_results(const char *out) {
    char *plots = path_join(out, "plots");
    cli_results("%s: results.md, results.jsonl, %sa folder for each run", out, path_is_folder(plots) ? "plots, " : "");
    free(plots);
}

typedef struct request {
    const char *path, *out; /* out NULL: as default_out says */
    bool list, report;
} request;

static status parse(int argc, char **argv, request *q) {
    q->out = cli_option(&argc, argv, "--out");
    q->list = cli_flag(&argc, argv, "--list");
    q->report = cli_flag(&argc, argv, "--report");
    if (q->list && q->report) return fail_usage("--list and --report exclude each other");
    if (argc > 2 && strchr(argv[2], '='))
        return fail_usage("sweep: expected only FILE, found `%s` too; keys for every run stand there under common:",
                          argv[2]);
    TRY(cli_rest(argc, argv, 1, 1, "moec sweep FILE [--out DIR] [--list | --report]"));
    q->path = argv[1];
    return STATUS_OK;
}

/* What there is then, or was asked for instead. */
static status show(const sweep *s, const char *out, const request *q) {
    if (q->list) return sweep_list(s, out);
    if (q->report) TRY(sweep_report(s, out));
    TRY(print_table(out));
    say_results(out);
    return STATUS_OK;
}

static status run(int argc, char **argv) {
    request q = {0};
    comm *ranks;
    sweep s;
    TRY(cli_ranks(argc, argv, &ranks));
    TRY(comm_agree(ranks, parse(argc, argv, &q)));
    char *out = q.out ? xstrdup(q.out) : default_out(q.path);
    status result = comm_agree(ranks, sweep_load(&s, q.path));
    if (result == STATUS_OK && !q.list && !q.report) result = sweep_run(&s, out, ranks);
    if (result == STATUS_OK && ranks->rank == 0) result = show(&s, out, &q);
    sweep_free(&s);
    free(out);
    return result;
}

const command command_sweep = {.name = "sweep",
                               .summary = "train and compare configurations x seeds",
                               .help = help,
                               .run = run,
                               .takes = KIND_PRESET,
                               .takes_noun = "a sweep (a YAML file as those in configs/sweeps)",
                               .takes_ranks = true};
