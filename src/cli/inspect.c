/* moec inspect */
#include "cli/inspect.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "eval/bpb.h"
#include "formats/pretrained.h"
#include "store/artifact.h"
#include "store/source.h"
#include "train/checkpoint.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "moec inspect PATH|CONFIG [key=value ...] [--json]";

static const char help[] =
    "usage: moec inspect CONFIG [key=value ...] [--json]\n"
    "       moec inspect PATH [--json]\n"
    "\n"
    "Show what a model is made of: parameters by component before and after the events of its training, parameters "
    "that\n"
    "one token uses, the forward path, arithmetic per token and the size that its artifact will have.\n"
    "CONFIG is a YAML preset; PATH a run folder (its newest checkpoint), a checkpoint, an artifact,\n"
    "a Hugging Face folder or a GGUF file.\n"
    "\n"
    "  --json  the same as one JSON object\n"
    "\n"
    "Of an artifact: bits, steps and bytes of each component, as they are stored. A step is the distance of two values "
    "on the\n"
    "grid, in units of the row's root mean square.\n"
    "\n"
    "Otherwise the size is an estimate: rows of weights are taken as Gaussian, the grid's step as the one of least "
    "squared "
    "error, "
    "the\n"
    "coder as ideal; tensors that stay float16 and a 16-bit scale a row are added.\n"
    "\n"
    "examples:\n"
    "  moec inspect configs/demo.yaml\n"
    "  moec inspect configs/upcycle-9l.yaml num_layers=11 pack_bits=5\n"
    "  moec inspect runs/demo --json\n";

static status read_preset(inspected *i, char **overrides, int count) {
    i->kind = "preset";
    i->has_run = true;
    TRY(run_config_load(&i->run, i->path, overrides, count));
    i->now = i->run.model;
    i->context = i->run.train.seq;
    return STATUS_OK;
}

static status read_checkpoint(inspected *i) {
    i->kind = "checkpoint";
    checkpoint *c;
    TRY(checkpoint_require(&c, i->path));
    i->checkpoint = xstrdup(c->path);
    i->has_run = checkpoint_is_of_run(c);
    train_state state = {0};
    status s = checkpoint_load_model_config(c, &i->now);
    if (s == STATUS_OK && i->has_run) s = checkpoint_load_state(c, &state);
    if (s == STATUS_OK && i->has_run) s = checkpoint_load_config(c, &i->run);
    i->step = state.step;
    i->tokens = state.tokens;
    i->context = c->context_tokens;
    checkpoint_close(c);
    return s;
}

/* Compressed as the artifact compresses it, near enough; −1 when there is no such file. */
static int64_t compressed_bytes(const char *path) {
    uint8_t *bytes;
    size_t count;
    double bits;
    if (!path_exists(path) || file_read(path, TOKENIZER_MAX_BYTES, &bytes, &count) != STATUS_OK) return -1;
    status s = xz_bits_per_byte(bytes, count, &bits);
    free(bytes);
    return s == STATUS_OK ? (int64_t)llround(bits * (double)count / 8) : -1;
}

static int64_t tokenizer_size(const inspected *i) {
    const char *folder = i->checkpoint ? i->checkpoint : i->run.data.path;
    bool named = !i->checkpoint && i->run.data.tokenizer;
    char *path = named ? xstrdup(i->run.data.tokenizer) : path_join(folder, "tokenizer.model");
    int64_t bytes = compressed_bytes(path);
    free(path);
    return bytes;
}

static status read_artifact(inspected *i) {
    i->kind = "artifact";
    TRY(artifact_examine(&i->contents, i->path));
    i->now = i->contents.model;
    i->context = i->contents.context_tokens;
    return STATUS_OK;
}

static status read_pretrained(inspected *i) {
    model_source *source;
    TRY(model_source_open(&source, i->path, "chosen"));
    i->kind = model_source_kind(source);
    i->now = model_source_weights(source)->config;
    i->context = model_source_context(source);
    model_source_close(source);
    return STATUS_OK;
}

static void count_up(inspected *i) {
    i->after = i->has_run ? model_after_events(&i->run.events, &i->now) : i->now;
    i->budget_now = model_budget_count(&i->now);
    i->budget_after = model_budget_count(&i->after);
    i->gflop_now = model_forward_flops(&i->now, i->context) / 1e9;
    i->gflop_after = model_forward_flops(&i->after, i->context) / 1e9;
    if (!i->has_run) return;
    quant_options options = pack_options_of(&i->run.pack, i->context).quant;
    i->bits = estimate_bits(&options);
    i->embed_bits = estimate_embed_bits(&options);
    i->estimate = size_estimate_of(&i->after, &options);
    i->tokenizer_bytes = tokenizer_size(i);
}

/* By its first bytes; by its name too, so that one that was cut to nothing is not taken for a preset. */
static bool is_artifact(const char *path) {
    const char *dot = strrchr(path, '.');
    return artifact_is(path) || (dot && strcmp(dot, ".moec") == 0);
}

static status read_any(inspected *i, char **overrides, int count) {
    path_kind kind;
    TRY(path_look(i->path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", i->path);
    bool is_folder = kind == PATH_FOLDER, is_foreign = pretrained_is(i->path);
    bool is_preset = !is_folder && !is_foreign && !is_artifact(i->path);
    if (!is_preset && count > 0)
        return fail_usage("inspect: `%s`: only a preset can be overridden, and %s is none", overrides[0], i->path);
    if (is_foreign) return read_pretrained(i);
    if (is_folder) return read_checkpoint(i);
    return is_preset ? read_preset(i, overrides, count) : read_artifact(i);
}

static status run(int argc, char **argv) {
    bool json = cli_flag(&argc, argv, "--json");
    TRY(cli_rest(argc, argv, 1, INT_MAX, usage));
    inspected i = {.path = argv[1], .run = run_config_default(), .tokenizer_bytes = -1};
    status s = read_any(&i, argv + 2, argc - 2);
    if (s == STATUS_OK) {
        count_up(&i);
        json ? inspect_print_json(&i) : inspect_print(&i);
    }
    run_config_free(&i.run);
    free(i.checkpoint);
    return s;
}

const command command_inspect = {.name = "inspect",
                                 .summary = "parameters, forward path and size of a preset, checkpoint or artifact",
                                 .help = help,
                                 .run = run,
                                 .takes = KIND_PRESET | KINDS_OF_MODEL,
                                 .takes_noun = "a preset or " NOUN_OF_MODEL};
