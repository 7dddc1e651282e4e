/* moec compare */
#include "study/compare.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/eval_run.h"
#include "cli/prompt.h"
#include "formats/gguf.h"
#include "store/open.h"
#include "study/plot.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "moec compare MODEL MODEL [MODEL ...] --data DIR|--text FILE [options]";

static const char help[] =
    "usage: moec compare MODEL MODEL [MODEL ...] --data DIR|--text FILE [options]\n"
    "\n"
    "Models beside one another, on the same text, each with its own tokenizer: bits per byte and perplexity by domain "
    "and in\n"
    "all, the difference to the first model with its standard error (paired: over documents, or over pieces of 2,048 "
    "bytes\n"
    "where a domain has few), parameters, bytes on the disk, time to load, speed of reading and of writing, peak "
    "memory, and\n"
    "what they write behind the same prompts: how much of it repeats itself, and how often it ends by itself. A MODEL "
    "is\n"
    "an artifact, a checkpoint, a run folder, a Hugging Face folder or a GGUF file. Each is measured in a process of "
    "its own,\n"
    "one after another; of a run the newest checkpoint is taken, with the weights that the training found better.\n"
    "\n"
    "  --data PATH      a folder made by moec data (its held-out text), or a shard\n"
    "  --text FILE      any file of text; may be given many times, each is a domain\n"
    "  --tokens N       score a sample, about N tokens of the first model, the same part of every domain (65536); 0: "
    "all\n"
    "  --seq N          window length in tokens, half of them new (by default as each was trained, of pretrained ones "
    "at most\n"
    "                   2048)\n"
    "  --prompts FILE   a prompt a line (by default the beginning of a document of each domain)\n"
    "  --samples N      so many texts behind each prompt (1); 0: none\n"
    "  --new-tokens N   at most so many tokens in each (128)\n"
    "  -o FOLDER        write compare.md (with the texts), compare.json and compare.svg there\n"
    "  --json           print one JSON object instead of the tables\n"
    "  --device D, --dtype T   cpu; bf16 or f32 (by default the fastest)\n"
    "\n"
    "example: moec compare runs/demo runs/demo/model.moec --data data/demo\n";

typedef struct request {
    compare_options o;
    compare_subject subjects[COMPARE_MAX_MODELS];
    eval_run runs[COMPARE_MAX_MODELS]; /* whose checkpoints are held */
    char *kinds[COMPARE_MAX_MODELS];
    const char **files;
    const char *prompt_file, *folder;
    prompt prompts; /* its lines end with NULs */
    const char **lines;
    bool json;
} request;

/* ---- the command line ---- */

static status parse(int *argc, char **argv, request *q) {
    long long tokens = 65536, seq = 0, samples = 1, fresh = 128;
    compare_options *o = &q->o;
    TRY(cli_device(argc, argv, NULL, &o->k));
    o->file_count = cli_options(argc, argv, "--text", &q->files);
    o->files = q->files;
    o->data = cli_option(argc, argv, "--data");
    q->prompt_file = cli_option(argc, argv, "--prompts");
    q->folder = cli_option(argc, argv, "-o");
    q->json = cli_flag(argc, argv, "--json");
    TRY(cli_integer("--tokens", cli_option(argc, argv, "--tokens"), 0, INT64_MAX, &tokens));
    TRY(cli_integer("--seq", cli_option(argc, argv, "--seq"), 1, 1 << 20, &seq));
    TRY(cli_integer("--samples", cli_option(argc, argv, "--samples"), 0, 1000, &samples));
    TRY(cli_integer("--new-tokens", cli_option(argc, argv, "--new-tokens"), 1, 1 << 20, &fresh));
    TRY(cli_rest(*argc, argv, 2, COMPARE_MAX_MODELS, usage));
    if (!o->data == !o->file_count)
        return fail_usage("compare: expected either --data or --text, found %s", o->data ? "both" : "neither");
    if (samples == 0 && q->prompt_file) return fail_usage("--prompts: expected --samples of at least 1, found 0");
    o->tokens = tokens;
    o->seq = seq;
    o->samples = (int)samples;
    o->new_tokens = fresh;
    o->sampler = (sampler){.temperature = 0.8F, .top_p = 0.95F, .seed = 1};
    o->count = *argc - 1;
    o->models = q->subjects;
    return STATUS_OK;
}

/* A prompt each line that is not empty. */
static status read_prompts(request *q) {
    if (!q->prompt_file) return STATUS_OK;
    TRY(prompt_read(&q->prompts, NULL, q->prompt_file));
    q->lines = xmalloc((q->prompts.bytes / 2 + 1) * sizeof *q->lines);
    char *rest = q->prompts.text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        line[strcspn(line, "\r")] = '\0';
        if (*line) q->lines[q->o.prompt_count++] = line;
    }
    q->o.prompts = q->lines;
    if (q->o.prompt_count > 0) return STATUS_OK;
    return fail_usage("%s: expected a prompt a line, found none", q->prompt_file);
}

/* ---- the models ---- */

static status describe(const checkpoint *saved, const char *path, char **kind) {
    const char *which;
    if (!saved) {
        *kind = xstrdup(path_is_folder(path) ? "Hugging Face folder" : gguf_is(path) ? "GGUF file" : "artifact");
        return STATUS_OK;
    }
    TRY(checkpoint_weights(saved, "chosen", &which));
    *kind = xasprintf("checkpoint of step %lld, %s weights", (long long)saved->step,
                      strcmp(which, "ema") == 0 ? "averaged" : "live");
    return STATUS_OK;
}

/* A run's checkpoint is held, so that what is opened first and measured later is the same. What an artifact's run has is no
 * more than a hint at what was held out. */
static status find_model(request *q, int index, char *path) {
    eval_run *run = &q->runs[index];
    for (size_t end = strlen(path); end > 1 && path[end - 1] == '/'; end--) path[end - 1] = '\0'; /* for its name */
    TRY(kind_expect("compare", path, NULL, KINDS_OF_MODEL, NOUN_OF_MODEL));
    const bool saved = open_is_saved(path);
    const status found = eval_run_find(run, path);
    if (saved) TRY(found);
    TRY(describe(saved ? run->saved : NULL, path, &q->kinds[index]));
    q->subjects[index] = (compare_subject){.path = path,
                                           .open = saved ? run->saved->path : path,
                                           .kind = q->kinds[index],
                                           .held_out = q->o.data && eval_run_held_out(run, q->o.data)};
    return STATUS_OK;
}

static status compare(request *q) {
    comparison c;
    bool plotted = false;
    TRY(read_prompts(q));
    if (q->folder) TRY(folder_check(q->folder));
    status s = compare_run(&q->o, &c);
    if (s == STATUS_OK && q->folder) s = compare_write(&c, q->folder, &plotted);
    if (s == STATUS_OK && q->json) cli_print_json(compare_json(&c));
    if (s == STATUS_OK && !q->json) compare_print(&c, false, NULL, stdout);
    if (s == STATUS_OK && q->folder && !plotted) plot_say_missing("compare");
    if (s == STATUS_OK && q->folder)
        cli_results("%s: compare.md, compare.json%s", q->folder, plotted ? ", compare.svg" : "");
    comparison_free(&c);
    return s;
}

static status run(int argc, char **argv) {
    request *q = xcalloc(1, sizeof *q);
    status s = parse(&argc, argv, q);
    interrupt_catch();
    for (int i = 0; i < q->o.count && s == STATUS_OK; i++) s = find_model(q, i, argv[1 + i]);
    if (s == STATUS_OK) s = compare(q);
    for (int i = 0; i < COMPARE_MAX_MODELS; i++) {
        eval_run_free(&q->runs[i]);
        free(q->kinds[i]);
    }
    prompt_free(&q->prompts);
    free(q->lines);
    free(q->files);
    free(q);
    return s;
}

const command command_compare = {.name = "compare",
                                 .summary = "models beside one another: worth, cost, speed, what they write",
                                 .help = help,
                                 .run = run,
                                 .takes = KINDS_OF_MODEL,
                                 .takes_noun = NOUN_OF_MODEL};
