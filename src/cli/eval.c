#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/routing_print.h"
#include "eval/heldout.h"
#include "store/artifact.h"
#include "store/open.h"
#include "train/checkpoint.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec eval MODEL [top_k=N] [options]\n"
    "\n"
    "Bits per byte of held-out text, by domain and in all, over sliding windows. MODEL is an artifact (FILE.moec), a\n"
    "checkpoint, or a run folder: then its live weights, its averaged weights and its artifact model.moec are scored,\n"
    "with and without the causal bigram blend, beside xz -9e of the same text, and RUN/summary.json is written.\n"
    "Of a model with routers it shows how many tokens each expert took, layer by layer (of a run: of the last one).\n"
    "\n"
    "  top_k=N          experts a token goes to, instead of the model's own number; then without the summary\n"
    "  --trace FILE     a CSV row for each scored token, pass, layer and chosen expert, with its gate\n"
    "  --data PATH      a folder made by moec data, or a shard (by default the run's)\n"
    "  --seq N          window length in tokens (by default as trained)\n"
    "  --stride N       new tokens a window; the others are context (by default the run's eval_stride, else seq / 2)\n"
    "  --blend X        weight of the bigram blend (0.03)\n"
    "  --tokens N       score only the first N tokens (0: all); then without xz, and without the summary\n"
    "  --device D       cpu\n"
    "  --dtype T        bf16 or f32 (by default the fastest)\n"
    "  --json           print one JSON object instead of the table\n"
    "\n"
    "example: moec eval runs/demo\n";

enum { MAX_ROWS = 8 };

/* One line of the table: bits per byte in all and by domain. */
typedef struct row {
    const char *name;
    double total, domain[EVAL_MAX_DOMAINS];
} row;

typedef struct table {
    row rows[MAX_ROWS];
    int count, domain_count;
    char *domains[EVAL_MAX_DOMAINS];
    int64_t tokens, bytes;
    double seconds;
    routing_probe *probe; /* of the model that was probed last; NULL: none was */
    const char *probed;   /* its name */
    bool partial; /* --tokens left some of the text out: not to be compared with xz, nor kept as the run's result */
} table;

typedef struct request {
    const char *path, *data, *trace;
    int top_k; /* 0: the model's own */
    long long seq, stride, tokens;
    double blend;
    const kernels *k;
    bool json;
    checkpoint *saved; /* held, so that all rows are of one step whatever a training beside does; NULL: an artifact */
    char *run_data;    /* from the run's config */
    int64_t run_stride;
    bool average;             /* the checkpoint has averaged weights */
    const char *average_name; /* EMA or SWA */
} request;

/* The one key of a model that may change after training. */
static status parse_override(const char *text, request *q) {
    const char *value = strchr(text, '=');
    long long top_k = 0;
    if (!value || strncmp(text, "top_k=", 6) != 0)
        return fail_usage("eval: expected top_k=N behind the model, found %.60s; no other key can change there", text);
    TRY(cli_integer("top_k", value + 1, 1, MODEL_MAX_EXPERTS, &top_k));
    q->top_k = (int)top_k;
    return STATUS_OK;
}

static status set_top_k(model *m, const char *path, int top_k) {
    const model_config *c = &m->config;
    if (top_k == 0) return STATUS_OK;
    if (!model_config_has_moe(c)) return fail_usage("%s: top_k=%d: the model has no router", path, top_k);
    if (c->moe.gate == GATE_SOFT || c->moe.gate == GATE_STRAIGHT_THROUGH)
        return fail_usage("%s: top_k=%d: its gates (moe_gate: %s) do not use a number of experts", path, top_k,
                          c->moe.gate == GATE_SOFT ? "soft" : "straight_through");
    if (top_k > c->moe.experts)
        return fail_usage("%s: top_k: expected 1 to %d, the number of experts, found %d", path, c->moe.experts, top_k);
    return model_set_top_k(m, top_k);
}

static status parse(int *argc, char **argv, request *q) {
    *q = (request){.blend = 0.03};
    TRY(cli_device(argc, argv, NULL, &q->k));
    q->data = cli_option(argc, argv, "--data");
    q->json = cli_flag(argc, argv, "--json");
    q->trace = cli_option(argc, argv, "--trace");
    TRY(cli_integer("--seq", cli_option(argc, argv, "--seq"), 1, 1 << 20, &q->seq));
    TRY(cli_integer("--stride", cli_option(argc, argv, "--stride"), 1, 1 << 20, &q->stride));
    TRY(cli_integer("--tokens", cli_option(argc, argv, "--tokens"), 0, INT64_MAX, &q->tokens));
    TRY(cli_number("--blend", cli_option(argc, argv, "--blend"), 0, 0.999, &q->blend));
    TRY(cli_rest(*argc, argv, 1, 2, "moec eval MODEL [top_k=N] [options]"));
    q->path = argv[1];
    return *argc > 2 ? parse_override(argv[2], q) : STATUS_OK;
}

/* The run's data folder, stride and kinds of weights, where the model is a checkpoint or a run. */
static status read_run_config(request *q) {
    if (!path_is_folder(q->path)) return STATUS_OK;
    TRY(checkpoint_require(&q->saved, q->path));
    run_config config = run_config_default();
    status s = checkpoint_load_config(q->saved, &config);
    if (s == STATUS_OK) {
        q->average = checkpoint_has_average(q->saved);
        q->run_data = config.data.path ? xstrdup(config.data.path) : NULL;
        q->run_stride = config.eval.stride;
        q->average_name = config.average.kind == AVERAGE_SWA ? "SWA" : "EMA";
    }
    run_config_free(&config);
    return s;
}

static void add_row(table *t, const char *name, const bpb_result *r, double (*measure)(const bpb_score *)) {
    row *line = &t->rows[t->count++];
    *line = (row){.name = name, .total = measure(&r->total)};
    for (int i = 0; i < r->domain_count; i++) line->domain[i] = r->domain[i].bytes ? measure(&r->domain[i]) : NAN;
    t->tokens = r->total.tokens;
    t->bytes = r->total.bytes;
    t->seconds += r->seconds;
}

static status open_probe(const request *q, const model *m, const tokenizer *tok, const char *name, table *t) {
    if (q->trace && !model_config_has_moe(&m->config))
        return fail_usage("--trace: the model has no router whose choices could be written");
    t->probed = name;
    return routing_probe_create(&t->probe, tok, q->trace);
}

static status close_probe(const request *q, const table *t) {
    TRY(routing_probe_finish(t->probe));
    if (q->trace && !q->json) printf("choices written to %s\n", q->trace);
    return STATUS_OK;
}

/* Score one model; the held-out text is opened with the first. */
static status score(const request *q, const char *path, const char *which, const char *name, const char *blend_name,
                    bool probed, heldout *h, table *t) {
    model *m;
    pass *p = NULL;
    tokenizer *tok;
    bpb_result result;
    int context = 0;
    TRY(open_model(path, q->k, which, MODEL_RUN, &m, &tok, &context));
    const char *data = q->data ? q->data : q->run_data;
    status s = data ? STATUS_OK : fail_usage("eval: --data: expected a folder made by moec data, found none");
    if (s == STATUS_OK) s = set_top_k(m, path, q->top_k);
    if (s == STATUS_OK) s = pass_create(&p, m);
    if (s == STATUS_OK && probed) s = open_probe(q, m, tok, name, t);
    if (s == STATUS_OK && !h->s.path) s = heldout_open(h, data, m->config.vocab_size);
    if (s == STATUS_OK) {
        int64_t seq = q->seq ? q->seq : context;
        int64_t stride = q->stride ? q->stride : q->run_stride && q->run_stride <= seq ? q->run_stride : (seq + 1) / 2;
        bpb_options options = {.seq = seq,
                               .stride = stride,
                               .batch = seq < 4096 ? 4096 / seq : 1,
                               .blend_lambda = blend_name ? q->blend : 0,
                               .max_tokens = q->tokens,
                               .show_progress = true,
                               .probe = probed ? t->probe : NULL};
        s = bpb_evaluate(p, tok, &h->s, h->documents.count ? &h->documents : NULL, &options, &result);
        if (s == STATUS_OK && probed) s = close_probe(q, t);
        if (s == STATUS_OK) {
            t->partial = result.total.tokens < h->s.count - 1;
            add_row(t, name, &result, bpb);
            if (blend_name && q->blend > 0) add_row(t, blend_name, &result, bpb_blend);
        }
        bpb_result_free(&result);
    }
    pass_destroy(p);
    model_destroy(m);
    tokenizer_close(tok);
    return s;
}

static status add_xz(const heldout *h, table *t) {
    t->domain_count = h->documents.domain_count;
    for (int i = 0; i < t->domain_count; i++) t->domains[i] = h->documents.domains[i];
    if (!h->text || t->partial) return STATUS_OK;
    row *line = &t->rows[t->count++];
    *line = (row){.name = "xz -9e"};
    return heldout_xz(h, &line->total, line->domain);
}

static void print_number(double bits) {
    isnan(bits) ? printf(" %12s", "-") : printf(" %12.4f", bits);
}

static void print_table(const table *t) {
    printf("\nbits per byte of %lld bytes (%lld tokens) of held-out text\n\n%-24s", (long long)t->bytes,
           (long long)t->tokens, "");
    for (int i = 0; i < t->domain_count; i++) printf(" %12s", t->domains[i]);
    printf(" %12s\n", "all");
    for (int r = 0; r < t->count; r++) {
        printf("%-24s", t->rows[r].name);
        for (int i = 0; i < t->domain_count; i++) print_number(t->rows[r].domain[i]);
        print_number(t->rows[r].total);
        putchar('\n');
    }
    if (t->probe) routing_print(t->probe, t->probed);
}

static void print_json(const table *t) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "tokens", (double)t->tokens);
    cJSON_AddNumberToObject(root, "bytes", (double)t->bytes);
    cJSON_AddNumberToObject(root, "seconds", t->seconds);
    for (int r = 0; r < t->count; r++) {
        cJSON *line = cJSON_AddObjectToObject(root, t->rows[r].name);
        cJSON_AddNumberToObject(line, "all", t->rows[r].total);
        for (int i = 0; i < t->domain_count; i++) cJSON_AddNumberToObject(line, t->domains[i], t->rows[r].domain[i]);
    }
    if (t->probe) routing_to_json(t->probe, root);
    char *text = cJSON_Print(root);
    puts(text);
    free(text);
    cJSON_Delete(root);
}

static const row *find_row(const table *t, const char *name) {
    for (int r = 0; r < t->count; r++)
        if (strcmp(t->rows[r].name, name) == 0) return &t->rows[r];
    return NULL;
}

static void add_total(cJSON *root, const char *key, const row *r) {
    cJSON_AddNumberToObject(root, key, r ? r->total : NAN); /* cJSON prints NaN as null */
}

static status write_summary(const request *q, const table *t, const char *artifact) {
    train_state state = {0};
    status s = checkpoint_load_state(q->saved, &state);
    char *path = path_join(q->path, "summary.json");
    const row *average = find_row(t, q->average_name), *packed = find_row(t, "packed");
    file_map map = {0};
    if (s == STATUS_OK && packed) s = file_map_open(&map, artifact);
    cJSON *root = cJSON_CreateObject();
    add_total(root, "val_bpb_live", find_row(t, "live"));
    add_total(root, "val_bpb_ema", average);
    add_total(root, "val_bpb_packed", packed);
    add_total(root, "val_bpb_packed_blend", find_row(t, "packed + blend"));
    cJSON_AddNumberToObject(root, "quant_gap", average && packed ? packed->total - average->total : NAN);
    cJSON_AddNumberToObject(root, "artifact_bytes", packed ? (double)map.count : NAN);
    add_total(root, "xz_bpb", find_row(t, "xz -9e"));
    cJSON_AddNumberToObject(root, "train_tokens", (double)state.tokens);
    cJSON_AddNumberToObject(root, "tokens_per_second", state.seconds > 0 ? (double)state.tokens / state.seconds : 0);
    cJSON_AddNumberToObject(root, "seconds", state.seconds);
    if (s == STATUS_OK) s = json_write_file(path, root);
    if (s == STATUS_OK && !q->json) {
        if (average && packed)
            printf("\nquantisation gap (packed - %s) %+.4f bits/byte, artifact %zu bytes\n", q->average_name,
                   packed->total - average->total, map.count);
        printf("summary written to %s\n", path);
    }
    if (map.bytes) file_map_close(&map);
    cJSON_Delete(root);
    free(path);
    return s;
}

/* Whether the folder is a run (it has checkpoints/), not a checkpoint itself. */
static bool is_run(const char *path) {
    char *checkpoints = path_join(path, "checkpoints");
    bool run = path_is_folder(checkpoints);
    free(checkpoints);
    return run;
}

static status score_run(const request *q, heldout *h, table *t) {
    char *artifact = path_join(q->path, "model.moec");
    bool packed = path_exists(artifact);
    status s = score(q, q->saved->path, "live", "live", NULL, !q->average && !packed, h, t);
    if (s == STATUS_OK && q->average) s = score(q, q->saved->path, "ema", q->average_name, NULL, !packed, h, t);
    if (s == STATUS_OK && packed) s = score(q, artifact, "", "packed", "packed + blend", true, h, t);
    if (s == STATUS_OK) s = add_xz(h, t);
    if (s == STATUS_OK && !q->json) print_table(t);
    if (s == STATUS_OK && q->json) print_json(t);
    if (s == STATUS_OK && !t->partial && q->top_k == 0) s = write_summary(q, t, artifact);
    free(artifact);
    return s;
}

static status score_one(const request *q, heldout *h, table *t) {
    TRY(score(q, q->saved ? q->saved->path : q->path, "ema", "model", "model + blend", true, h, t));
    TRY(add_xz(h, t));
    if (q->json)
        print_json(t);
    else
        print_table(t);
    return STATUS_OK;
}

static status run(int argc, char **argv) {
    request q;
    heldout h = {0};
    table t = {0};
    TRY(parse(&argc, argv, &q));
    status s = read_run_config(&q);
    interrupt_catch();
    if (s == STATUS_OK) s = is_run(q.path) ? score_run(&q, &h, &t) : score_one(&q, &h, &t);
    if (h.s.path) heldout_close(&h);
    routing_probe_destroy(t.probe);
    checkpoint_close(q.saved);
    free(q.run_data);
    return s;
}

const command command_eval = {.name = "eval",
                              .summary = "bits per byte of held-out text, by domain",
                              .help = help,
                              .run = run,
                              .takes = KINDS_OF_MODEL,
                              .takes_noun = "a model (an artifact, a checkpoint or a run folder)"};
