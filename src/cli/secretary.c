#include "cli/secretary.h"

#include "base/memory.h"
#include "base/progress.h"
#include "base/text_stream.h"
#include "cli/cli.h"
#include "eval/secretary.h"
#include "nn/expert_names.h"
#include "nn/streamed.h"
#include "store/open.h"
#include "store/source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 2048 /* tokens of a sequence that the routers are asked about: its memory grows with it */ };

/* ---- what is asked for ---- */

status expert_wish_parse(int *argc, char **argv, expert_wish *w) {
    *w = (expert_wish){.only = cli_option(argc, argv, "--expert"), .omit = cli_option(argc, argv, "--omit")};
    w->secretary = cli_flag(argc, argv, "--secretary");
    w->layers = cli_option(argc, argv, "--layers");
    if (w->only && w->omit) return fail_usage("--expert and --omit exclude each other");
    if (w->only && w->secretary) return fail_usage("--expert and --secretary exclude each other");
    if (w->layers && !w->secretary) return fail_usage("--layers: expected --secretary beside it, found none");
    return STATUS_OK;
}

status secretary_layers(const model_config *c, const char *list, bool *layers) {
    for (const char *at = list;; at++) {
        const size_t bytes = strcspn(at, ",");
        char *number = xasprintf("%.*s", (int)bytes, at);
        const bool found = set_add(layers, c->num_layers, number);
        status s = STATUS_OK;
        if (!found)
            s = fail_usage("--layers: expected numbers of layers from 0 to %d, such as 4,5, found `%.60s`",
                           c->num_layers - 1, number);
        free(number);
        TRY(s);
        at += bytes;
        if (!*at) return STATUS_OK;
    }
}

/* ---- asking ---- */

typedef struct asking {
    progress shown;
    int layers;
} asking;

static void show_layer(void *context, int layer, int pass, const void *x, int64_t N) {
    asking *a = context;
    (void)pass;
    (void)x;
    (void)N;
    progress_show(&a->shown, (double)layer / a->layers, "layers");
}

/* Layer after layer, where layers can come and go. */
static status create_model(model **m, const weight_source *w, const kernels *k) {
    bool random_up = false;
    for (int i = 0; i < w->config.num_layers; i++) random_up |= w->config.random_up.layers[i];
    if (!random_up) return model_create_streamed(m, w, k);
    TRY(model_create(m, &w->config, k, MODEL_RUN));
    const status s = weight_source_fill(w, *m);
    if (s != STATUS_OK) model_destroy(*m);
    return s;
}

static status run_once(const model_source *source, const expert_question *q, const bool *layers, const int32_t *ids,
                       int64_t count, double *probabilities) {
    const weight_source *w = model_source_weights(source);
    const int context = model_source_context(source);
    asking a = {.shown = progress_start("secretary"), .layers = w->config.num_layers};
    pass *p = NULL;
    model *m;
    TRY(create_model(&m, w, q->k));
    status s = pass_create(&p, m);
    if (s == STATUS_OK) {
        pass_watch_stream(p, show_layer, &a);
        s = secretary_ask(p, layers, ids, count, context < LONGEST ? context : LONGEST, probabilities);
    }
    progress_clear(&a.shown);
    pass_destroy(p);
    model_destroy(m);
    return s;
}

static status ask_source(const model_source *source, const expert_question *q, const bool *layers,
                         double *probabilities) {
    const tokenizer *tok = model_source_tokenizer(source);
    int32_t *ids;
    size_t count;
    if (!tok) return fail("%s: expected a model with a tokenizer, found none", q->path);
    TRY(tokenizer_encode_text(tok, q->text->text, q->text->bytes, &ids, &count));
    const size_t left_out = q->context > 0 && count > (size_t)q->context ? count - (size_t)q->context : 0;
    const status s = run_once(source, q, layers, ids + left_out, (int64_t)(count - left_out), probabilities);
    free(ids);
    return fail_in(s, "--secretary");
}

static status ask(const expert_question *q, const bool *layers, double *probabilities) {
    model_source *source;
    TRY(model_source_open(&source, q->path, q->which));
    const status s = ask_source(source, q, layers, probabilities);
    model_source_close(source);
    memory_trim(); /* what the layers took goes back to the system */
    return s;
}

static status ask_secretary(const expert_wish *w, const expert_question *q, const model_config *c, bool *chosen) {
    bool layers[MODEL_MAX_LAYERS] = {false};
    double *probabilities = xcalloc((size_t)c->moe.experts, sizeof *probabilities);
    char name[EXPERT_NAME_BYTES];
    status s = w->layers ? secretary_layers(c, w->layers, layers) : STATUS_OK;
    if (s == STATUS_OK) s = ask(q, w->layers ? layers : NULL, probabilities);
    if (s == STATUS_OK) {
        char *text = secretary_text(&c->moe, probabilities, 6);
        for (int e = 0; e < c->moe.experts; e++)
            if (!chosen[e]) probabilities[e] = -1;
        const int best = secretary_choice(probabilities, c->moe.experts);
        memset(chosen, 0, (size_t)c->moe.experts * sizeof *chosen);
        chosen[best] = true;
        fprintf(stderr, "the secretary takes %s: %s\n", expert_name(&c->moe, best, name), text);
        free(text);
    }
    free(probabilities);
    return s;
}

status experts_choose(const expert_wish *w, const expert_question *q, model_config *c, bool *chosen) {
    bool omitted[MODEL_MAX_EXPERTS] = {false};
    int left = 0;
    TRY(open_model_config(q->path, c));
    if (!model_config_has_moe(c))
        return fail("%s: --%s: expected a model with experts, found a dense one", q->path,
                    w->only   ? "expert"
                    : w->omit ? "omit"
                              : "secretary");
    if (w->only) return experts_read(&c->moe, "--expert", w->only, chosen);
    if (w->omit) TRY(experts_read(&c->moe, "--omit", w->omit, omitted));
    for (int e = 0; e < c->moe.experts; e++) left += chosen[e] = !omitted[e];
    if (left == 0) return fail_usage("--omit: expected at least one expert that is left, found none");
    return w->secretary ? ask_secretary(w, q, c, chosen) : STATUS_OK;
}

char *secretary_text(const moe_config *c, const double *probabilities, int most) {
    double *left = xmalloc((size_t)c->experts * sizeof *left);
    char name[EXPERT_NAME_BYTES];
    text_stream t;
    FILE *out = text_stream_begin(&t);
    memcpy(left, probabilities, (size_t)c->experts * sizeof *left);
    for (int i = 0; i < c->experts && i < most; i++) {
        const int e = secretary_choice(left, c->experts);
        fprintf(out, "%s%s %.3f", i ? ", " : "", expert_name(c, e, name), probabilities[e]);
        left[e] = -1;
    }
    if (c->experts > most) fprintf(out, ", %d others", c->experts - most);
    free(left);
    return text_stream_end(&t);
}
