#include "train/pack.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "formats/pretrained.h"
#include "store/open.h"
#include "train/checkpoint.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec pack MODEL [options]\n"
    "\n"
    "Quantises and entropy-codes a trained model (a run, a checkpoint, a Hugging Face folder or a GGUF file) into one\n"
    "self-contained file with config, tokenizer and weights: of a run the live or the averaged weights, whichever the "
    "training found better when it ended (the averaged ones where it has "
    "not).\n"
    "GPTQ's Hessians come from batches of the run's training data.\n"
    "What an option does not say comes from the run's config.yaml; other models take -o, and --data or --round.\n"
    "\n"
    "  -o FILE            the artifact (RUN/model.moec)\n"
    "  --bits N           of the matrices in blocks, 2 to 8 (the run's pack_bits, 6). They decide only where their "
    "grid is\n"
    "                     coarser than --step: with 0.25, 5 bits and more give nearly the same file\n"
    "  --embed-bits N     of embeddings and head, 2 to 8; 0: as --bits (the run's embed_bits, 8)\n"
    "  --budget BYTES     refuse to write a larger file; 0: any size (the run's budget_bytes)\n"
    "  --fit              coarsen the grids until the file is within the budget\n"
    "  --step X           no grid in blocks finer than X standard deviations of its row; 0: the finest that --bits\n"
    "                     allows. Coarser grids need fewer bits after entropy coding (0.25). The report says which of\n"
    "                     bits and step decided, component by component\n"
    "  --embed-step X     the same of embeddings and head (0)\n"
    "  --prune X          this part of each matrix in blocks, its smallest weights, becomes 0; routers, gates and\n"
    "                     embeddings are spared (the run's prune_fraction, 0)\n"
    "  --calibration N    batches for the Hessians (the run's calibration_batches, 16)\n"
    "  --data PATH        their shards (the run's data)\n"
    "  --round            plain rounding instead of GPTQ\n"
    "  --live, --ema      the live weights, the averaged ones, whatever the training found\n"
    "  --device D, --dtype T   cpu; bf16 or f32 for calibrating (by default the fastest)\n"
    "\n"
    "example: moec pack runs/demo --bits 6 --embed-bits 8\n";

enum { PLAIN_SEQ = 1024 }; /* tokens of a calibration sequence of models that no run trained */

typedef struct request {
    const char *path;  /* of the model */
    checkpoint *saved; /* NULL: a pretrained model */
    char *output;
    const char *which; /* weights: "chosen", "live", "ema" */
    const kernels *k;
    pack_options options;
    run_config run; /* of the checkpoint; options of the command line are written over it */
} request;

static void request_free(request *q) {
    run_config_free(&q->run);
    checkpoint_close(q->saved);
    free(q->output);
}

/* RUN/model.moec for RUN/checkpoints/step-N */
static char *default_output(const char *checkpoint) {
    const char *end = strstr(checkpoint, "/checkpoints/");
    for (const char *next = end; next; next = strstr(next + 1, "/checkpoints/")) end = next;
    return end ? xasprintf("%.*s/model.moec", (int)(end - checkpoint), checkpoint)
               : path_join(checkpoint, "model.moec");
}

/* What no training of moec made has its packing from the command line alone. */
static status read_run(request *q, const char *path) {
    q->path = path;
    if (pretrained_is(path)) {
        q->run.train.seq = PLAIN_SEQ;
        return STATUS_OK;
    }
    TRY(checkpoint_require(&q->saved, path));
    TRY(checkpoint_verify(q->saved));
    q->path = q->saved->path;
    if (checkpoint_is_of_run(q->saved)) return checkpoint_load_config(q->saved, &q->run);
    q->run.train.seq = q->saved->context_tokens < PLAIN_SEQ ? q->saved->context_tokens : PLAIN_SEQ;
    return STATUS_OK;
}

/* Data to calibrate with, and where the artifact goes. */
static status check_request(const request *q, bool output) {
    if (!q->saved && !output)
        return fail_usage("pack: %s lies in no run: expected -o FILE, where the artifact goes, found none", q->path);
    if (q->options.quant.gptq && !q->run.data.path)
        return fail_usage(
            "pack: %s is of no run whose data it could calibrate with: expected --data FOLDER (`moec data FOLDER "
            "--tokenizer %s --domain NAME=PATH` makes one) or --round, found neither",
            q->path, q->path);
    return STATUS_OK;
}

static status parse(int *argc, char **argv, request *q) {
    const char *output = cli_option(argc, argv, "-o"), *bits = cli_option(argc, argv, "--bits");
    const char *embed_bits = cli_option(argc, argv, "--embed-bits"), *budget = cli_option(argc, argv, "--budget");
    const char *calibration = cli_option(argc, argv, "--calibration"), *step = cli_option(argc, argv, "--step");
    const char *embed_step = cli_option(argc, argv, "--embed-step"), *prune = cli_option(argc, argv, "--prune");
    const char *data = cli_option(argc, argv, "--data");
    const bool fit = cli_flag(argc, argv, "--fit"), rounding = cli_flag(argc, argv, "--round");
    TRY(cli_weights(argc, argv, &q->which));
    TRY(cli_device(argc, argv, NULL, &q->k));
    if (*argc > 2 && argv[2][0] != '-')
        return fail_usage("pack: expected only the run, found `%s` too; -o %s says where the artifact goes", argv[2],
                          argv[2]);
    TRY(cli_rest(*argc, argv, 1, 1, "moec pack MODEL [options]"));
    TRY(read_run(q, argv[1]));
    long long matrix = q->run.pack.bits, embedding = q->run.pack.embed_bits, bytes = q->run.pack.budget_bytes;
    long long batches = q->run.pack.calibration_batches;
    q->options = pack_options_of(&q->run.pack, q->run.train.seq);
    if (q->saved) TRY(checkpoint_weights(q->saved, q->which, &q->options.weights));
    quant_options *quant = &q->options.quant;
    TRY(cli_integer("--bits", bits, 2, 8, &matrix));
    TRY(cli_integer("--embed-bits", embed_bits, 0, 8, &embedding));
    TRY(cli_integer("--budget", budget, 0, INT64_MAX, &bytes));
    TRY(cli_integer("--calibration", calibration, 1, 1 << 20, &batches));
    TRY(cli_number("--step", step, 0, 1, &quant->least_step));
    TRY(cli_number("--embed-step", embed_step, 0, 1, &quant->embed_least_step));
    TRY(cli_number("--prune", prune, 0, 0.99, &quant->prune_fraction));
    quant->bits = (int)matrix;
    quant->embed_bits = (int)embedding;
    quant->gptq = !rounding;
    q->options.budget_bytes = bytes;
    q->options.fit = fit;
    q->run.pack.calibration_batches = batches;
    if (data) {
        free(q->run.data.path);
        q->run.data.path = xstrdup(data);
        weights_free(&q->run.data.mix); /* of the run's own domains */
    }
    TRY(check_request(q, output));
    q->output = output ? xstrdup(output) : default_output(q->path);
    return STATUS_OK;
}

static void print_line(const char *name, int tensors, int64_t elements, int64_t bytes, double error, double weight,
                       const char *decided) {
    printf("  %-14s %7d %12lld %12.3f %12lld", name, tensors, (long long)elements, 8 * (double)bytes / (double)elements,
           (long long)bytes);
    weight > 0 ? printf("   %14.2e", error / weight) : printf("   %14s", "-");
    printf(decided[0] ? "   %s\n" : "%s\n", decided);
}

/* "6 bits", "step 0.25", or both with the part of the rows that the step decided. */
static void add_decided(char text[96], const pack_rows *rows, int bits, double step) {
    char part[64];
    if (rows->count == 0) return;
    if (rows->at_step == 0)
        snprintf(part, sizeof part, "%d bits", bits);
    else if (rows->at_step == rows->count)
        snprintf(part, sizeof part, "step %.3g", step);
    else
        snprintf(part, sizeof part, "step %.3g (%.1f %% of rows), %d bits", step,
                 100 * (double)rows->at_step / (double)rows->count, bits);
    const size_t length = strlen(text);
    snprintf(text + length, 96 - length, "%s%s", length ? "; " : "", part);
}

static int bits_of(const request *q, int grid) {
    return grid == PACK_TABLES ? quant_embed_bits(&q->options.quant) : q->options.quant.bits;
}

static double step_of(const pack_report *r, int grid) {
    return grid == PACK_TABLES ? r->embed_least_step : r->least_step;
}

static void print_component(const request *q, const pack_report *r, component part) {
    const pack_component *c = &r->components[part];
    char decided[96] = "";
    for (int grid = 0; grid < PACK_GRIDS; grid++)
        add_decided(decided, &c->rows[grid], bits_of(q, grid), step_of(r, grid));
    print_line(component_name(part), c->tensors, c->elements, c->bytes, c->error, c->weight, decided);
}

/* Bits that decided nothing: others would give the same model. */
static void print_idle_bits(const request *q, const pack_report *r) {
    static const char *const bits[] = {"--bits", "--embed-bits"}, *const steps[] = {"--step", "--embed-step"};
    for (int grid = 0; grid < PACK_GRIDS; grid++) {
        pack_rows sum = {0};
        for (int i = 0; i < COMPONENTS; i++) {
            sum.count += r->components[i].rows[grid].count;
            sum.at_step += r->components[i].rows[grid].at_step;
        }
        if (sum.count > 0 && sum.at_step == sum.count)
            printf("  %s %d decided nothing: %s %.3g is coarser everywhere (%s 0 leaves it to the bits)\n", bits[grid],
                   bits_of(q, grid), steps[grid], step_of(r, grid), steps[grid]);
    }
}

static void print_report(const request *q, const pack_report *r) {
    int tensors = 0;
    char *weights = q->saved ? checkpoint_weights_note(q->saved, q->which) : xstrdup("its weights");
    printf("%s: %s\n%s, steps of at least %.3g (embeddings %.3g) of a row's deviation\n", q->path, weights,
           q->options.quant.gptq ? "GPTQ" : "rounding", r->least_step, r->embed_least_step);
    free(weights);
    printf("  component      tensors      weights  bits/weight        bytes   relative error   grid decided by\n");
    for (int i = 0; i < COMPONENTS; i++) {
        tensors += r->components[i].tensors;
        if (r->components[i].tensors) print_component(q, r, (component)i);
    }
    print_line("all", tensors, r->raw_bytes / 4, r->weight_bytes, r->relative_error, 1, "");
    print_idle_bits(q, r);
    if (r->pruned > 0) printf("  pruned to 0 %44lld\n", (long long)r->pruned);
    printf("  tokenizer %46lld\n  config and directory %35lld\n", (long long)r->tokenizer_bytes,
           (long long)r->config_bytes);
    printf("  artifact %47lld", (long long)r->artifact_bytes);
    if (q->options.budget_bytes > 0)
        printf("   %.1f %% of the budget of %lld", 100 * (double)r->artifact_bytes / (double)q->options.budget_bytes,
               (long long)q->options.budget_bytes);
    printf("\n  %.1f times smaller than float32; an order-0 coder would need %.3f bits a grid weight\n",
           (double)r->raw_bytes / (double)r->artifact_bytes, r->entropy_bits);
}

static status pack(request *q, model *m, const tokenizer *tok) {
    pack_report report;
    status s = fail_in(pack_model(q->output, &q->run, m, tok, &q->options, &report), "%s", q->path);
    if (report.artifact_bytes > 0) print_report(q, &report);
    if (s == STATUS_OK) cli_results("%s", q->output);
    return s;
}

/* Whether the file can be written, before the work and not after it. */
static status check_output(const char *path) {
    file_writer w;
    TRY(file_create(&w, path));
    file_abandon(&w);
    return STATUS_OK;
}

static status run(int argc, char **argv) {
    request q = {.run = run_config_default()};
    model *m;
    tokenizer *tok;
    interrupt_catch();
    status s = parse(&argc, argv, &q);
    if (s == STATUS_OK) s = check_output(q.output);
    if (s == STATUS_OK) s = open_model(q.path, q.k, q.which, MODEL_VALUES, &m, &tok, &q.options.context_tokens);
    if (s == STATUS_OK) {
        s = pack(&q, m, tok);
        model_destroy(m);
        tokenizer_close(tok);
    }
    request_free(&q);
    return s;
}

const command command_pack = {.name = "pack",
                              .summary = "quantise and code a model into one small file",
                              .help = help,
                              .run = run,
                              .takes = KINDS_OF_MODEL & ~KIND_ARTIFACT,
                              .takes_noun = "a run folder, a checkpoint, a Hugging Face folder or a GGUF file"};
