#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "cli/cli.h"
#include "config/load.h"
#include "config/write.h"
#include "store/checkpoint_alone.h"
#include "store/source.h"
#include "surgery/receipt.h"
#include "surgery/recipe.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char help[] =
    "usage: moec upcycle PARENT [PARENT ...] -o OUT [key=value ...] [options]\n"
    "\n"
    "Makes a mixture of a dense model: the MLPs of its layers become experts and a router, everything else stays. "
    "With\n"
    "drop=0 the mixture computes what its parent computes. PARENT is whatever moec opens: a Hugging Face folder, a "
    "GGUF\n"
    "file, a run, a checkpoint, an artifact. Several parents of one shape give an expert each in turn. OUT is a\n"
    "checkpoint folder, to be trained on (init=OUT), evaluated, packed or exported. Nothing larger than a piece of a\n"
    "tensor is held in memory. A receipt says what was done, measured.\n"
    "\n"
    "  --text FILE     what the receipt compares logits on, and what router=cluster reads (by default a text of "
    "moec's)\n"
    "  --tokens N      of it (256; 0: logits are not compared)\n"
    "  --json          the receipt as one JSON object\n"
    "  --keys          list the keys\n"
    "\n"
    "example: moec upcycle SmolLM2-135M.gguf -o smol-moe experts=4 shared=0 top_k=2 drop=0\n";

/* For receipts where no text is given. */
static const char own_text[] =
    "A mixture of experts is a neural network in which some layers have several copies of a part, called experts, and "
    "a "
    "small router that sends each token to a few of them. The network has many weights, but each token meets only "
    "some, "
    "so that it costs little more than a small one to run. When the experts begin as copies of one trained part, "
    "nothing "
    "changes at first: whichever expert a token goes to, it finds the same function there. Only training sets them "
    "apart. One may learn the words of cooking, \"three eggs and 250 grams of flour\", another how programs are "
    "written, "
    "for (int i = 0; i < n; i++) sum += x[i];, and a third the names of rivers, kings and mountains. Whether they do "
    "is a question that can be answered by counting where the tokens of each kind of text go, and by comparing the "
    "mixture with the plain network that it came from after both have read the same number of words.\n";

typedef struct request {
    const char *out, *text;
    long long tokens;
    bool json;
    recipe r;
    model_source **parents;
    const weight_source **weights;
    int parent_count;
    router_rows routers;
    upcycled *u;
    surgery_receipt receipt;
    int32_t *ids; /* the text's tokens */
    int64_t count;
    const char *read; /* what they are of */
    int64_t bytes;
    double started;
} request;

/* ---- what is asked for ---- */

static status open_parents(request *q, char **paths, int count) {
    q->parents = xcalloc((size_t)count, sizeof *q->parents);
    q->weights = xcalloc((size_t)count, sizeof *q->weights);
    for (int i = 0; i < count; i++) {
        TRY(model_source_open(&q->parents[i], paths[i], "chosen"));
        q->weights[i] = model_source_weights(q->parents[i]);
        q->parent_count++;
    }
    return STATUS_OK;
}

static status parse(request *q, int argc, char **argv) {
    int paths = 1;
    q->tokens = 256;
    q->out = cli_option(&argc, argv, "-o");
    q->text = cli_option(&argc, argv, "--text");
    q->json = cli_flag(&argc, argv, "--json");
    TRY(cli_integer("--tokens", cli_option(&argc, argv, "--tokens"), 0, 1 << 16, &q->tokens));
    TRY(cli_rest(argc, argv, 1, 1 << 10, "moec upcycle PARENT [PARENT ...] -o OUT [key=value ...]"));
    while (paths < argc && !strchr(argv[paths], '=')) paths++;
    if (paths == 1) return fail_usage("upcycle: expected a parent before keys, found %s", argv[1]);
    if (!q->out || !*q->out) return fail_usage("upcycle: expected -o OUT, where the mixture goes, found none");
    if (path_exists(q->out)) return fail_usage("%s: something is there already; expected a new path for -o", q->out);
    TRY(config_load(&recipe_schema, &q->r, NULL, argv + paths, argc - paths, NULL));
    TRY(recipe_check(&q->r));
    if (q->r.router == ROUTER_CLUSTER && !q->text)
        return fail_usage("--text: expected a calibration text with router=cluster, found none");
    return open_parents(q, argv + 1, paths - 1);
}

/* ---- text ---- */

static tokenizer *tokenizer_of(const request *q) {
    return model_source_tokenizer(q->parents[0]);
}

/* A tokenizer may have more pieces than its model: such tokens must not come. */
static status check_tokens(const request *q) {
    const int vocabulary = q->weights[0]->config.vocab_size;
    if (q->count == 0) return fail("%s: expected a text of at least one token, found none", q->read);
    for (int64_t i = 0; i < q->count; i++)
        if (q->ids[i] >= vocabulary)
            return fail("%s: it has token %d: expected tokens below the model's vocab_size %d", q->read, q->ids[i],
                        vocabulary);
    return STATUS_OK;
}

static status draw_tokens(request *q) {
    rng r = rng_seed(1);
    if (q->text) return fail("%s: it has no tokenizer to read %s with", model_source_path(q->parents[0]), q->text);
    q->read = "tokens by chance, for want of a tokenizer";
    q->count = q->tokens;
    q->ids = xmalloc((size_t)q->count * sizeof *q->ids);
    for (int64_t i = 0; i < q->count; i++)
        q->ids[i] = (int32_t)rng_below(&r, (uint64_t)q->weights[0]->config.vocab_size);
    return STATUS_OK;
}

/* BOS before them, where the tokenizer has it so. A model without a tokenizer gets tokens by chance. */
static status read_tokens(request *q) {
    const tokenizer *tok = tokenizer_of(q);
    uint8_t *text = NULL;
    size_t bytes = strlen(own_text), found = 0;
    q->read = q->text ? q->text : "moec's own text";
    if (!tok) return draw_tokens(q);
    if (q->text) TRY(file_read(q->text, FILE_ANY_SIZE, &text, &bytes));
    const status s = tokenizer_encode_text(tok, text ? (const char *)text : own_text, bytes, &q->ids, &found);
    free(text);
    TRY(s);
    q->count = bytes > 0 ? (int64_t)found : 0; /* BOS alone is no text */
    return check_tokens(q);
}

/* ---- routers ---- */

static status cluster(request *q, const kernels *k) {
    const int64_t context = model_source_context(q->parents[0]), most = context < 512 ? context : 512;
    const int sequences = (int)((q->count + most - 1) / most);
    batch *batches = xcalloc((size_t)sequences + 1, sizeof *batches);
    for (int i = 0; i < sequences; i++) {
        const int64_t left = q->count - i * most;
        batches[i] = (batch){.batch = 1, .length = left < most ? left : most, .input_ids = q->ids + i * most};
    }
    const status s = router_rows_from_clusters(&q->routers, q->weights[0], k, batches, sequences, q->r.options.seed);
    free(batches);
    return s;
}

static status from_prompts(request *q, const kernels *k) {
    const prompt_mode mode = q->r.router == ROUTER_HIDDEN       ? PROMPTS_HIDDEN
                             : q->r.router == ROUTER_HIDDEN_AVG ? PROMPTS_HIDDEN_AVG
                                                                : PROMPTS_CHEAP_EMBED;
    expert_prompts *prompts;
    if (!tokenizer_of(q)) return fail("%s: it has no tokenizer to read prompts with", model_source_path(q->parents[0]));
    TRY(prompts_read(&prompts, q->r.prompts, q->r.options.experts, q->routers.gate));
    if (q->r.options.names.count == 0) q->r.options.names = prompts_names(prompts, q->r.options.experts);
    const status s = router_rows_from_prompts(&q->routers, q->weights[0], tokenizer_of(q), k, prompts, mode);
    prompts_free(prompts, q->r.options.experts + 1);
    return s;
}

static status make_routers(request *q, const kernels *k) {
    model_config c;
    TRY(upcycle_config_of(&c, &q->weights[0]->config, &q->r.options));
    q->routers = router_rows_create(&c, &q->r.options);
    if (q->r.router == ROUTER_CLUSTER) return cluster(q, k);
    if (q->r.router != ROUTER_RANDOM) return from_prompts(q, k);
    router_rows_draw(&q->routers, q->r.router_std, q->r.options.seed);
    return STATUS_OK;
}

/* ---- the mixture ---- */

static cJSON *origin_of(const request *q) {
    cJSON *origin = cJSON_CreateObject(), *parents = cJSON_AddArrayToObject(origin, "parents");
    for (int i = 0; i < q->parent_count; i++)
        cJSON_AddItemToArray(parents, cJSON_CreateString(model_source_path(q->parents[i])));
    cJSON *keys = cJSON_AddObjectToObject(origin, "upcycle");
    for (int i = 0; i < schema_size(&recipe_schema); i++) {
        const config_key key = schema_key(&recipe_schema, i);
        const void *member = (const char *)&q->r + key.field.offset;
        char *value = key.field.type == FIELD_SET ? set_text(member, MODEL_MAX_LAYERS) : field_text(&key.field, &q->r);
        if (value) cJSON_AddStringToObject(keys, key.field.key, value);
        free(value);
    }
    return origin;
}

/* In sequences whose logits are at most 160 MiB. */
static status compare(request *q, const kernels *k) {
    enum { LOGITS_AT_ONCE = 40 << 20, LEAST = 32 };
    const int64_t context = model_source_context(q->parents[0]), vocabulary = q->weights[0]->config.vocab_size;
    const int64_t count = q->count < q->tokens ? q->count : q->tokens;
    int64_t most = LOGITS_AT_ONCE / vocabulary > LEAST ? LOGITS_AT_ONCE / vocabulary : LEAST;
    if (most > context) most = context;
    for (int64_t first = 0, run; first < count; first += run) {
        run = count - first < most ? count - first : most;
        if (interrupt_requested()) return STATUS_INTERRUPTED;
        TRY(surgery_compare(&q->receipt, q->weights[0], upcycle_weights(q->u), k, q->ids + first, run));
    }
    return STATUS_OK;
}

/* The mixture is written last: what fails or is stopped before leaves nothing. */
static status make(request *q) {
    const kernels *k;
    storage type = STORAGE_F32;
    TRY(device_open("cpu", "f32", &k));
    if (q->tokens > 0 || q->r.router == ROUTER_CLUSTER) TRY(read_tokens(q));
    TRY(make_routers(q, k));
    TRY(upcycle_begin(&q->u, q->weights, q->parent_count, &q->r.options, &q->routers));
    TRY(compare(q, k));
    TRY(surgery_measure(&q->receipt, q->weights[0], upcycle_weights(q->u)));
    storage_find(q->r.type, &type);
    return checkpoint_write_alone(q->out, upcycle_weights(q->u), type, tokenizer_of(q),
                                  model_source_context(q->parents[0]), origin_of(q), &q->bytes);
}

/* ---- the receipt ---- */

static double peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

static void print_receipt(const request *q) {
    const surgery_receipt *r = &q->receipt;
    const model_config *c = &upcycle_weights(q->u)->config;
    int layers = 0;
    for (int i = 0; i < c->num_layers; i++) layers += c->moe.layers[i];
    printf("%s (%s%s) -> %s\n", model_source_path(q->parents[0]), model_source_kind(q->parents[0]),
           q->parent_count > 1 ? ", and others" : "", q->out);
    printf("  layers        %d of %d: %d experts of %d units, top %d, %d shared, %.0f %% of their units drawn anew\n",
           layers, c->num_layers, c->moe.experts, c->moe.expert_hidden, c->moe.top_k, q->r.options.shared,
           100 * q->r.options.drop);
    printf("  parameters    %.1f M -> %.1f M, of which %.1f M are active\n", (double)r->parent_parameters / 1e6,
           (double)r->parameters / 1e6, (double)r->active / 1e6);
    printf("  weights       %.1f MB as %s\n", (double)q->bytes / 1e6, q->r.type);
    printf("  experts       %.4f mean cosine between two of a layer\n", r->expert_cosine);
    if (r->tokens > 0)
        printf("  logits        differ from the parent's by at most %.2e, %.2e in the mean (they are %.2f; %lld tokens "
               "of %s)\n",
               r->largest, r->mean, r->scale, (long long)r->tokens, q->read);
    printf("  took          %.1f s, at most %.0f MB of memory\n", clock_seconds() - q->started, peak_bytes() / 1e6);
}

static void print_json(const request *q) {
    const surgery_receipt *r = &q->receipt;
    cJSON *json = origin_of(q);
    cJSON_AddStringToObject(json, "out", q->out);
    cJSON_AddNumberToObject(json, "parent_parameters", (double)r->parent_parameters);
    cJSON_AddNumberToObject(json, "parameters", (double)r->parameters);
    cJSON_AddNumberToObject(json, "active_parameters", (double)r->active);
    cJSON_AddNumberToObject(json, "bytes", (double)q->bytes);
    cJSON_AddNumberToObject(json, "expert_cosine", r->expert_cosine);
    cJSON_AddNumberToObject(json, "compared_tokens", (double)r->tokens);
    if (r->tokens > 0) {
        cJSON_AddNumberToObject(json, "logits_largest_difference", r->largest);
        cJSON_AddNumberToObject(json, "logits_mean_difference", r->mean);
        cJSON_AddNumberToObject(json, "logits_rms", r->scale);
    }
    cJSON_AddNumberToObject(json, "seconds", clock_seconds() - q->started);
    cJSON_AddNumberToObject(json, "peak_memory_bytes", peak_bytes());
    cli_print_json(json);
}

/* Layers come and go: what one leaves goes back to the system. glibc would keep blocks of up to 32 MiB, and the heap would
 * grow by the holes between them (494 M parameters, 600 tokens: 3.4 GB instead of 2.6). */
static void keep_no_large_blocks(void) {
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
#endif
}

static status run(int argc, char **argv) {
    request q = {.r = recipe_default(), .started = clock_seconds()};
    if (cli_flag(&argc, argv, "--keys")) {
        config_describe(&recipe_schema, &q.r, stdout);
        recipe_free(&q.r);
        return STATUS_OK;
    }
    interrupt_catch();
    keep_no_large_blocks();
    status s = parse(&q, argc, argv);
    if (s == STATUS_OK) s = make(&q);
    if (s == STATUS_OK) q.json ? print_json(&q) : print_receipt(&q);
    upcycle_end(q.u);
    router_rows_free(&q.routers);
    free(q.ids);
    for (int i = 0; i < q.parent_count; i++) model_source_close(q.parents[i]);
    free(q.parents);
    free(q.weights);
    recipe_free(&q.r);
    return s;
}

const command command_upcycle = {
    .name = "upcycle", .summary = "make a mixture of experts of a dense model", .help = help, .run = run};
