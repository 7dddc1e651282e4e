/* moec train */
#include "train/train.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "comm/comm.h"
#include "train/resume.h"
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "moec train CONFIG|RUN [key=value ...] [--resume [--allow-changes] | --overwrite]";

static const char help[] =
    "usage: moec train CONFIG [key=value ...] [--resume [--allow-changes] | --overwrite]\n"
    "       moec train RUN [key=value ...] --resume [--allow-changes]\n"
    "       moec train --keys\n"
    "\n"
    "Train a model as CONFIG (a YAML preset, see configs/) describes it. Every key of the preset can be overridden.\n"
    "\n"
    "  --resume         go on from the newest checkpoint of the run, bit for bit (from the start if it has none yet).\n"
    "                   RUN, the run's folder, in the place of CONFIG: with its own config.yaml. What differs from\n"
    "                   the run's own configuration is said and logged, and refused where it would make another run\n"
    "                   of it (data, model, rates, seed, batches); more steps or seconds, and how often it looks,\n"
    "                   logs and saves, may change\n"
    "  --allow-changes  with --resume: go on whatever differs\n"
    "  --overwrite      remove the run's checkpoints and log, and begin anew\n"
    "  --keys           show every key with its type, its default and what it means\n"
    "\n"
    "The run's folder (key `run`) gets checkpoints/step-N, log.jsonl with every step, and config.yaml; with\n"
    "keep_best=true checkpoints/best too, which every command takes. Ctrl-C finishes the step, saves and exits with\n"
    "130; a run that was killed is resumed from its last checkpoint.\n"
    "\n"
    "init=MODEL begins with the weights of another model: a run, a checkpoint, an artifact, a Hugging Face folder or "
    "a\n"
    "GGUF file. The model's keys are MODEL's then; a preset that gives other ones is refused, and an override is a\n"
    "change that is meant. The data have to be of its tokenizer.\n"
    "\n"
    "Several processes train one model together under `mpirun -n N moec train ...` or `srun moec train ...`: "
    "accumulate is\n"
    "the number of micro-batches that they share, and the weights are those of one process (docs/parallel.md). With\n"
    "expert_ranks=X groups of X ranks have a mixture's experts between them.\n"
    "\n"
    "examples (the text is moec's own):\n"
    "  moec data data/own --domain code=src --vocab 2048\n"
    "  moec train configs/demo.yaml data=data/own run=runs/own steps=200 matrix_lr=0.03\n"
    "  moec train runs/own --resume steps=300\n"
    "  moec train configs/continue.yaml init=runs/own data=data/own run=runs/more steps=100\n";

static void print_summary(const train_result *r) {
    if (r->idle) {
        printf("finished at step %" PRId64 " already: nothing is left to do, and nothing was changed\n", r->state.step);
        return;
    }
    printf("trained %" PRId64 " steps, %.2f M tokens in %.0f s (%.0f tokens/s)", r->state.step,
           (double)r->state.tokens / 1e6, r->state.seconds, r->tokens_per_second);
    if (isnan(r->loss))
        printf(", and no step was left to do\n");
    else
        printf(", last loss %.4f\n", r->loss);
}

static void say_results(const run_config *c, const train_result *r) {
    char best[64] = "";
    const int64_t best_step = c->train.keep_best ? r->state.looks.best_step : 0;
    if (best_step > 0) snprintf(best, sizeof best, ", checkpoints/best (step %" PRId64 ")", best_step);
    cli_results("%s: checkpoints/step-%08" PRId64 "%s, log.jsonl, config.yaml%s%s", c->train.run, r->state.step, best,
                c->train.log_csv ? ", log.csv" : "", c->train.tensorboard ? ", events for TensorBoard" : "");
}

static status train(const run_config *c, train_start start) {
    if (!c->train.run || !*c->train.run) return fail_usage("run: expected a folder for the run, found nothing");
    train_result result;
    TRY(train_run(c, start, &result));
    if (!comm_speaks(STATUS_OK)) return STATUS_OK;
    print_summary(&result);
    say_results(c, &result);
    return STATUS_OK;
}

static status load(run_config *c, const char *path, char **overrides, int count, bool resume) {
    if (resume && path_is_folder(path)) return resume_config(c, path, overrides, count);
    if (!resume_is_run(path)) return run_config_load(c, path, overrides, count);
    return fail_usage("%s: a run is there: --resume goes on with it; to begin another one, name a preset and "
                      "run=FOLDER (moec train CONFIG run=FOLDER)",
                      path);
}

static status run(int argc, char **argv) {
    bool keys = cli_flag(&argc, argv, "--keys"), changes = cli_flag(&argc, argv, "--allow-changes");
    bool resume = cli_flag(&argc, argv, "--resume"), overwrite = cli_flag(&argc, argv, "--overwrite");
    if (keys) {
        run_config_describe(stdout);
        return STATUS_OK;
    }
    if (resume && overwrite) return fail_usage("--resume and --overwrite exclude each other");
    if (changes && !resume) return fail_usage("--allow-changes: expected --resume beside it");
    TRY(cli_rest(argc, argv, 1, INT_MAX, usage));
    const train_start start = changes     ? TRAIN_RESUME_CHANGED
                              : resume    ? TRAIN_RESUME
                              : overwrite ? TRAIN_OVERWRITE
                                          : TRAIN_NEW;
    run_config config = run_config_default();
    comm *ranks;
    TRY(comm_open(&ranks));
    status result = comm_agree(ranks, load(&config, argv[1], argv + 2, argc - 2, resume));
    if (result == STATUS_OK) result = train(&config, start);
    run_config_free(&config);
    return result;
}

const command command_train = {.name = "train",
                               .summary = "train a model from a preset",
                               .help = help,
                               .run = run,
                               .takes = KIND_PRESET | KIND_RUN,
                               .takes_noun = "a preset (a YAML file as those in configs/)",
                               .takes_ranks = true};
