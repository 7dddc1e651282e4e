#include "train/distill.h"
#include "base/memory.h"
#include "train/init.h"
#include <stdlib.h>
#include <string.h>

/* ---- the model of the hidden states ---- */

static status check_fits(const hidden_teacher *t, const model_config *student, const tokenizer *tok) {
    const char *path = model_source_path(t->source);
    const tokenizer *its = model_source_tokenizer(t->source);
    TRY(fail_in(model_teacher_fits(student, &model_source_weights(t->source)->config), "teacher_model: %s", path));
    if (!its) return fail_usage("teacher_model: %s has no tokenizer that could be compared with the data's", path);
    return init_same_tokens(its, tok)
               ? STATUS_OK
               : fail_usage("teacher_model: %s has another tokenizer than the data: both have to be made with one",
                            path);
}

status hidden_teacher_find(hidden_teacher *t, const distill_config *c, const model_config *student,
                           const tokenizer *tok) {
    *t = (hidden_teacher){0};
    if (curve_is_zero(&c->hidden_weight)) return STATUS_OK;
    TRY(fail_in(model_source_open(&t->source, c->teacher_model, "chosen"), "teacher_model"));
    TRY(check_fits(t, student, tok));
    return fail_in(weight_source_fingerprint(model_source_weights(t->source), &t->weights), "teacher_model");
}

const model_config *hidden_teacher_config(const hidden_teacher *t) {
    return t->source ? &model_source_weights(t->source)->config : t->m ? &t->m->config : NULL;
}

status hidden_teacher_load(hidden_teacher *t, const kernels *k) {
    if (!t->source) return STATUS_OK;
    const weight_source *weights = model_source_weights(t->source);
    TRY(fail_in(model_create(&t->m, &weights->config, k, MODEL_RUN), "teacher_model: %s",
                model_source_path(t->source)));
    TRY(weight_source_fill(weights, t->m));
    TRY(model_refresh(t->m));
    model_source_close(t->source);
    t->source = NULL;
    return pass_create(&t->p, t->m);
}

void hidden_teacher_close(hidden_teacher *t) {
    pass_destroy(t->p);
    if (t->m) model_destroy(t->m);
    model_source_close(t->source);
    *t = (hidden_teacher){0};
}

/* ---- a step ---- */

bool distill_needs_cache(const distill_config *c) {
    return !curve_is_zero(&c->teacher_weight);
}

/* No layer named: what the final norm gets. */
static void choose_layers(bool layers[MODEL_MAX_LAYERS + 1], const distill_config *c, int num_layers) {
    bool any = false;
    for (int i = 0; i <= num_layers; i++) any |= layers[i] = c->hidden_layers[i];
    if (!any) layers[num_layers] = true;
}

distill_args distill_at(const distill_config *c, int num_layers, const hidden_teacher *t, double fraction) {
    distill_args a = {.ce_weight = (float)curve_value(&c->ce_weight, fraction),
                      .teacher_weight = (float)curve_value(&c->teacher_weight, fraction),
                      .temperature = (float)c->temperature,
                      .reverse = c->divergence == DIVERGENCE_REVERSE,
                      .hidden_weight = (float)curve_value(&c->hidden_weight, fraction),
                      .teacher = t ? t->p : NULL};
    choose_layers(a.layers, c, num_layers);
    return a;
}

/* ---- saying it ---- */

static char *describe_cache(const distill_config *c) {
    char *weight = curve_text(&c->teacher_weight);
    char *text = xasprintf("%s: weight %s, temperature %g, %s", c->teacher, weight, c->temperature,
                           c->divergence == DIVERGENCE_REVERSE ? "reverse" : "forward");
    free(weight);
    return text;
}

static char *describe_model(const distill_config *c) {
    char *weight = curve_text(&c->hidden_weight),
         *text = xasprintf("hidden states of %s: weight %s", c->teacher_model, weight);
    free(weight);
    return text;
}

char *distill_describe(const distill_config *c) {
    const bool model = !curve_is_zero(&c->hidden_weight), cache = distill_needs_cache(c);
    if (!model && !cache)
        return c->teacher ? xasprintf("%s, whose teacher_weight is 0: it is not asked", c->teacher) : NULL;
    char *of_cache = cache ? describe_cache(c) : xstrdup(""), *of_model = model ? describe_model(c) : xstrdup("");
    char *ce = curve_text(&c->ce_weight);
    char *text = xasprintf("%s%s%s; the text's weight %s", of_cache, cache && model ? "; " : "", of_model, ce);
    free(of_cache);
    free(of_model);
    free(ce);
    return text;
}
