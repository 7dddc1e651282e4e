#include "train/init.h"
#include "base/memory.h"
#include "config/compare.h"
#include "nn/config_fields.h"
#include "store/source.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char which[] = "chosen"; /* as packing and generating take them */

/* ---- the architecture ---- */

static const config_part model_part = {&model_section, 0};
static const config_schema model_schema = {&model_part, 1};

static status check_keys(const model_source *s, const key_given *given, const model_config *config) {
    config_differences d = config_compare(&model_schema, &model_source_weights(s)->config, config);
    for (int i = 0; i < d.count; i++) {
        config_difference *x = &d.items[i];
        x->harmless = given[x->index] == KEY_OVERRIDDEN || model_section.fields[x->index].change == CHANGE_TRAINING;
    }
    char *others = config_differences_text(&d, false);
    const status result = *others ? fail_usage("init: %s is not the model that the configuration describes (there -> "
                                               "here): %s; leave these keys out, or "
                                               "give those that are to change as overrides",
                                               model_source_path(s), others)
                                  : STATUS_OK;
    free(others);
    config_differences_free(&d);
    return result;
}

status init_model_config(const char *path, const key_given *given, model_config *config) {
    model_source *s;
    TRY(fail_in(model_source_open(&s, path, which), "init"));
    for (int i = 0; i < model_section.count; i++)
        if (given[i] == KEY_NOT_GIVEN) field_copy(&model_section.fields[i], &model_source_weights(s)->config, config);
    const status result = check_keys(s, given, config);
    model_source_close(s);
    return result;
}

/* ---- does everything fit ---- */

static const param_spec *find(const param_spec *specs, int count, const param_spec *like) {
    for (int i = 0; i < count; i++)
        if (specs[i].role == like->role && specs[i].layer == like->layer && specs[i].expert == like->expert)
            return &specs[i];
    return NULL;
}

static bool same_shape(const param_spec *a, const param_spec *b) {
    return a->ndim == b->ndim && memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) == 0;
}

static const char *shape_of(const param_spec *spec, char text[64]) {
    return shape_text(text, 64, spec->ndim, spec->shape);
}

/* What is wrong with one tensor; NULL: nothing. A new string. */
static char *misfit(const param_spec *wanted, const param_spec *found) {
    char name[PARAM_NAME_BYTES], a[64], b[64];
    param_spec_name(wanted ? wanted : found, name);
    if (!found) return xasprintf("it has no %s %s, which the model has", name, shape_of(wanted, a));
    if (!wanted) return xasprintf("it has %s %s, which the model has not", name, shape_of(found, a));
    if (same_shape(wanted, found)) return NULL;
    return xasprintf("%s is %s there, but %s in the model", name, shape_of(found, a), shape_of(wanted, b));
}

typedef struct misfits {
    char *first; /* what is wrong with the first one */
    int more;
} misfits;

static void note(misfits *m, char *what) {
    if (what && m->first) {
        m->more++;
        free(what);
    } else if (what) {
        m->first = what;
    }
}

/* Why: "model_dim 32 -> 64 does not fit: tok_emb.weight is …". */
static status misfit_fail(const char *path, const char *changed, misfits *m) {
    status s = STATUS_OK;
    char *others = m->more ? xasprintf(" (and %d more tensors differ)", m->more) : xstrdup("");
    if (m->first)
        s = fail_usage("init: %s: %s%s%s%s", path, changed, *changed ? " does not fit: " : "", m->first, others);
    free(others);
    free(m->first);
    return s;
}

static status check_shapes(const char *path, const model_config *has, const model_config *wants, const char *changed) {
    int has_count, wants_count;
    param_spec *there = stored_specs(has, &has_count), *here = stored_specs(wants, &wants_count);
    misfits m = {0};
    for (int i = 0; i < wants_count; i++) note(&m, misfit(&here[i], find(there, has_count, &here[i])));
    for (int i = 0; i < has_count; i++)
        if (!find(here, wants_count, &there[i])) note(&m, misfit(NULL, &there[i]));
    free(there);
    free(here);
    return misfit_fail(path, changed, &m);
}

/* Frozen random weights are in no file: they come from their seed. */
static status check_seed(const char *path, const model_config *has, const model_config *wants) {
    bool random = false;
    for (int i = 0; i < wants->num_layers; i++) random |= wants->random_up.layers[i];
    if (!random || has->random_up.seed == wants->random_up.seed) return STATUS_OK;
    return fail_usage("random_up_seed: expected %lld, as init %s has it, found %lld", (long long)has->random_up.seed,
                      path, (long long)wants->random_up.seed);
}

/* ---- is it the tokenizer of the data ---- */

bool init_same_tokens(const tokenizer *a, const tokenizer *b) {
    if (tokenizer_vocab_size(a) != tokenizer_vocab_size(b)) return false;
    for (int32_t id = 0; id < tokenizer_vocab_size(a); id++)
        if (strcmp(tokenizer_piece(a, id), tokenizer_piece(b, id)) != 0 ||
            tokenizer_is_boundary(a, id) != tokenizer_is_boundary(b, id))
            return false;
    return true;
}

static status check_tokenizer(const model_source *s, const tokenizer *tok, bool *known) {
    const tokenizer *its = model_source_tokenizer(s);
    *known = its != NULL;
    return !its || init_same_tokens(its, tok)
               ? STATUS_OK
               : fail_usage("init: %s has another tokenizer than the data: make them with its own, `moec data "
                            "--tokenizer FILE`; a checkpoint has it as tokenizer.model",
                            model_source_path(s));
}

/* ---- taking the weights ---- */

static char *changed_text(const model_config *has, const model_config *wants) {
    config_differences d = config_compare(&model_schema, has, wants);
    char *text = config_differences_text(&d, false);
    config_differences_free(&d);
    return text;
}

static status take_weights(const model_source *s, model *m, const tokenizer *tok, init_report *report) {
    const weight_source *w = model_source_weights(s);
    const char *path = model_source_path(s);
    TRY(check_shapes(path, &w->config, &m->config, report->changed));
    TRY(check_seed(path, &w->config, &m->config));
    TRY(check_tokenizer(s, tok, &report->tokenizer));
    TRY(weight_source_fill(w, m));
    return model_refresh(m);
}

void init_report_free(init_report *r) {
    free(r->note);
    free(r->changed);
    *r = (init_report){0};
}

status init_weights(const char *path, model *m, const tokenizer *tok, init_report *report) {
    model_source *s;
    TRY(fail_in(model_source_open(&s, path, which), "init"));
    const char *note = model_source_note(s);
    *report = (init_report){.kind = model_source_kind(s),
                            .note = note ? xstrdup(note) : NULL,
                            .changed = changed_text(&model_source_weights(s)->config, &m->config),
                            .context = model_source_context(s)};
    const status result = take_weights(s, m, tok, report);
    model_source_close(s);
    if (result != STATUS_OK) init_report_free(report);
    return result;
}
