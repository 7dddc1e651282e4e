/* moec sweep */
#include "train/sweep.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "pack/artifact.h"
#include "pack/calibrate.h"
#include "pack/open.h"
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
    "  eval_tokens: 0                 # held-out tokens scored at the end; 0: all\n"
    "  config: ../cpu/dense-9l.yaml   # for runs that name none; paths start from FILE's folder\n"
    "  common: {val_every: 0}         # keys for every run\n"
    "  runs:\n"
    "    - {name: dense}\n"
    "    - {name: wide, config: other.yaml, overrides: {mlp_mult: 4}}\n"
    "\n"
    "DIR gets a run folder for each, results.jsonl, results.md with the table, and plots/ (by gnuplot). All of FILE "
    "is\n"
    "checked before any work. Finished runs are not made again, an interrupted one goes on from its checkpoint: the "
    "same\n"
    "command does what is left.\n"
    "\n"
    "  --out DIR    (runs/sweeps/NAME for NAME.yaml)\n"
    "  --list       only show the runs, their parameters and how far they are\n"
    "  --report     only write the table and the plots anew\n"
    "\n"
    "example: moec sweep configs/sweeps/routing.yaml\n";

/* The averaged weights where the run has some, as moec pack does it. */
static status pack_model(const run_config *c, model *m, const tokenizer *tok, int context, const char *path,
                         int64_t *bytes) {
    hessians *h;
    pack_report report;
    pack_options options = pack_options_default();
    options.bits = (int)c->pack_bits;
    options.embed_bits = (int)c->embed_bits;
    options.budget_bytes = c->budget_bytes;
    options.gptq = true;
    options.damp = c->gptq_damp;
    options.prune_fraction = c->prune_fraction;
    options.context_tokens = context;
    TRY(hessians_create(&h, m->k));
    status s = hessians_calibrate(h, m, tok, c->data, c->batch, c->seq, c->seed, c->calibration_batches);
    if (s == STATUS_OK) s = artifact_write(path, m, tok, h, &options, &report);
    if (s == STATUS_OK) *bytes = report.artifact_bytes;
    hessians_destroy(h);
    return s;
}

static status pack_run(const run_config *c, const kernels *k, model **packed, int64_t *bytes) {
    char *path = path_join(c->run, "model.moec");
    model *m;
    tokenizer *tok;
    int context = 0;
    status s = open_model(c->run, k, "ema", &m, &tok, &context);
    if (s == STATUS_OK) {
        s = pack_model(c, m, tok, context, path, bytes);
        model_destroy(m);
        tokenizer_close(tok);
    }
    if (s == STATUS_OK) s = artifact_read(path, k, packed, NULL, NULL);
    free(path);
    return s;
}

/* runs/sweeps/NAME for .../NAME.yaml */
static char *default_out(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return xasprintf("runs/sweeps/%.*s", dot && dot > name ? (int)(dot - name) : (int)strlen(name), name);
}

static status print_table(const char *out) {
    char *path = path_join(out, "results.md");
    uint8_t *text;
    size_t count;
    status s = file_read(path, &text, &count);
    if (s == STATUS_OK) {
        fwrite(text, 1, count, stdout);
        printf("\nwritten to %s\n", path);
        free(text);
    }
    free(path);
    return s;
}

static status run(int argc, char **argv) {
    const char *folder = cli_option(&argc, argv, "--out");
    bool list = cli_flag(&argc, argv, "--list"), report = cli_flag(&argc, argv, "--report");
    if (list && report) return fail_usage("--list and --report exclude each other");
    TRY(cli_rest(argc, argv, 1, 1, "moec sweep FILE [--out DIR] [--list | --report]"));
    char *out = folder ? xstrdup(folder) : default_out(argv[1]);
    sweep s;
    status result = sweep_load(&s, argv[1]);
    if (result == STATUS_OK)
        result = list ? sweep_list(&s, out) : report ? sweep_report(&s, out) : sweep_run(&s, out, pack_run);
    if (result == STATUS_OK && !list) result = print_table(out);
    sweep_free(&s);
    free(out);
    return result;
}

const command command_sweep = {
    .name = "sweep", .summary = "train and compare configurations x seeds", .help = help, .run = run};
