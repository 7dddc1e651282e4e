#include "train/pack.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/pack_print.h"
#include "cli/packable.h"
#include "cli/ranks.h"
#include "store/open.h"
#include "train/checkpoint.h"
#include "train/tune.h"
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
    "                     With --uniform: refuse to write a larger file; 0: any size (the run's budget_bytes).\n"
    "                     150K, 4MB, 1.5G are of powers of 1000, 64KiB, 2MiB of 1024\n"
    "  --recipe FILE      YAML rules that say of some tensors how they are packed: [{component: embedding, bits: 6},\n"
    "                     {component: experts, layers: [4, 5], bits: 5}, {name: \"blocks.0.*\", quantizer: round}, …]; "
    "also\n"
    "                     group: N, asymmetric: true, rotate: true (docs/quantisation.md)\n"
    "  --quantizer Q      round, gptq, rate or trellis: what `moec study --curve` compares (trellis)\n"
    "  --low-rank R       matrices may have a correction of rank R, R/4 or R/16, quantised too, where that is worth "
    "its\n"
    "                     bytes (recipes: rank, rank_bits): with --quantizer round at 2 and 3 bits; 0: none (0)\n"
    "  --sample N         weights of each matrix that are measured at each rate, on rows at equal distances (1048576): "
    "fewer\n"
    "                     are quicker, and the shares are somewhat less exact. With --low-rank all are measured\n"
    "  --tune MINUTES     then train what takes no bytes beside the codes (scales, norms, gains, gates) against the "
    "float\n"
    "                     model's probabilities on the run's text, and keep it where it is better on rows kept apart\n"
    "  --tune-steps N     the same for at most N steps of the run's batch (of models of no run two sequences): the "
    "same "
    "file every\n"
    "                     time\n"
    "  --loop-scales      scales of what looped layers add to the stream may differ by pass: small vectors, which\n"
    "                     only --tune fills with anything\n"
    "  --verbose          a line for each tensor instead of each component\n"
    "  --prune X          this part of each matrix in blocks, its smallest weights, becomes 0; routers, gates and\n"
    "                     embeddings are spared (the run's prune_fraction, 0)\n"
    "  --calibration N    batches to calibrate with (the run's calibration_batches, 16; of models of no run 64 of two\n"
    "                     sequences of 1,024 tokens)\n"
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
    "  --record           as #2102's script packs: int6 everywhere, no scale under 1/31, matrices up to 65,536 "
    "weights\n"
    "                     as floats, embeddings without statistics, experts' Hessians of all tokens, plain clip "
    "choice\n"
    "                     (`moec study --gap` takes them away one by one). Of the section pack of the run's "
    "config.yaml "
    "it takes\n"
    "                     budget_bytes and calibration_batches alone, not prune_fraction, gptq_damp and the others: "
    "the "
    "report\n"
    "                     has all that it overrules\n"
    "\n"
    "Under `mpirun -n N moec pack ...` or srun the ranks share out the batches that it calibrates with and the "
    "matrices that\n"
    "are quantised and coded at several rates (--bits, --budget, --recipe); rank 0 builds the file, which is that of "
    "one\n"
    "process.\n"
    "\n"
    "example: moec pack runs/demo --budget 4000000\n";

typedef struct request {
    const char *path;  /* of the model */
    checkpoint *saved; /* NULL: a pretrained model */
    char *output;
    const char *which; /* weights: "chosen", "live", "ema" */
    const kernels *k;
    comm *ranks; /* rank 0 writes, and says what became of it */
    pack_options options;
    char *candidates; /* OUTPUT.candidates */
    tune_options tune;
    bool loop_scales, verbose;
    bool record;    /* the script's settings in the place of the run's */
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

/* Data to calibrate with, and where the artifact goes. */
static status check_request(const request *q, bool output) {
    if (!q->saved && !output)
        return fail_usage("pack: %s lies in no run: expected -o FILE, where the artifact goes, found none", q->path);
    const bool tunes = q->tune.minutes > 0 || q->tune.steps > 0;
    const bool calibrates = q->options.quant.gptq || q->options.allocation.on || tunes;
    if (calibrates && !q->run.data.path)
        return fail_usage(
            "pack: %s is of no run whose data it could calibrate with: expected --data FOLDER (`moec data FOLDER "
            "--tokenizer %s --domain NAME=PATH` makes one), or --uniform --round, found neither",
            q->path, q->path);
    return STATUS_OK;
}

/* Which of the two ways the options ask for. */
typedef struct way_options {
    const char *bits, *budget, *recipe, *quantizer, *low_rank, *sample; /* shared out */
    const char *grid, *embed_grid, *step, *embed_step;                  /* uniform */
    bool uniform, rounding, record;
} way_options;

static way_options read_way(int *argc, char **argv) {
    return (way_options){.bits = cli_option(argc, argv, "--bits"),
                         .budget = cli_option(argc, argv, "--budget"),
                         .recipe = cli_option(argc, argv, "--recipe"),
                         .quantizer = cli_option(argc, argv, "--quantizer"),
                         .low_rank = cli_option(argc, argv, "--low-rank"),
                         .sample = cli_option(argc, argv, "--sample"),
                         .grid = cli_option(argc, argv, "--grid"),
                         .embed_grid = cli_option(argc, argv, "--embed-grid"),
                         .step = cli_option(argc, argv, "--step"),
                         .embed_step = cli_option(argc, argv, "--embed-step"),
                         .uniform = cli_flag(argc, argv, "--uniform"),
                         .rounding = cli_flag(argc, argv, "--round"),
                         .record = cli_flag(argc, argv, "--record")};
}

static status parse_uniform(request *q, const way_options *w) {
    quant_options *quant = &q->options.quant;
    q->record = w->record;
    if (w->record) *quant = quant_options_record();
    long long matrix = quant->bits, embedding = quant->embed_bits;
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
    long long rank = 0;
    a->quantizer = QUANTIZER_TRELLIS;
    a->recipe_path = w->recipe;
    TRY(cli_integer("--low-rank", w->low_rank, 0, QUANTIZED_MOST_RANK, &rank));
    a->low_rank = (int)rank;
    long long sample = 0;
    TRY(cli_integer("--sample", w->sample, 1 << 12, INT64_MAX, &sample));
    a->sample = sample;
    if (w->quantizer && !quantizer_find(w->quantizer, &a->quantizer))
        return fail_usage("--quantizer: expected one of %s, found `%s`", quantizer_list(), w->quantizer);
    return cli_number("--bits", w->bits, RATE_LEAST, RATE_MOST, &a->bits);
}

static status parse_way(request *q, const way_options *w) {
    const bool grids = w->uniform || w->grid || w->embed_grid || w->step || w->embed_step || w->rounding || w->record;
    long long bytes = q->run.pack.budget_bytes;
    TRY(cli_bytes("--budget", w->budget, 0, INT64_MAX, &bytes));
    q->options.budget_bytes = bytes;
    q->options.allocation.on = !grids && (w->bits || (w->budget && bytes > 0) || w->recipe || w->quantizer);
    if (!q->options.allocation.on && (w->low_rank || w->sample))
        return fail_usage("pack: %s is a part of what shares bytes out: expected --bits or --budget, found neither",
                          w->low_rank ? "--low-rank" : "--sample");
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
    const char *minutes = cli_option(argc, argv, "--tune"), *steps = cli_option(argc, argv, "--tune-steps");
    q->verbose = cli_flag(argc, argv, "--verbose");
    q->loop_scales = cli_flag(argc, argv, "--loop-scales");
    TRY(cli_weights(argc, argv, &q->which));
    TRY(cli_device(argc, argv, NULL, &q->k));
    if (*argc > 2 && argv[2][0] != '-')
        return fail_usage("pack: expected only the run, found `%s` too; -o %s says where the artifact goes", argv[2],
                          argv[2]);
    TRY(cli_rest(*argc, argv, 1, 1, "moec pack MODEL [options]"));
    TRY(packable_read(argv[1], &q->path, &q->saved, &q->run));
    long long batches = q->run.pack.calibration_batches;
    q->options = pack_options_of(&q->run.pack, q->run.train.seq);
    if (q->saved) TRY(checkpoint_weights(q->saved, q->which, &q->options.weights));
    TRY(parse_way(q, &way));
    TRY(cli_integer("--calibration", calibration, 1, 1 << 20, &batches));
    TRY(cli_number("--prune", prune, 0, 0.99, &q->options.quant.prune_fraction));
    q->run.pack.calibration_batches = batches;
    long long tune_steps = 0;
    TRY(cli_number("--tune", minutes, 0, 1e5, &q->tune.minutes));
    TRY(cli_integer("--tune-steps", steps, 0, 1 << 30, &tune_steps));
    q->tune.steps = tune_steps;
    q->options.allocation.spare = q->tune.minutes > 0 || tune_steps > 0;
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

static status tune(request *q, model *m, const tokenizer *tok) {
    pass *teacher;
    tune_report report;
    if (q->tune.minutes == 0 && q->tune.steps == 0) return STATUS_OK;
    q->tune.most_bytes = q->options.budget_bytes;
    TRY(pass_create(&teacher, m));
    const status s = tune_artifact(q->output, teacher, tok, &q->run, &q->tune, &report);
    pass_destroy(teacher);
    if (s == STATUS_OK || s == STATUS_INTERRUPTED) pack_print_tuning(&report);
    return s;
}

static void print_overruled(const request *q) {
    char *settings = pack_config_overruled(&q->run.pack, &q->options.quant);
    if (settings[0])
        printf("--record, not %s settings: %s\n",
               q->saved && checkpoint_is_of_run(q->saved) ? "the run's" : "the usual", settings);
    free(settings);
}

static status pack(request *q, model *m, const tokenizer *tok) {
    pack_report report;
    status s = fail_in(pack_model(q->output, &q->run, m, tok, &q->options, &report), "%s", q->path);
    char *weights = q->saved ? checkpoint_weights_note(q->saved, q->which) : xstrdup("its weights");
    if (report.artifact_bytes > 0) {
        printf("%s: %s\n", q->path, weights);
        if (q->record) print_overruled(q);
        pack_print(&q->options, q->verbose, &report);
    }
    free(weights);
    pack_report_free(&report);
    if (s == STATUS_OK) s = tune(q, m, tok); /* one process's: run() sees to it */
    if (s == STATUS_OK && q->ranks->rank == 0) cli_results("%s", q->output);
    return s;
}

/* Whether the file can be written, before the work and not after it. */
static status check_output(const char *path) {
    file_writer w;
    TRY(file_create(&w, path));
    file_abandon(&w);
    return STATUS_OK;
}

/* m becomes a copy of it that has them. */
static status give_loop_scales(model **m) {
    model *scaled;
    TRY(fail_in(model_with_loop_scales(&scaled, *m), "--loop-scales"));
    model_destroy(*m);
    *m = scaled;
    return STATUS_OK;
}

static status run(int argc, char **argv) {
    request q = {.run = run_config_default()};
    model *m;
    tokenizer *tok;
    TRY(cli_ranks(argc, argv, &q.ranks));
    interrupt_catch();
    status s = parse(&argc, argv, &q);
    if (s == STATUS_OK && q.ranks->ranks > 1 && (q.tune.minutes > 0 || q.tune.steps > 0))
        s = fail_usage("pack: --tune is one process's work, and a launcher started %d", q.ranks->ranks);
    if (s == STATUS_OK && q.ranks->rank == 0) s = check_output(q.output);
    s = comm_agree(q.ranks, s);
    q.options.allocation.ranks = q.ranks;
    if (s == STATUS_OK) s = cli_ranks_same_model(q.ranks, q.path, q.which);
    if (s == STATUS_OK)
        s = comm_agree(q.ranks, open_model(q.path, q.k, q.which, MODEL_VALUES, &m, &tok, &q.options.context_tokens));
    if (s == STATUS_OK) {
        if (q.loop_scales) s = give_loop_scales(&m);
        if (s == STATUS_OK) s = pack(&q, m, tok);
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
                              .takes_noun = "a run folder, a checkpoint, a Hugging Face folder or a GGUF file",
                              .takes_ranks = true};
