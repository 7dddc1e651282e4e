#include "cli/run_form.h"

#include "cli/cli.h"
#include "store/open.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static status read_cache(const char *wanted, run_form *f) {
    f->cache = CACHE_ACT;
    f->float_cache = wanted && strcmp(wanted, "f32") == 0;
    if (!wanted || f->float_cache) return STATUS_OK;
    f->cache = strcmp(wanted, "int8") == 0 ? CACHE_INT8 : CACHE_BF16;
    if (f->cache == CACHE_INT8 || strcmp(wanted, "bf16") == 0) return STATUS_OK;
    return fail_usage("--cache: expected f32, bf16 or int8, found `%.60s`", wanted);
}

static status read_layout(const char *wanted, layout_wish *wish) {
    *wish = (layout_wish){.kind = LAYOUT_AUTO};
    if (!wanted || strcmp(wanted, "auto") == 0) return STATUS_OK;
    wish->kind = strcmp(wanted, "off") == 0 ? LAYOUT_OFF : LAYOUT_ON;
    if (wish->kind == LAYOUT_ON && strcmp(wanted, "on") != 0) wish->folder = wanted;
    return *wanted ? STATUS_OK : fail_usage("--layout: expected auto, on, off or a folder, found an empty one");
}

status run_form_parse(int *argc, char **argv, run_form *f) {
    *f = (run_form){.use = MODEL_RUN_STORED};
    TRY(cli_run_bits(argc, argv, &f->use));
    TRY(read_cache(cli_option(argc, argv, "--cache"), f));
    TRY(read_layout(cli_option(argc, argv, "--layout"), &f->layout));
    f->device = cli_option(argc, argv, "--device");
    f->dtype = cli_option(argc, argv, "--dtype");
    return STATUS_OK;
}

status run_form_parse_hot(int *argc, char **argv, run_form *f) {
    const char *wanted = cli_option(argc, argv, "--hot-experts");
    long long most = AUTO_EXPERTS;
    if (!wanted) return STATUS_OK;
    if (strcmp(wanted, "auto") != 0) TRY(cli_integer("--hot-experts", wanted, 1, MODEL_MAX_EXPERTS, &most));
    f->hot_experts = (int)most;
    return STATUS_OK;
}

static status load_hot(const run_form *f, const char *path, const kernels *k, const char *which, model **m,
                       tokenizer **tok, int *context_tokens) {
    model_config c;
    int most = f->hot_experts;
    TRY(open_model_config(path, &c));
    if (!model_config_has_moe(&c))
        return fail("%s: --hot-experts: expected a model with experts, found a dense one", path);
    if (most == AUTO_EXPERTS) most = 2 * model_config_active_experts(&c);
    if (most > c.moe.experts) most = c.moe.experts;
    TRY(fail_in(open_model_hot(path, k, which, f->use, most, m, tok, context_tokens), "--hot-experts"));
    fprintf(stderr, "of the %d experts of a layer at most %d are in memory\n", c.moe.experts, most);
    return STATUS_OK;
}

static status load_whole(const run_form *f, const char *path, const kernels *k, const char *which, model **m,
                         tokenizer **tok, int *context_tokens) {
    char *note;
    const status s = open_model_laid_out(path, k, which, f->use, &f->layout, m, tok, context_tokens, &note);
    if (note) fprintf(stderr, "%s\n", note);
    free(note);
    return s;
}

status run_form_load(const run_form *f, const char *path, const kernels *k, const char *which, model **m,
                     tokenizer **tok, int *context_tokens) {
    TRY(f->hot_experts ? load_hot(f, path, k, which, m, tok, context_tokens)
                       : load_whole(f, path, k, which, m, tok, context_tokens));
    (*m)->cache = f->cache;
    return STATUS_OK;
}

/* A token at a time waits for the weights: floats are halved by bf16, however fast its products are; beside codes
 * activations weigh little and stay exact. */
status run_form_open(const run_form *f, const char *model, const kernels **k) {
    const char *dtype = f->dtype;
    const int weights = f->use & ~MODEL_RUN_INPUTS_8;
    bool codes = weights == MODEL_RUN_8 || weights == MODEL_RUN_4;
    if (!dtype && weights == MODEL_RUN_STORED) TRY(open_stores_codes(model, &codes));
    if (!dtype) dtype = codes ? "f32" : "smallest";
    TRY(device_open(f->device ? f->device : "cpu", dtype, k));
    if (!f->float_cache || (*k)->act == DTYPE_F32) return STATUS_OK;
    return fail_usage(
        "--cache f32: expected --dtype f32 beside it, found activations of bf16, which it would not make better");
}
