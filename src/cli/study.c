/* moec study */
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/packable.h"
#include "store/open.h"
#include "study/quant_study.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec study MODEL [options]\n"
    "\n"
    "What quantisation does to a model (a run, a checkpoint, a Hugging Face folder or a GGUF file), as tables and "
    "plots:\n"
    "\n"
    "  --five           bits of attention against bits of MLPs: attn6_mlp6, attn6_mlp5, attn6_mlp4, attn5_mlp5, "
    "attn5_mlp4\n"
    "  --curve          bits per byte against bytes for each quantiser, at one rate everywhere and with bytes shared "
    "out,\n"
    "                   and how many bits a weight each is from the Gaussian rate-distortion limit at equal error\n"
    "  --layers         cosine and relative error of the hidden state against the float model, block by block and "
    "pass\n"
    "                   by pass of a loop\n"
    "  --gap            the loss of #2102's way of packing taken apart: its causes (an average that bf16 froze, a "
    "floor "
    "under\n"
    "                   scales, an embedding without statistics, experts' Hessians of all tokens, clip choice, the "
    "wrong\n"
    "                   weights) taken away one by one down to `moec pack MODEL --uniform`, and the hidden state's "
    "error\n"
    "                   after every pass. The average needs a run with keep_checkpoints of 2 or more\n"
    "  --sensitivity    what errors of the matrices of one role do to the loss, foretold and measured\n"
    "                   (none of these five: all of them)\n"
    "  -o FOLDER        study.md, study.json, and by gnuplot five.svg, curve.svg, layers.svg, gap.svg,\n"
    "                   gap-layers.svg (MODEL/study, of a run)\n"
    "  --bits LIST      bits a weight of --curve and --layers (2,2.5,3,3.5,4,5)\n"
    "  --tokens N       score a sample of N tokens of held-out text, the same part of every domain (65536; 0: all)\n"
    "  --data PATH      a folder made by moec data, to calibrate and to score (the run's data)\n"
    "  --calibration N  batches to calibrate with (the run's calibration_batches, 16; of models of no run 64 of two\n"
    "                   sequences of 1,024 tokens)\n"
    "  --live, --ema    the live weights, the averaged ones, whatever the training found\n"
    "  --device D, --dtype T   cpu; bf16 or f32 (by default the fastest)\n"
    "\n"
    "Every row is kept in study.json when it is known: a study that was stopped goes on.\n"
    "\n"
    "example: moec study runs/demo --curve --bits 2,3,4\n";

enum { SAMPLE = 65536 };

typedef struct request {
    const char *path;
    checkpoint *saved;
    const char *which;
    char *out;
    const kernels *k;
    quant_study_options options;
    run_config run;
} request;

static void request_free(request *q) {
    run_config_free(&q->run);
    checkpoint_close(q->saved);
    free(q->out);
}

/* "2,2.5,3" */
static status parse_rates(quant_study_options *o, const char *list) {
    enum { MOST = sizeof o->rates / sizeof *o->rates };
    static const double usual[] = {2, 2.5, 3, 3.5, 4, 5};
    if (!list) {
        memcpy(o->rates, usual, sizeof usual);
        o->rate_count = sizeof usual / sizeof *usual;
    }
    for (const char *at = list; at && *at;) {
        char *part = xstrdup(at), *end = strchr(part, ',');
        at = end ? at + (end - part) + 1 : NULL;
        if (end) *end = 0;
        if (o->rate_count == MOST) {
            free(part);
            return fail_usage("--bits: expected at most %d numbers, found more", (int)MOST);
        }
        const status s = cli_number("--bits", part, 1, 6, &o->rates[o->rate_count++]);
        free(part);
        TRY(s);
    }
    return o->rate_count > 0 ? STATUS_OK : fail_usage("--bits: expected numbers such as 2,3,4, found none");
}

static status parse(int argc, char **argv, request *q) {
    quant_study_options *o = &q->options;
    const char *out = cli_option(&argc, argv, "-o"), *bits = cli_option(&argc, argv, "--bits");
    const char *data = cli_option(&argc, argv, "--data"), *tokens = cli_option(&argc, argv, "--tokens");
    const char *calibration = cli_option(&argc, argv, "--calibration");
    long long batches, scored = SAMPLE;
    o->five = cli_flag(&argc, argv, "--five");
    o->curve = cli_flag(&argc, argv, "--curve");
    o->layers = cli_flag(&argc, argv, "--layers");
    o->gap = cli_flag(&argc, argv, "--gap");
    o->sensitivity = cli_flag(&argc, argv, "--sensitivity");
    if (!o->five && !o->curve && !o->layers && !o->gap && !o->sensitivity)
        o->five = o->curve = o->layers = o->gap = o->sensitivity = true;
    TRY(cli_weights(&argc, argv, &q->which));
    TRY(cli_device(&argc, argv, NULL, &q->k));
    TRY(cli_rest(argc, argv, 1, 1, "moec study MODEL [options]"));
    TRY(parse_rates(o, bits));
    TRY(packable_read(argv[1], &q->path, &q->saved, &q->run));
    batches = q->run.pack.calibration_batches;
    TRY(cli_integer("--calibration", calibration, 1, 1 << 20, &batches));
    TRY(cli_integer("--tokens", tokens, 0, INT64_MAX, &scored));
    q->run.pack.calibration_batches = batches;
    o->tokens = scored;
    if (data) {
        free(q->run.data.path);
        q->run.data.path = xstrdup(data);
        weights_free(&q->run.data.mix); /* of the run's own domains */
    }
    if (!q->run.data.path || (!out && !q->saved))
        return fail_usage("study: %s is of no run: expected %s, found none", q->path,
                          q->run.data.path ? "-o FOLDER" : "--data FOLDER");
    q->out = out ? xstrdup(out) : xasprintf("%s/study", argv[1]);
    o->out = q->out;
    o->data = q->run.data.path;
    o->saved = q->saved;
    o->which = q->which;
    return STATUS_OK;
}

static status run(int argc, char **argv) {
    request q = {.run = run_config_default()};
    model *m = NULL;
    tokenizer *tok = NULL;
    int context;
    bpb_options windows = {0};
    interrupt_catch();
    status s = parse(argc, argv, &q);
    if (s == STATUS_OK) s = open_model(q.path, q.k, q.which, MODEL_VALUES, &m, &tok, &context);
    if (s == STATUS_OK) {
        bpb_windows(&windows, q.path, context, 0);
        s = quant_study_run(&q.options, q.k, m, tok, &q.run, argv[1], &windows, stdout);
        model_destroy(m);
        tokenizer_close(tok);
    }
    if (s == STATUS_OK) cli_results("%s", q.out);
    request_free(&q);
    return s;
}

const command command_study = {.name = "study",
                               .summary = "what quantisation does to a model: tables, curves, errors by layer",
                               .help = help,
                               .run = run,
                               .takes = KINDS_OF_MODEL & ~KIND_ARTIFACT,
                               .takes_noun = "a run folder, a checkpoint, a Hugging Face folder or a GGUF file"};
