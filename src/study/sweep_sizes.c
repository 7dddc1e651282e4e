#include "study/sweep_sizes.h"

#include "base/memory.h"
#include "config/read.h"
#include "study/scaling.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"none", "tokens", "parameters", "active_parameters", NULL};

const char *sweep_size_name(sweep_size of) {
    return names[of];
}

/* ---- reading ---- */

static status read_of(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    sweep_scaling *s = base;
    for (int i = SIZE_TOKENS; names[i] && value->kind == YAML_SCALAR; i++)
        if (strcmp(value->text, names[i]) == 0) s->of = (sweep_size)i;
    return s->of ? STATUS_OK : read_wrong(d, value, f->key, "tokens, parameters or active_parameters");
}

static status read_one(sweep_scaling *s, const yaml_document *d, const yaml_node *node, const config_field *f) {
    char *end = NULL;
    const double times = node->kind == YAML_SCALAR ? strtod(node->text, &end) : 0;
    if (!end || end == node->text || *end || !(times >= 1e-6 && times <= 1e6))
        return read_wrong(d, node, f->key, "numbers from 1e-06 to 1e+06");
    if (s->times_count == SWEEP_MAX_TIMES)
        return yaml_fail(d, node, "%s: expected at most %d", f->key, SWEEP_MAX_TIMES);
    for (int i = 0; i < s->times_count; i++)
        if (s->times[i] == times) return read_wrong(d, node, f->key, "different numbers");
    s->times[s->times_count++] = times;
    return STATUS_OK;
}

static status read_times(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    if (value->kind != YAML_LIST || !value->first)
        return read_wrong(d, value, f->key, "a list of numbers such as [1, 2, 4, 8]");
    for (const yaml_node *item = value->first; item; item = item->next) TRY(read_one(base, d, item, f));
    return STATUS_OK;
}

static const config_field scaling_fields[] = {
    {.key = "of", .type = FIELD_OWN, .read = read_of},
    {.key = "times", .type = FIELD_OWN, .read = read_times},
};
enum { SCALING_KEYS = sizeof scaling_fields / sizeof *scaling_fields };

status sweep_read_scaling(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    sweep_scaling *s = &((sweep *)base)->scaling;
    int lines[SCALING_KEYS] = {0};
    TRY(read_mapping(d, value, "scaling", scaling_fields, SCALING_KEYS, s, lines));
    return s->of ? STATUS_OK : yaml_fail(d, value, "%s: expected of: tokens, found none", f->key);
}

/* ---- the runs that it makes ---- */

static sweep_overrides copy_of(const sweep_overrides *o) {
    sweep_overrides copy = {.count = o->count};
    copy.items = xcalloc((size_t)o->count + 1, sizeof *copy.items);
    for (int i = 0; i < o->count; i++) copy.items[i] = (sweep_override){xstrdup(o->items[i].text), o->items[i].line};
    return copy;
}

static sweep_variant grown(const sweep_variant *v, double times) {
    return (sweep_variant){.name = xasprintf("%s-x%g", v->name, times),
                           .config = xstrdup(v->config),
                           .line = v->line,
                           .overrides = copy_of(&v->overrides),
                           .times = times,
                           .series = xstrdup(v->name)};
}

static status check_expansion(const sweep *s) {
    if (s->scaling.of != SIZE_TOKENS)
        return fail_usage("%s: scaling: times: expected of: tokens with it, found of: %s", s->path,
                          names[s->scaling.of]);
    if (s->variant_count * s->scaling.times_count > SWEEP_MAX_VARIANTS)
        return fail_usage("%s: scaling: expected at most %d runs, found %d of %d sizes", s->path, SWEEP_MAX_VARIANTS,
                          s->variant_count, s->scaling.times_count);
    for (int i = 0; i < s->variant_count; i++)
        if (s->variants[i].times != 1)
            return fail_usage("%s:%d: run %s: times: expected none beside scaling's, found %g", s->path,
                              s->variants[i].line, s->variants[i].name, s->variants[i].times);
    return STATUS_OK;
}

/* Runs of one size beside one another: sizes grow, so that small ones are there first. */
static void expand(sweep *s) {
    sweep list = {.variants = s->variants, .variant_count = s->variant_count};
    s->variants = xcalloc((size_t)(list.variant_count * s->scaling.times_count), sizeof *s->variants);
    s->variant_count = 0;
    for (int t = 0; t < s->scaling.times_count; t++)
        for (int i = 0; i < list.variant_count; i++)
            s->variants[s->variant_count++] = grown(&list.variants[i], s->scaling.times[t]);
    sweep_free(&list);
}

status sweep_check_sizes(const sweep *s, double (*size)(const sweep *s, const sweep_variant *v)) {
    double *sizes = xmalloc((size_t)s->variant_count * sizeof *sizes);
    int count = 0, different = 0;
    for (int i = 0; i < s->variant_count; i++) {
        const sweep_variant *v = &s->variants[i];
        if (v->series && strcmp(v->series, s->variants[0].series) != 0) continue; /* it has the same sizes */
        sizes[count++] = size(s, v);
        different++;
        for (int j = 0; j < count - 1; j++)
            if (sizes[j] == sizes[count - 1]) {
                different--;
                break;
            }
    }
    free(sizes);
    if (different >= SCALING_LEAST_SIZES) return STATUS_OK;
    return fail_usage("%s: scaling: expected runs of at least %d sizes (%s), found %d", s->path, SCALING_LEAST_SIZES,
                      names[s->scaling.of], different);
}

static double steps_of(const sweep *s, const sweep_variant *v) {
    return (double)sweep_steps(s, v);
}

status sweep_expand(sweep *s) {
    for (int i = 0; i < s->variant_count && s->steps == 0; i++)
        if (s->variants[i].times != 1)
            return fail_usage("%s:%d: run %s: times: expected a budget of steps, found max_seconds", s->path,
                              s->variants[i].line, s->variants[i].name);
    if (s->scaling.of == SIZE_TOKENS && s->steps == 0)
        return fail_usage("%s: scaling: expected a budget of steps, found max_seconds", s->path);
    if (s->scaling.times_count == 0) return STATUS_OK;
    TRY(check_expansion(s));
    expand(s);
    return sweep_check_sizes(s, steps_of);
}
