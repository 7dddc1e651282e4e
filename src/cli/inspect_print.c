#include "cli/cli.h"
#include "cli/inspect.h"
#include "config/field.h"
#include "nn/plan.h"
#include "study/table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double percent(int64_t part, int64_t whole) {
    return 100.0 * (double)part / (double)whole;
}

static bool changes(const inspected *i) {
    return memcmp(&i->now, &i->after, sizeof i->now) != 0;
}

static void print_row(const inspected *i, const char *name, int64_t now, int64_t after, double packed) {
    char a[32], b[32], c[32];
    printf("  %-14s %14s %5.1f %%", name, grouped(now, a), percent(now, i->budget_now.total));
    if (changes(i)) printf(" %14s %5.1f %%", grouped(after, b), percent(after, i->budget_after.total));
    if (i->has_run) printf(" %14s", grouped((int64_t)packed, c));
    putchar('\n');
}

static void print_budget(const inspected *i) {
    printf("parameters                  now        ");
    if (changes(i)) printf("    after events        ");
    if (i->has_run) printf(" packed bytes");
    putchar('\n');
    for (int c = 0; c < COMPONENTS; c++)
        if (i->budget_now.of[c] || i->budget_after.of[c])
            print_row(i, component_name((component)c), i->budget_now.of[c], i->budget_after.of[c],
                      i->estimate.bytes[c]);
    print_row(i, "total", i->budget_now.total, i->budget_after.total, i->estimate.total);
    char a[32], b[32];
    printf("  %-14s %14s", "a token uses", grouped(i->budget_now.active, a));
    if (changes(i)) printf("         %14s", grouped(i->budget_after.active, b));
    puts("\n");
}

static void print_path(const char *when, const model_config *c) {
    forward_path path = model_path(c);
    printf("  %-7s encoder", when);
    for (int n = 0; n < path.length; n++) printf("%s %d", n == path.encoder ? "  decoder" : "", path.layer[n]);
    printf("  (%d blocks", path.length);
    if (c->loop.on) printf(", layers %d to %d in %d passes", c->loop.first, c->loop.last, c->loop.extra_passes + 1);
    puts(")");
}

static void print_event(const event *e, const model_config *c) {
    if (e->below_lr > 0)
        printf("  rate under %g of its peak: ", e->below_lr);
    else
        printf("  at %g %%: ", 100 * e->at);
    char *layers = set_text(e->layers, MODEL_MAX_LAYERS);
    if (e->kind == EVENT_UPCYCLE)
        printf("upcycle layers %s to %d experts, top-%d\n", layers, e->experts, e->top_k);
    else if (e->kind == EVENT_LOOP)
        printf("loop layers %d to %d, %d passes\n", c->loop.first, c->loop.last, c->loop.extra_passes + 1);
    else
        printf("train on the %d-bit grid\n", e->bits);
    free(layers);
}

static const char *weights_name(const artifact_contents *c) {
    return strcmp(c->weights, "live") == 0  ? ", live weights"
           : strcmp(c->weights, "ema") == 0 ? ", averaged weights"
                                            : "";
}

/* "6", "4-8", "float" */
static const char *bits_text(const contents_component *c, char text[16]) {
    if (c->grids == 0)
        snprintf(text, 16, "float");
    else if (c->least_bits == c->most_bits)
        snprintf(text, 16, "%d", c->most_bits);
    else
        snprintf(text, 16, "%d-%d", c->least_bits, c->most_bits);
    return text;
}

static void print_contents(const inspected *i) {
    const artifact_contents *all = &i->contents;
    char a[32], b[32], bits[16], step[16];
    printf("artifact%s\n  component      tensors        weights   bits   step  bits/weight          bytes\n",
           weights_name(all));
    for (int n = 0; n < COMPONENTS; n++) {
        const contents_component *c = &all->components[n];
        if (c->tensors == 0) continue;
        snprintf(step, sizeof step, c->grids ? "%.3f" : "-", c->step);
        printf("  %-14s %7d %14s %6s %6s %12.3f %14s\n", component_name((component)n), c->tensors,
               grouped(c->elements, a), bits_text(c, bits), step, 8 * (double)c->bytes / (double)c->elements,
               grouped(c->bytes, b));
    }
    printf("  %-45s %12.3f %14s\n", "all", 8 * (double)all->weight_bytes / (double)i->budget_now.total,
           grouped(all->weight_bytes, b));
    printf("  %-58s %14s\n", "tokenizer", grouped(all->tokenizer_bytes, a));
    printf("  %-58s %14s\n", "config and directory", grouped(all->config_bytes, a));
    printf("  %-58s %14s\n", "file", grouped(all->file_bytes, a));
}

static void print_size(const inspected *i) {
    char a[32], b[32], c[32], d[32];
    if (i->contents.file_bytes > 0) print_contents(i);
    if (!i->has_run) return;
    int64_t weights = (int64_t)i->estimate.total;
    printf("artifact, estimated\n  %s bytes of weights: %.2f bits a weight on the %d-bit grid, %.2f for embeddings\n",
           grouped(weights, a), i->bits, i->run.pack.bits, i->embed_bits);
    if (i->run.pack.prune_fraction > 0)
        printf("  %.0f %% of the weights in blocks pruned, which the sum takes into account\n",
               100 * i->run.pack.prune_fraction);
    if (i->tokenizer_bytes >= 0)
        printf("  %s bytes of tokenizer, %s in all", grouped(i->tokenizer_bytes, b),
               grouped(weights + i->tokenizer_bytes, c));
    else
        printf("  and a tokenizer, which is not there yet");
    if (i->run.pack.budget_bytes > 0)
        printf("; budget %s%s", grouped(i->run.pack.budget_bytes, d),
               weights + (i->tokenizer_bytes > 0 ? i->tokenizer_bytes : 0) > i->run.pack.budget_bytes
                   ? ": too large without `moec pack --budget`"
                   : "");
    putchar('\n');
}

void inspect_print(const inspected *i) {
    const model_config *c = &i->now;
    char a[32], b[32];
    printf("%s: %s\n", i->checkpoint ? i->checkpoint : i->path, i->kind);
    printf("  %d layers of %d channels, %d query and %d key/value heads, MLP %d, vocabulary %d, context %lld\n",
           c->num_layers, c->model_dim, c->attention.heads, c->attention.kv_heads, model_config_hidden(c),
           c->vocab_size, (long long)i->context);
    if (i->checkpoint) printf("  after %s steps, %s tokens\n", grouped(i->step, a), grouped(i->tokens, b));
    putchar('\n');
    print_budget(i);
    puts("forward path");
    print_path("now", &i->now);
    if (changes(i)) print_path("after", &i->after);
    printf("  %.4f GFLOP a token", i->gflop_now);
    if (changes(i)) printf(" now, %.4f after the events", i->gflop_after);
    puts("\n");
    if (i->has_run && i->run.events.count > 0) {
        puts("events");
        for (int e = 0; e < i->run.events.count; e++) print_event(&i->run.events.items[e], c);
        putchar('\n');
    }
    print_size(i);
}

/* ---- JSON ---- */

static cJSON *path_json(const model_config *c) {
    forward_path path = model_path(c);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "encoder", cJSON_CreateIntArray(path.layer, path.encoder));
    cJSON_AddItemToObject(json, "decoder", cJSON_CreateIntArray(path.layer + path.encoder, path.length - path.encoder));
    return json;
}

/* One of the two states of the model: its config, what it counts, how it runs. */
static cJSON *state_json(const model_config *c, const model_budget *budget, double gflop) {
    cJSON *json = cJSON_CreateObject(), *parts = cJSON_AddObjectToObject(json, "parameters");
    for (int n = 0; n < COMPONENTS; n++)
        cJSON_AddNumberToObject(parts, component_name((component)n), (double)budget->of[n]);
    cJSON_AddNumberToObject(json, "total", (double)budget->total);
    cJSON_AddNumberToObject(json, "active", (double)budget->active);
    cJSON_AddItemToObject(json, "forward_path", path_json(c));
    cJSON_AddNumberToObject(json, "gflop_per_token", gflop);
    cJSON_AddItemToObject(json, "model", model_config_to_json(c));
    return json;
}

static cJSON *event_json(const event *e) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "do", event_kind_name(e->kind));
    cJSON_AddNumberToObject(json, e->below_lr > 0 ? "below_lr" : "at", e->below_lr > 0 ? e->below_lr : e->at);
    if (e->kind == EVENT_QAT) cJSON_AddNumberToObject(json, "bits", e->bits);
    if (e->kind != EVENT_UPCYCLE) return json;
    cJSON *layers = cJSON_AddArrayToObject(json, "layers");
    for (int n = 0; n < MODEL_MAX_LAYERS; n++)
        if (e->layers[n]) cJSON_AddItemToArray(layers, cJSON_CreateNumber(n));
    cJSON_AddNumberToObject(json, "experts", e->experts);
    cJSON_AddNumberToObject(json, "top_k", e->top_k);
    return json;
}

static void add_estimate(cJSON *json, const inspected *i) {
    cJSON *estimate = cJSON_AddObjectToObject(json, "estimate"), *parts = cJSON_CreateObject();
    for (int n = 0; n < COMPONENTS; n++)
        cJSON_AddNumberToObject(parts, component_name((component)n), (double)(int64_t)i->estimate.bytes[n]);
    cJSON_AddItemToObject(estimate, "weight_bytes_by_component", parts);
    cJSON_AddNumberToObject(estimate, "weight_bytes", (double)(int64_t)i->estimate.total);
    cJSON_AddNumberToObject(estimate, "prune_fraction", i->run.pack.prune_fraction);
    cJSON_AddNumberToObject(estimate, "bits_per_weight", i->bits); /* before pruning */
    cJSON_AddNumberToObject(estimate, "embed_bits_per_weight", i->embed_bits);
    if (i->tokenizer_bytes >= 0)
        cJSON_AddNumberToObject(estimate, "tokenizer_bytes", (double)i->tokenizer_bytes);
    else
        cJSON_AddNullToObject(estimate, "tokenizer_bytes");
    cJSON_AddNumberToObject(estimate, "budget_bytes", (double)i->run.pack.budget_bytes);
}

static void add_contents(cJSON *json, const artifact_contents *all) {
    cJSON_AddNumberToObject(json, "artifact_bytes", (double)all->file_bytes);
    cJSON_AddNumberToObject(json, "weight_bytes", (double)all->weight_bytes);
    cJSON_AddNumberToObject(json, "tokenizer_bytes", (double)all->tokenizer_bytes);
    cJSON_AddNumberToObject(json, "config_bytes", (double)all->config_bytes);
    cJSON_AddItemToObject(json, "weights", all->weights[0] ? cJSON_CreateString(all->weights) : cJSON_CreateNull());
    cJSON *parts = cJSON_AddObjectToObject(json, "components");
    for (int n = 0; n < COMPONENTS; n++) {
        const contents_component *c = &all->components[n];
        if (c->tensors == 0) continue;
        cJSON *part = cJSON_AddObjectToObject(parts, component_name((component)n));
        cJSON_AddNumberToObject(part, "tensors", c->tensors);
        cJSON_AddNumberToObject(part, "weights", (double)c->elements);
        cJSON_AddNumberToObject(part, "bytes", (double)c->bytes);
        cJSON_AddNumberToObject(part, "grid_weights", (double)c->grid_elements);
        if (c->grids == 0) continue;
        cJSON_AddNumberToObject(part, "least_bits", c->least_bits);
        cJSON_AddNumberToObject(part, "most_bits", c->most_bits);
        cJSON_AddNumberToObject(part, "step", c->step);
    }
}

void inspect_print_json(const inspected *i) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "path", i->checkpoint ? i->checkpoint : i->path);
    cJSON_AddStringToObject(json, "kind", i->kind);
    cJSON_AddNumberToObject(json, "context", (double)i->context);
    if (i->checkpoint) {
        cJSON_AddNumberToObject(json, "step", (double)i->step);
        cJSON_AddNumberToObject(json, "tokens", (double)i->tokens);
    }
    cJSON_AddItemToObject(json, "now", state_json(&i->now, &i->budget_now, i->gflop_now));
    cJSON_AddItemToObject(json, "after_events", state_json(&i->after, &i->budget_after, i->gflop_after));
    if (i->has_run) {
        cJSON *events = cJSON_AddArrayToObject(json, "events");
        for (int e = 0; e < i->run.events.count; e++) cJSON_AddItemToArray(events, event_json(&i->run.events.items[e]));
        add_estimate(json, i);
    } else {
        add_contents(json, &i->contents);
    }
    cli_print_json(json);
}
