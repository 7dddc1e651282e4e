/* moec route */
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/prompt.h"
#include "cli/secretary.h"
#include "eval/secretary.h"
#include "nn/expert_names.h"
#include "store/open.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "moec route MODEL [PROMPT] [options]";

static const char help[] =
    "usage: moec route MODEL [PROMPT] [options]\n"
    "\n"
    "Which of a mixture's experts a prompt needs: the probabilities that the routers give to each, by name where the "
    "experts\n"
    "have names; the mean over the prompt's tokens and over the routers of the layers (of a looped layer that of its "
    "last\n"
    "pass). Nothing behind the last router is run. `moec generate --secretary` decides so, and loads that expert "
    "alone.\n"
    "\n"
    "  --prompt-file FILE  the prompt; a PROMPT of - is read from stdin. The last line end of either is left out\n"
    "  --lines             each line that is not empty is a prompt of its own\n"
    "  --layers N,N        only these layers' routers are asked (all), such as those that were taught (label_layers)\n"
    "  --live, --ema       of a run: the live weights, the averaged ones, whatever the training found\n"
    "  --device D, --dtype T   cpu; bf16 or f32 (by default the fastest)\n"
    "  --json              one JSON object instead of the table\n"
    "\n"
    "examples:\n"
    "  moec route runs/demo \"for (int i = 0; i < n; i++)\"\n"
    "  moec route runs/demo --prompt-file CHANGELOG.md --lines --json\n";

enum { LONGEST = 2048, SHOWN_TEXT = 32, MOST_COLUMNS = 8 };

typedef struct request {
    const char *path, *which, *argument, *file, *layers;
    bool lines, json;
    const kernels *k;
} request;

static status parse(int argc, char **argv, request *q) {
    TRY(cli_device(&argc, argv, NULL, &q->k));
    TRY(cli_weights(&argc, argv, &q->which));
    q->file = cli_option(&argc, argv, "--prompt-file");
    q->layers = cli_option(&argc, argv, "--layers");
    q->lines = cli_flag(&argc, argv, "--lines");
    q->json = cli_flag(&argc, argv, "--json");
    TRY(cli_rest(argc, argv, 1, 2, usage));
    q->path = argv[1];
    q->argument = argc > 2 ? argv[2] : NULL;
    if (q->file && q->argument)
        return fail_usage("route: PROMPT and --prompt-file exclude each other, found `%.60s` and %s", q->argument,
                          q->file);
    if (!q->file && !q->argument) return fail_usage("route: expected a PROMPT or --prompt-file, found none");
    return STATUS_OK;
}

/* ---- prompts ---- */

typedef struct routed {
    const char *text; /* in the prompt */
    size_t bytes;
    int64_t tokens;
    double *probabilities; /* [E] */
} routed;

typedef struct routed_list {
    routed *items;
    int count;
} routed_list;

static void add(routed_list *l, const char *text, size_t bytes) {
    l->items = xrealloc(l->items, (size_t)(l->count + 1) * sizeof *l->items);
    l->items[l->count++] = (routed){.text = text, .bytes = bytes};
}

static void split(routed_list *l, const prompt *text) {
    for (const char *at = text->text, *end = at + text->bytes; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        const size_t bytes = (size_t)(stop - at) - (stop > at && stop[-1] == '\r');
        if (bytes > 0) add(l, at, bytes);
        at = stop + 1;
    }
}

static void free_list(routed_list *l) {
    for (int i = 0; i < l->count; i++) free(l->items[i].probabilities);
    free(l->items);
}

static status ask(routed *r, pass *p, const tokenizer *tok, const bool *layers, int context) {
    int32_t *ids;
    size_t count;
    r->probabilities = xcalloc((size_t)pass_model(p)->config.moe.experts, sizeof *r->probabilities);
    TRY(tokenizer_encode_text(tok, r->text, r->bytes, &ids, &count));
    r->tokens = (int64_t)count;
    const status s = secretary_ask(p, layers, ids, r->tokens, context < LONGEST ? context : LONGEST, r->probabilities);
    free(ids);
    return s;
}

static status ask_all(const request *q, routed_list *l, model *m, const tokenizer *tok, int context) {
    bool layers[MODEL_MAX_LAYERS] = {false};
    progress shown = progress_start("route");
    pass *p;
    if (q->layers) TRY(secretary_layers(&m->config, q->layers, layers));
    TRY(pass_create(&p, m));
    status s = STATUS_OK;
    for (int i = 0; i < l->count && s == STATUS_OK; i++) {
        s = ask(&l->items[i], p, tok, q->layers ? layers : NULL, context);
        progress_show(&shown, (double)(i + 1) / l->count, "prompts");
    }
    progress_clear(&shown);
    pass_destroy(p);
    return s == STATUS_INTERRUPTED ? s : fail_in(s, "%s", q->path);
}

/* ---- what is shown ---- */

/* Line ends would break the table. */
static void print_text(const routed *r) {
    size_t bytes = r->bytes;
    const bool cut = bytes > SHOWN_TEXT;
    if (cut)
        for (bytes = SHOWN_TEXT - 3; bytes > 0 && ((unsigned char)r->text[bytes] & 0xC0) == 0x80;) bytes--;
    int columns = 0;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)r->text[i];
        putchar(c < ' ' || c == 127 ? ' ' : c);
        columns += (c & 0xC0) != 0x80;
    }
    printf("%s%*s", cut ? "..." : "", SHOWN_TEXT - columns - (cut ? 3 : 0), "");
}

static void print_one(const routed *r, const moe_config *c, const bool *layers, int num_layers) {
    const int best = secretary_choice(r->probabilities, c->experts);
    char name[EXPERT_NAME_BYTES], *list = layers ? set_text(layers, num_layers) : NULL;
    printf("%-32s %12s\n", "expert", "probability");
    for (int e = 0; e < c->experts; e++)
        printf("%-32s %12.4f%s\n", expert_name(c, e, name), r->probabilities[e], e == best ? "  <" : "");
    printf("\nthe mean over %lld tokens and the routers of %s%s\n", (long long)r->tokens,
           list ? "the layers " : "all layers", list ? list : "");
    free(list);
}

static void print_lines(const routed_list *l, const moe_config *c) {
    char name[EXPERT_NAME_BYTES];
    const bool columns = c->experts <= MOST_COLUMNS;
    printf("%-*s %7s %-16s", SHOWN_TEXT, "prompt", "tokens", "expert");
    for (int e = 0; e < c->experts && columns; e++) printf(" %9.9s", expert_name(c, e, name));
    puts(columns ? "" : " probability");
    for (int i = 0; i < l->count; i++) {
        const routed *r = &l->items[i];
        const int best = secretary_choice(r->probabilities, c->experts);
        print_text(r);
        printf(" %7lld %-16.16s", (long long)r->tokens, expert_name(c, best, name));
        for (int e = 0; e < c->experts && columns; e++) printf(" %9.4f", r->probabilities[e]);
        if (!columns) printf(" %.4f", r->probabilities[best]);
        putchar('\n');
    }
}

static cJSON *json_of(const routed *r, const moe_config *c) {
    char name[EXPERT_NAME_BYTES], *text = xasprintf("%.*s", (int)r->bytes, r->text);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "prompt", text);
    cJSON_AddNumberToObject(json, "tokens", (double)r->tokens);
    cJSON_AddStringToObject(json, "expert", expert_name(c, secretary_choice(r->probabilities, c->experts), name));
    cJSON *list = cJSON_AddArrayToObject(json, "probabilities");
    for (int e = 0; e < c->experts; e++) cJSON_AddItemToArray(list, cJSON_CreateNumber(r->probabilities[e]));
    free(text);
    return json;
}

static void print_json(const request *q, const routed_list *l, const moe_config *c) {
    char name[EXPERT_NAME_BYTES];
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "model", q->path);
    if (q->layers) cJSON_AddStringToObject(json, "layers", q->layers);
    cJSON *names = cJSON_AddArrayToObject(json, "experts");
    for (int e = 0; e < c->experts; e++) cJSON_AddItemToArray(names, cJSON_CreateString(expert_name(c, e, name)));
    cJSON *prompts = cJSON_AddArrayToObject(json, "prompts");
    for (int i = 0; i < l->count; i++) cJSON_AddItemToArray(prompts, json_of(&l->items[i], c));
    cli_print_json(json);
}

static void print(const request *q, const routed_list *l, const model_config *c) {
    bool layers[MODEL_MAX_LAYERS] = {false};
    if (q->layers && secretary_layers(c, q->layers, layers) != STATUS_OK) return;
    if (q->json)
        print_json(q, l, &c->moe);
    else if (q->lines)
        print_lines(l, &c->moe);
    else
        print_one(&l->items[0], &c->moe, q->layers ? layers : NULL, c->num_layers);
}

/* ---- the command ---- */

static status route(const request *q, routed_list *l) {
    checkpoint *saved;
    model *m;
    tokenizer *tok;
    int context;
    TRY(cli_hold(&saved, q->path, q->which));
    status s = open_model(saved ? saved->path : q->path, q->k, q->which, MODEL_RUN, &m, &tok, &context);
    checkpoint_close(saved);
    TRY(s);
    interrupt_catch();
    s = ask_all(q, l, m, tok, context);
    if (s == STATUS_OK) print(q, l, &m->config);
    model_destroy(m);
    tokenizer_close(tok);
    return s;
}

static status run(int argc, char **argv) {
    request q = {0};
    routed_list l = {0};
    prompt text;
    TRY(parse(argc, argv, &q));
    TRY(prompt_read(&text, q.argument, q.file));
    if (q.lines)
        split(&l, &text);
    else
        add(&l, text.text, text.bytes);
    const status s = l.count > 0 ? route(&q, &l) : fail_usage("--lines: expected a line that is not empty, found none");
    free_list(&l);
    prompt_free(&text);
    return s;
}

const command command_route = {
    .name = "route",
    .summary = "which of a mixture's experts a prompt needs",
    .help = help,
    .run = run,
    .takes = KINDS_OF_MODEL,
    .takes_noun = NOUN_OF_MODEL,
};
