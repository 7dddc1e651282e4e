#include "train/pack.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "formats/pretrained.h"
#include "nn/roles.h"
#include "store/open.h"
#include "train/checkpoint.h"
#include <math.h>
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
    "\n"
    "With --bits, --budget or --recipe the bytes are shared out: batches of the run's training data run forward and\n"
    "backward to say what an error of each product costs the loss, each matrix is quantised and coded at several "
    "rates, and\n"
    "all get what is worth most together. What was measured is kept in OUTPUT.candidates: a packing that was killed "
    "goes\n"
    "on, and one of other bytes begins with it; it may be deleted.\n"
    "Without them every matrix has the same grid, as the run's config.yaml says (--uniform, and the options of "
    "grids).\n"
    "Models of no run take -o, and --data (or --round with uniform grids).\n"
    "\n"
    "  -o FILE            the artifact (RUN/model.moec)\n"
    "  --bits X           bits a matrix weight, 0.25 to 8 and fractional, all in: codes and scales of all matrices\n"
    "  --budget BYTES     the file as large as that allows, and never larger (with --bits: no larger than either "
    "asks).\n"
    "                     With --uniform: refuse to write a larger file; 0: any size (the run's budget_bytes)\n"
    "  --recipe FILE      YAML rules that say of some tensors how they are packed: [{component: router, float16: "
    "true},\n"
    "                     {component: experts, layers: [4, 5], bits: 5}, {name: \"blocks.0.*\", quantizer: round}, …]\n"
    "  --quantizer Q      round or gptq (gptq)\n"
    "  --verbose          a line for each tensor instead of each component\n"
    "  --prune X          this part of each matrix in blocks, its smallest weights, becomes 0; routers, gates and\n"
    "                     embeddings are spared (the run's prune_fraction, 0)\n"
    "  --calibration N    batches to calibrate with (the run's calibration_batches, 16)\n"
    "  --data PATH        their shards (the run's data)\n"
    "  --live, --ema      the live weights, the averaged ones, whatever the training found\n"
    "  --device D, --dtype T   cpu; bf16 or f32 for calibrating (by default the fastest)\n"
    "\n"
    "  --uniform          the same grid everywhere; so does each of the next:\n"
    "  --grid N           bits of the grids in blocks, 2 to 8 (the run's pack_bits, 6). They decide only where they "
    "are\n"
    "                     coarser than --step: with 0.25, 5 bits and more give nearly the same file\n"
    "  --embed-grid N     the same of embeddings and head, 2 to 8; 0: as --grid (the run's embed_bits, 8)\n"
    "  --step X           no grid in blocks finer than X standard deviations of its row; 0: the finest that --grid\n"
    "                     allows. Coarser grids need fewer bits after entropy coding (0.25). The report says which of\n"
    "                     bits and step decided, component by component\n"
    "  --embed-step X     the same of embeddings and head (0)\n"
    "  --round            plain rounding instead of GPTQ\n"
    "\n"
    "example: moec pack runs/demo --budget 4000000\n";

enum { PLAIN_SEQ = 1024 }; /* tokens of a calibration sequence of models that no run trained */

typedef struct request {
    const char *path;  /* of the model */
    checkpoint *saved; /* NULL: a pretrained model */
    char *output;
    const char *which; /* weights: "chosen", "live", "ema" */
    const kernels *k;
    pack_options options;
    char *candidates; /* OUTPUT.candidates */
    bool verbose;
    run_config run; /* of the checkpoint; options of the command line are written over it */
} request;

static void request_free(request *q) {
    run_config_free(&q->run);
    checkpoint_close(q->saved);
    free(q->output);
    free(q->candidates);
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
    const bool calibrates = q->options.quant.gptq || q->options.allocation.on;
    if (calibrates && !q->run.data.path)
        return fail_usage(
            "pack: %s is of no run whose data it could calibrate with: expected --data FOLDER (`moec data FOLDER "
            "--tokenizer %s --domain NAME=PATH` makes one), or --uniform --round, found neither",
            q->path, q->path);
    return STATUS_OK;
}

/* Which of the two ways the options ask for. */
typedef struct way_options {
    const char *bits, *budget, *recipe, *quantizer;    /* shared out */
    const char *grid, *embed_grid, *step, *embed_step; /* uniform */
    bool uniform, rounding;
} way_options;

static way_options read_way(int *argc, char **argv) {
    return (way_options){.bits = cli_option(argc, argv, "--bits"),
                         .budget = cli_option(argc, argv, "--budget"),
                         .recipe = cli_option(argc, argv, "--recipe"),
                         .quantizer = cli_option(argc, argv, "--quantizer"),
                         .grid = cli_option(argc, argv, "--grid"),
                         .embed_grid = cli_option(argc, argv, "--embed-grid"),
                         .step = cli_option(argc, argv, "--step"),
                         .embed_step = cli_option(argc, argv, "--embed-step"),
                         .uniform = cli_flag(argc, argv, "--uniform"),
                         .rounding = cli_flag(argc, argv, "--round")};
}

static status parse_uniform(request *q, const way_options *w) {
    long long matrix = q->run.pack.bits, embedding = q->run.pack.embed_bits;
    quant_options *quant = &q->options.quant;
    TRY(cli_integer("--grid", w->grid, 2, 8, &matrix));
    TRY(cli_integer("--embed-grid", w->embed_grid, 0, 8, &embedding));
    TRY(cli_number("--step", w->step, 0, 1, &quant->least_step));
    TRY(cli_number("--embed-step", w->embed_step, 0, 1, &quant->embed_least_step));
    quant->bits = (int)matrix;
    quant->embed_bits = (int)embedding;
    quant->gptq = !w->rounding;
    return STATUS_OK;
}

static status parse_allocation(request *q, const way_options *w) {
    pack_allocation *a = &q->options.allocation;
    a->quantizer = QUANTIZER_GPTQ;
    a->recipe_path = w->recipe;
    if (w->quantizer && !quantizer_find(w->quantizer, &a->quantizer))
        return fail_usage("--quantizer: expected one of %s, found `%s`", quantizer_list(), w->quantizer);
    return cli_number("--bits", w->bits, RATE_LEAST, RATE_MOST, &a->bits);
}

static status parse_way(request *q, const way_options *w) {
    const bool grids = w->uniform || w->grid || w->embed_grid || w->step || w->embed_step || w->rounding;
    long long bytes = q->run.pack.budget_bytes;
    TRY(cli_integer("--budget", w->budget, 0, INT64_MAX, &bytes));
    q->options.budget_bytes = bytes;
    q->options.allocation.on = !grids && (w->bits || (w->budget && bytes > 0) || w->recipe || w->quantizer);
    if (grids && (w->bits || w->recipe || w->quantizer))
        return fail_usage("pack: %s shares bytes out, and uniform grids do not: expected one of the two ways",
                          w->bits     ? "--bits"
                          : w->recipe ? "--recipe"
                                      : "--quantizer");
    return q->options.allocation.on ? parse_allocation(q, w) : parse_uniform(q, w);
}

static status parse(int *argc, char **argv, request *q) {
    const char *output = cli_option(argc, argv, "-o"), *prune = cli_option(argc, argv, "--prune");
    const char *calibration = cli_option(argc, argv, "--calibration"), *data = cli_option(argc, argv, "--data");
    const way_options way = read_way(argc, argv);
    q->verbose = cli_flag(argc, argv, "--verbose");
    TRY(cli_weights(argc, argv, &q->which));
    TRY(cli_device(argc, argv, NULL, &q->k));
    if (*argc > 2 && argv[2][0] != '-')
        return fail_usage("pack: expected only the run, found `%s` too; -o %s says where the artifact goes", argv[2],
                          argv[2]);
    TRY(cli_rest(*argc, argv, 1, 1, "moec pack MODEL [options]"));
    TRY(read_run(q, argv[1]));
    long long batches = q->run.pack.calibration_batches;
    q->options = pack_options_of(&q->run.pack, q->run.train.seq);
    if (q->saved) TRY(checkpoint_weights(q->saved, q->which, &q->options.weights));
    TRY(parse_way(q, &way));
    TRY(cli_integer("--calibration", calibration, 1, 1 << 20, &batches));
    TRY(cli_number("--prune", prune, 0, 0.99, &q->options.quant.prune_fraction));
    q->run.pack.calibration_batches = batches;
    if (data) {
        free(q->run.data.path);
        q->run.data.path = xstrdup(data);
        weights_free(&q->run.data.mix); /* of the run's own domains */
    }
    TRY(check_request(q, output));
    q->output = output ? xstrdup(output) : default_output(q->path);
    q->candidates = xasprintf("%s.candidates", q->output);
    q->options.allocation.candidates = q->candidates;
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
    static const char *const bits[] = {"--grid", "--embed-grid"}, *const steps[] = {"--step", "--embed-step"};
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

static void print_uniform(const request *q, const pack_report *r) {
    int tensors = 0;
    printf("%s, steps of at least %.3g (embeddings %.3g) of a row's deviation\n",
           q->options.quant.gptq ? "GPTQ" : "rounding", r->least_step, r->embed_least_step);
    printf("  component      tensors      weights  bits/weight        bytes   relative error   grid decided by\n");
    for (int i = 0; i < COMPONENTS; i++) {
        tensors += r->components[i].tensors;
        if (r->components[i].tensors) print_component(q, r, (component)i);
    }
    print_line("all", tensors, r->raw_bytes / 4, r->weight_bytes, r->relative_error, 1, "");
    print_idle_bits(q, r);
}

/* ---- what was shared out ---- */

static void print_tensor(const pack_report *r, const pack_tensor *t) {
    const double elements = (double)param_count(t->of), bpb = t->error * r->bpb_of_nat;
    printf("  %-36s %-8s %5.2f %12.0f %8.3f %12.0f", t->of->name, t->coding, t->rate, elements, 8 * t->bytes / elements,
           t->bytes);
    t->weight > 0 ? printf("   %10.2e %+12.6f\n", t->error / t->weight, bpb) : printf("   %10s %12s\n", "-", "-");
}

static void print_tensors(const pack_report *r) {
    printf("  tensor                               coding    rate      weights    bits        bytes   rel. error     "
           "loss BPB\n");
    for (int i = 0; i < r->tensor_count; i++) print_tensor(r, &r->tensors[i]);
}

/* Least and most rate of a component's grids. */
static void print_rates(const pack_report *r, component part) {
    double least = INFINITY, most = 0;
    for (int i = 0; i < r->tensor_count; i++) {
        const pack_tensor *t = &r->tensors[i];
        if (role_component((param_role)t->of->role) != part || t->weight == 0) continue;
        least = fmin(least, t->rate);
        most = fmax(most, t->rate);
    }
    if (most > 0)
        printf("   %.2f to %.2f\n", least, most);
    else
        printf("   -\n");
}

static void print_shares(const pack_report *r) {
    printf("  component      tensors      weights  bits/weight        bytes     loss BPB   rates\n");
    for (int i = 0; i < COMPONENTS; i++) {
        const pack_component *c = &r->components[i];
        if (!c->tensors) continue;
        printf("  %-14s %7d %12lld %12.3f %12lld", component_name((component)i), c->tensors, (long long)c->elements,
               8 * (double)c->bytes / (double)c->elements, (long long)c->bytes);
        printf("   %+10.5f", c->error * r->bpb_of_nat);
        print_rates(r, (component)i);
    }
}

static void print_allocation(const request *q, const pack_report *r) {
    printf("shared out by what errors do to the loss, quantiser %s\n", quantizer_name(q->options.allocation.quantizer));
    q->verbose ? print_tensors(r) : print_shares(r);
    printf("  all matrices, all in %29.3f bits a weight\n  expected loss %+32.5f bits/byte\n", r->grid_bits,
           r->loss * r->bpb_of_nat);
    printf("  a further 1,000 bytes %+24.2g bits/byte\n", -1000 * r->loss_a_byte * r->bpb_of_nat);
}

static void print_report(const request *q, const pack_report *r) {
    char *weights = q->saved ? checkpoint_weights_note(q->saved, q->which) : xstrdup("its weights");
    printf("%s: %s\n", q->path, weights);
    free(weights);
    q->options.allocation.on ? print_allocation(q, r) : print_uniform(q, r);
    if (r->pruned > 0) printf("  pruned to 0 %44lld\n", (long long)r->pruned);
    printf("  tokenizer %46lld\n  config and directory %35lld\n", (long long)r->tokenizer_bytes,
           (long long)r->config_bytes);
    printf("  artifact %47lld", (long long)r->artifact_bytes);
    if (q->options.budget_bytes > 0)
        printf("   %.2f %% of the budget of %lld", 100 * (double)r->artifact_bytes / (double)q->options.budget_bytes,
               (long long)q->options.budget_bytes);
    printf("\n  %.1f times smaller than float32; an order-0 coder would need %.3f bits a grid weight\n",
           (double)r->raw_bytes / (double)r->artifact_bytes, r->entropy_bits);
}

static status pack(request *q, model *m, const tokenizer *tok) {
    pack_report report;
    status s = fail_in(pack_model(q->output, &q->run, m, tok, &q->options, &report), "%s", q->path);
    if (report.artifact_bytes > 0) print_report(q, &report);
    pack_report_free(&report);
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
