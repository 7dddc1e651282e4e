#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/temporary.h"
#include "cli/cli.h"
#include "formats/gguf_tokenizer.h"
#include "formats/gguf_write.h"
#include "formats/hf_write.h"
#include "nn/expert_names.h"
#include "store/source.h"
#include "surgery/kept_experts.h"
#include "surgery/side_by_side.h"
#include "text/tokenizer_export.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec export MODEL -o OUT --to FORMAT [options]\n"
    "\n"
    "Writes a model in other people's formats, exactly or not at all: what the format cannot hold is named. What it "
    "always\n"
    "has and the model has not is added so that nothing changes (weights of norms, biases of 0, the gate of a shared\n"
    "expert). MODEL is whatever moec opens; tokenizer and chat template go along.\n"
    "\n"
    "  --to FORMAT     a folder for transformers: llama, mistral, mixtral, qwen2, qwen3, qwen2-moe or qwen3-moe;\n"
    "                  a file for llama.cpp: gguf\n"
    "  --family NAME   with gguf: as which of these (by default the one that fits)\n"
    "  --type T        f32, f16, bf16, or with gguf q8_0 (f32)\n"
    "  --expert NAME   of a mixture: this expert alone (by name or number) and what all experts share, as a dense "
    "model that\n"
    "                  computes what `moec generate --expert NAME` runs; NAME,NAME: a mixture of these\n"
    "  --no-tokenizer  the weights alone, where the format cannot hold the tokenizer\n"
    "  --live, --ema   of a run: the live weights, the averaged ones, whatever the training found\n"
    "\n"
    "examples:\n"
    "  moec export smol-moe -o smol-moe.gguf --to gguf --type q8_0\n"
    "  moec export smol-moe -o smol-2 --to llama --expert 2\n";

typedef struct request {
    const char *path, *out, *which;
    bool gguf, without_tokenizer;
    const family *family;
    storage type;
    const char *experts; /* --expert; NULL: the whole model */
} request;

/* What is written: the model's own weights, or what is made of them. */
typedef struct cut {
    const weight_source *weights;
    bool chosen[MODEL_MAX_EXPERTS];
    kept_experts kept;
    side_by_side dense;
} cut;

static status parse(request *q, int argc, char **argv) {
    const char *to = cli_option(&argc, argv, "--to"), *family = cli_option(&argc, argv, "--family");
    const char *type = cli_option(&argc, argv, "--type");
    char list[256];
    *q = (request){.out = cli_option(&argc, argv, "-o"), .type = STORAGE_F32};
    q->experts = cli_option(&argc, argv, "--expert");
    q->without_tokenizer = cli_flag(&argc, argv, "--no-tokenizer");
    TRY(cli_weights(&argc, argv, &q->which));
    TRY(cli_rest(argc, argv, 1, 1, "moec export MODEL -o OUT --to FORMAT"));
    q->path = argv[1];
    if (!to) return fail_usage("--to: expected gguf or one of %s, found none", family_list(list, sizeof list));
    if (!q->out || !*q->out) return fail_usage("export: expected -o OUT, where the model goes, found none");
    q->gguf = strcmp(to, "gguf") == 0;
    if (!q->gguf && family) return fail_usage("--family: has no meaning but with --to gguf");
    const char *name = q->gguf ? family : to;
    q->family = name ? family_of_type(name) : NULL;
    if (name && !q->family)
        return fail_usage("%s: expected %sone of %s, found %s", q->gguf ? "--family" : "--to",
                          q->gguf ? "" : "gguf or ", family_list(list, sizeof list), name);
    if (type && (!storage_find(type, &q->type) || !storage_can_write(q->type) || (!q->gguf && q->type == STORAGE_Q8_0)))
        return fail_usage("--type: expected f32, f16 or bf16%s, found %s", q->gguf ? ", or q8_0" : "", type);
    if (path_exists(q->out)) return fail_usage("%s: something is there already; expected a new path for -o", q->out);
    return STATUS_OK;
}

static const tokenizer *tokenizer_of(const request *q, const model_source *s) {
    return q->without_tokenizer ? NULL : model_source_tokenizer(s);
}

static status write_gguf(const request *q, const model_source *s, const weight_source *weights) {
    gguf_builder metadata = {0};
    char *plain = path_plain(q->path);
    const gguf_write_options o = {
        .family = q->family, .type = q->type, .context_tokens = model_source_context(s), .name = path_last(plain)};
    const tokenizer *tok = tokenizer_of(q, s);
    const int vocab_size = weights->config.vocab_size;
    status result = tok ? fail_in(gguf_add_tokenizer(&metadata, tok, vocab_size), "%s", q->path) : STATUS_OK;
    if (result == STATUS_OK) result = gguf_write(q->out, weights, &metadata, &o);
    gguf_builder_free(&metadata);
    free(plain);
    return result;
}

/* The folder appears when everything in it is on the disk. */
static status write_folder(const request *q, const model_source *s, const weight_source *weights) {
    const tokenizer *tok = tokenizer_of(q, s);
    int bos = -1, eos = -1;
    if (tok) tokenizer_export_ids(tok, &bos, &eos);
    const hf_write_options o = {
        .family = q->family, .type = q->type, .context_tokens = model_source_context(s), .bos = bos, .eos = eos};
    temporary_folder t;
    status result = temporary_folder_begin(&t, q->out);
    if (result == STATUS_OK) result = hf_write(t.path, weights, &o);
    if (result == STATUS_OK && tok) result = fail_in(tokenizer_export_folder(tok, t.path), "%s", q->path);
    if (result == STATUS_OK) result = temporary_folder_commit(&t);
    temporary_folder_end(&t);
    return result;
}

/* ---- some experts alone ---- */

static status cut_out(cut *c, const request *q, const weight_source *from) {
    c->weights = from;
    if (!q->experts) return STATUS_OK;
    if (!model_config_has_moe(&from->config))
        return fail("%s: --expert: expected a model with experts, found a dense one", q->path);
    TRY(experts_read(&from->config.moe, "--expert", q->experts, c->chosen));
    TRY(fail_in(keep_experts(&c->kept, from, c->chosen), "%s", q->path));
    c->weights = &c->kept.weights;
    if (c->kept.count > 1) return STATUS_OK;
    TRY(fail_in(place_side_by_side(&c->dense, &c->kept.weights), "%s", q->path));
    c->weights = &c->dense.weights;
    return STATUS_OK;
}

static void print_cut(const cut *c) {
    if (c->weights == &c->kept.weights || c->weights == &c->dense.weights) {
        const moe_config *whole = &c->kept.from->config.moe;
        char list[256];
        printf("  experts       %s of the mixture's %d\n", expert_list(whole, c->chosen, list, sizeof list),
               whole->experts);
    }
    if (c->weights != &c->dense.weights) return;
    printf("  MLPs          of %lld hidden units: the expert beside what all experts share\n",
           (long long)c->dense.hidden);
    if (c->dense.padded > 0)
        printf("  padded        the MLPs of %d layer%s, from %lld units, with units of zero: one width for all\n",
               c->dense.padded, c->dense.padded > 1 ? "s" : "", (long long)c->dense.least_hidden);
}

static status write_out(request *q, const model_source *s) {
    cut c = {0};
    TRY(cut_out(&c, q, model_source_weights(s)));
    if (!q->family) q->family = family_for(&c.weights->config);
    TRY(q->gguf ? write_gguf(q, s, c.weights) : write_folder(q, s, c.weights));
    printf("%s (%s) -> %s: %s as %s\n", q->path, model_source_kind(s), q->out,
           q->gguf ? q->family->gguf : q->family->architecture, storage_name(q->type));
    print_cut(&c);
    return STATUS_OK;
}

static status run(int argc, char **argv) {
    request q;
    model_source *s;
    TRY(parse(&q, argc, argv));
    TRY(model_source_open(&s, q.path, q.which));
    interrupt_catch();
    const status result = write_out(&q, s);
    model_source_close(s);
    return result;
}

const command command_export = {
    .name = "export", .summary = "write a model for transformers or llama.cpp", .help = help, .run = run};
