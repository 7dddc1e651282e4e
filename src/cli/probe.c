/* moec probe */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/eval_run.h"
#include "cli/probe_print.h"
#include "store/open.h"
#include "study/plot.h"
#include "study/probe_report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec probe MODEL [options]\n"
    "\n"
    "What the routers of a mixture know of the domains of held-out text, layer by layer (pass by pass where the model "
    "loops):\n"
    "\n"
    "  separation    how differently domains are routed: the mean over pairs of domains of the total variation between "
    "their\n"
    "                experts' shares, 0 (all alike) to 1 (no two share an expert)\n"
    "  contrast      of an expert, the largest over the smallest of its shares of the domains\n"
    "  information   bits that a token's expert tells of its domain, beside those that it seems to tell when the "
    "domains "
    "are\n"
    "                dealt to the documents at random, and the most that there can be\n"
    "  accuracy      of tokens and of documents (by the mean of their tokens' probabilities) that go to their domain's "
    "expert:\n"
    "                the one of its name (moe_expert_names), or where no expert has one, the best one-to-one "
    "assignment\n"
    "\n"
    "MODEL is any model that moec opens; of a run or a checkpoint its live or averaged weights are probed, whichever "
    "the "
    "training\n"
    "found better. The data need a table of documents of at least two domains, as moec data makes it.\n"
    "\n"
    "  --data PATH      a folder made by moec data, or a shard (by default that of the run that MODEL is or lies in)\n"
    "  --tokens N       a sample of N tokens, the same part of every domain (32768; 0: all)\n"
    "  --seq N          window length in tokens (by default as trained, of pretrained models at most 2048)\n"
    "  -o FOLDER        also write probe.json, routers.csv, shares.csv, and by gnuplot experts.svg (heat maps of "
    "domain "
    "and\n"
    "                   expert) and separation.svg\n"
    "  --live, --ema    the live weights, the averaged ones, of a run or a checkpoint\n"
    "  --device D       cpu\n"
    "  --dtype T        bf16 or f32 (by default the fastest)\n"
    "  --json           print one JSON object instead of the tables\n"
    "\n"
    "example: moec probe runs/demo --data data/demo -o runs/demo/probe\n";

enum { SAMPLE = 32768 };

typedef struct request {
    const char *path, *data, *out;
    const char *which; /* weights: "chosen", "live", "ema" */
    long long tokens, seq;
    const kernels *k;
    bool json;
    eval_run run;
} request;

/* What is open while a model is probed. */
typedef struct probing {
    model *m;
    pass *p;
    tokenizer *tok;
    int context; /* tokens that it was trained with */
    scored_text text;
    routing_probe *watch;
    bpb_result result;
    probe found;
} probing;

static status parse(int argc, char **argv, request *q) {
    TRY(cli_device(&argc, argv, NULL, &q->k));
    TRY(cli_weights(&argc, argv, &q->which));
    q->data = cli_option(&argc, argv, "--data");
    q->out = cli_option(&argc, argv, "-o");
    q->json = cli_flag(&argc, argv, "--json");
    TRY(cli_integer("--tokens", cli_option(&argc, argv, "--tokens"), 0, INT64_MAX, &q->tokens));
    TRY(cli_integer("--seq", cli_option(&argc, argv, "--seq"), 1, 1 << 20, &q->seq));
    TRY(cli_rest(argc, argv, 1, 1, "moec probe MODEL [--data PATH] [options]"));
    q->path = argv[1];
    return STATUS_OK;
}

/* Its run, whose text and choice of weights count where nothing else is asked for. */
static status find_run(request *q) {
    const bool saved = open_is_saved(q->path);
    status s = eval_run_find(&q->run, q->path);
    if (s != STATUS_OK && (saved || !q->data)) return s;
    TRY(open_check_weights(q->path, q->which));
    if (!q->data) q->data = q->run.data;
    if (!q->data)
        return fail_usage("probe: expected --data with a folder made by moec data, and %s does not lie in a run",
                          q->path);
    return STATUS_OK;
}

static status open_all(const request *q, probing *g) {
    const char *path = open_is_saved(q->path) ? q->run.saved->path : q->path;
    TRY(open_model(path, q->k, q->which, MODEL_RUN, &g->m, &g->tok, &g->context));
    TRY(probe_check_model(&g->m->config, q->path));
    TRY(scored_text_open_for(&g->text, q->data, g->tok, g->m->config.vocab_size));
    TRY(probe_check_text(scored_text_documents(&g->text), q->data));
    TRY(routing_probe_create(&g->watch, g->tok, NULL, &g->text.documents));
    return pass_create(&g->p, g->m);
}

static status watch(const request *q, probing *g) {
    bpb_options options = {.tokens = q->tokens, .seed = g->text.seed, .probe = g->watch, .shown = "routers"};
    TRY(eval_run_windows(&q->run, q->path, g->context, q->seq, 0, &options));
    status s = bpb_evaluate(g->p, g->tok, &g->text.s, &g->text.documents, &options, &g->result);
    if (s == STATUS_INTERRUPTED) (void)fail("interrupted while routers were watched; nothing was written");
    TRY(s);
    TRY(routing_probe_finish(g->watch));
    return probe_of(&g->found, g->watch, &g->text.documents, &g->m->config.moe.names);
}

static void close_all(probing *g) {
    probe_free(&g->found);
    bpb_result_free(&g->result);
    routing_probe_destroy(g->watch);
    pass_destroy(g->p);
    model_destroy(g->m);
    tokenizer_close(g->tok);
    scored_text_close(&g->text);
}

/* ---- what is said ---- */

static cJSON *to_json(const request *q, const probing *g) {
    cJSON *root = cJSON_CreateObject(), *found = probe_to_json(&g->found);
    cJSON_AddStringToObject(root, "text", eval_run_held_out(&q->run, q->data) ? "held_out" : "other");
    cJSON_AddBoolToObject(root, "whole", g->result.whole);
    cJSON_AddNumberToObject(root, "tokens", (double)g->result.total.tokens);
    cJSON_AddNumberToObject(root, "bpb", bpb(&g->result.total));
    cJSON_AddItemToObject(root, "bpb_domains", bpb_by_domain(&g->result, bpb));
    while (found->child) { /* its members behind these */
        cJSON *item = cJSON_DetachItemViaPointer(found, found->child);
        cJSON_AddItemToObject(root, item->string, item);
    }
    cJSON_Delete(found);
    return root;
}

static void print(const request *q, const probing *g) {
    char *note = q->run.saved && open_is_saved(q->path) ? checkpoint_weights_note(q->run.saved, q->which) : NULL;
    char *title = eval_run_held_out(&q->run, q->data) ? xstrdup("held-out text")
                                                      : xasprintf("%s, which is not known to be held out", q->data);
    probe_print(&g->found, &g->result, title);
    if (note) printf("\nweights of this training: %s\n", note);
    free(title);
    free(note);
}

static status report(const request *q, const probing *g, const cJSON *json) {
    bool drawn = true;
    if (!q->out) return STATUS_OK;
    TRY(probe_report(&g->found, json, q->out, &drawn));
    if (!drawn) plot_say_missing("probe");
    return STATUS_OK;
}

static status say(const request *q, const probing *g) {
    cJSON *json = to_json(q, g);
    status s = report(q, g, json);
    if (s == STATUS_OK && q->json)
        cli_print_json(json);
    else
        cJSON_Delete(json);
    if (s == STATUS_OK && !q->json) print(q, g);
    if (s == STATUS_OK && q->out) cli_results("%s", q->out);
    return s;
}

static status run(int argc, char **argv) {
    request q = {.tokens = SAMPLE};
    probing g = {0};
    status s = parse(argc, argv, &q);
    interrupt_catch();
    if (s == STATUS_OK) s = find_run(&q);
    if (s == STATUS_OK) s = open_all(&q, &g);
    if (s == STATUS_OK && q.out) s = folder_check(q.out);
    if (s == STATUS_OK) s = watch(&q, &g);
    if (s == STATUS_OK) s = say(&q, &g);
    close_all(&g);
    eval_run_free(&q.run);
    return s;
}

const command command_probe = {.name = "probe",
                               .summary = "what the routers of a mixture know of domains",
                               .help = help,
                               .run = run,
                               .takes = KINDS_OF_MODEL,
                               .takes_noun = NOUN_OF_MODEL};
