#include "store/pack_recipe.h"

#include "base/file.h"
#include "config/read.h"
#include "nn/roles.h"
#include "quant/prune.h"
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define ROTATION_SEED 1 /* one for all, so that experts stay each other's twins */

typedef struct rule {
    /* which */
    char *component, *name;
    bool layers[MODEL_MAX_LAYERS];
    int64_t up_to;
    /* how */
    char *quantizer;
    double bits, rate;
    bool float16;
    int64_t group;
    bool asymmetric, rotate;
    int rank, rank_bits;
} rule;

#define FIELD(type, key, member, least, most, meaning) CONFIG_FIELD(rule, key, type, member, least, most, NULL, meaning)
enum {
    COMPONENT_KEY,
    NAME_KEY,
    LAYERS_KEY,
    UP_TO_KEY,
    QUANTIZER_KEY,
    BITS_KEY,
    RATE_KEY,
    FLOAT16_KEY,
    GROUP_KEY,
    ASYMMETRIC_KEY,
    ROTATE_KEY,
    RANK_KEY,
    RANK_BITS_KEY,
    KEYS
};
static const config_field fields[KEYS] = {
    FIELD(FIELD_STRING, "component", component, 1, 0,
          "as `moec inspect` calls it: attention, mlp, experts, embedding …"),
    FIELD(FIELD_STRING, "name", name, 1, 0, "a shell pattern of tensors' names"),
    FIELD(FIELD_SET, "layers", layers, 0, MODEL_MAX_LAYERS - 1, "of these layers alone"),
    FIELD(FIELD_INT64, "up_to", up_to, 1, 1e15, "of at most so many weights"),
    FIELD(FIELD_STRING, "quantizer", quantizer, 1, 0, "by its name"),
    FIELD(FIELD_DOUBLE, "bits", bits, RATE_LEAST, RATE_MOST, "a weight, with scales"),
    FIELD(FIELD_DOUBLE, "rate", rate, RATE_LEAST, RATE_MOST, "the quantiser's nominal rate"),
    FIELD(FIELD_BOOL, "float16", float16, 0, 1, "as floats"),
    FIELD(FIELD_INT64, "group", group, 2, 1e9, "columns that share a scale, with round and gptq"),
    FIELD(FIELD_BOOL, "asymmetric", asymmetric, 0, 1, "grids around the mean of a group, with round and gptq"),
    FIELD(FIELD_BOOL, "rotate", rotate, 0, 1, "columns by a randomised Hadamard transform, which is undone at load"),
    FIELD(FIELD_INT, "rank", rank, 0, QUANTIZED_MOST_RANK,
          "of a correction at most, where it is worth its bytes; 0: none"),
    FIELD(FIELD_INT, "rank_bits", rank_bits, 2, 8, "of its factors"),
};

static void rule_free(rule *r) {
    free(r->component);
    free(r->name);
    free(r->quantizer);
}

static bool component_exists(const char *name) {
    for (int c = 0; c < COMPONENTS; c++)
        if (strcmp(name, component_name((component)c)) == 0) return true;
    return false;
}

static bool means(const rule *r, const int *lines, const param *p) {
    const char *part = component_name(role_component((param_role)p->role));
    if (!p->is_matrix || p->derived) return false;
    if (r->component && strcmp(r->component, part) != 0) return false;
    if (r->name && fnmatch(r->name, p->name, 0) != 0) return false;
    if (lines[LAYERS_KEY] && (p->layer < 0 || !r->layers[p->layer])) return false;
    return !lines[UP_TO_KEY] || param_count(p) <= r->up_to;
}

static status check(const rule *r, const int *lines, const yaml_document *d, const yaml_node *item, quantizer *q) {
    const bool which = lines[COMPONENT_KEY] || lines[NAME_KEY] || lines[LAYERS_KEY] || lines[UP_TO_KEY];
    if (!which) return yaml_fail(d, item, "expected one of component, name, layers, up_to, found a rule of no tensor");
    if (r->component && !component_exists(r->component))
        return yaml_fail(d, item, "component: expected one that `moec inspect` shows, found %s", r->component);
    if (r->quantizer && !quantizer_find(r->quantizer, q))
        return yaml_fail(d, item, "quantizer: expected %s, found %s", quantizer_list(), r->quantizer);
    const int ways = (lines[BITS_KEY] > 0) + (lines[RATE_KEY] > 0) + (lines[FLOAT16_KEY] > 0 && r->float16);
    if (ways > 1) return yaml_fail(d, item, "expected one of bits, rate, float16, found %d of them", ways);
    const bool grid =
        lines[GROUP_KEY] || lines[ASYMMETRIC_KEY] || lines[ROTATE_KEY] || lines[RANK_KEY] || lines[RANK_BITS_KEY];
    if (ways + (lines[QUANTIZER_KEY] > 0) + (lines[FLOAT16_KEY] > 0) == 0 && !grid)
        return yaml_fail(
            d, item, "expected bits, rate, quantizer, float16, group, asymmetric, rotate or rank, found none of them");
    return STATUS_OK;
}

static void apply(tensor_plan *t, const rule *r, const int *lines, quantizer q) {
    if (lines[QUANTIZER_KEY]) t->quantizer = q;
    if (lines[FLOAT16_KEY]) t->floats = r->float16;
    if (lines[GROUP_KEY]) t->group = r->group;
    if (lines[ASYMMETRIC_KEY]) t->asymmetric = r->asymmetric;
    if (lines[ROTATE_KEY]) t->rotation = r->rotate ? ROTATION_SEED : 0;
    if (lines[RANK_KEY]) t->most_rank = r->rank;
    if (lines[RANK_BITS_KEY]) t->rank_bits = r->rank_bits;
    if (!lines[BITS_KEY] && !lines[RATE_KEY]) return;
    t->floats = false;
    t->given_bits = r->bits;
    t->given_rate = r->rate;
}

/* What all rules together came to. */
static status check_tensor(const pack_plan *plan, const model *m, int index, const char *path) {
    const tensor_plan *t = &plan->tensors[index];
    const param *p = m->params[index];
    const int64_t cols = tensor_cols(&p->value);
    if (t->floats || !p->is_matrix) return STATUS_OK;
    if ((t->group || t->asymmetric) && !quantizer_has_groups(t->quantizer))
        return fail_usage("%s: %s: expected quantizer round or gptq beside group and asymmetric, found %s", path,
                          p->name, quantizer_name(t->quantizer));
    if (t->group && cols % t->group != 0)
        return fail_usage("%s: %s: expected a group that divides its %lld columns, found %lld", path, p->name,
                          (long long)cols, (long long)t->group);
    if ((t->rotation || t->asymmetric || t->most_rank) && plan->prune_fraction > 0 && prune_concerns(p))
        return fail_usage("%s: %s: expected nothing pruned beside asymmetric, rotate and rank, found prune_fraction %g",
                          path, p->name, plan->prune_fraction);
    return STATUS_OK;
}

static status read_rule(pack_plan *plan, const model *m, const yaml_document *d, const yaml_node *item) {
    rule r = {0};
    int lines[KEYS] = {0}, meant = 0;
    quantizer q = QUANTIZER_ROUND;
    status s = read_mapping(d, item, "a rule", fields, KEYS, &r, lines);
    if (s == STATUS_OK) s = check(&r, lines, d, item, &q);
    for (int i = 0; i < m->param_count && s == STATUS_OK; i++) {
        if (!means(&r, lines, m->params[i])) continue;
        apply(&plan->tensors[i], &r, lines, q);
        meant++;
    }
    if (s == STATUS_OK && meant == 0)
        s = yaml_fail(d, item, "expected a rule that names a matrix of the model, found none");
    rule_free(&r);
    return s;
}

status pack_recipe_apply(pack_plan *plan, const model *m, const char *path, const char *text, size_t bytes) {
    yaml_document d;
    status s = yaml_read(&d, path, true, text, bytes);
    if (s == STATUS_OK && (!d.root || d.root->kind != YAML_LIST || !d.root->first))
        s = fail_usage("%s: expected a list of rules such as [{component: embedding, float16: true}], found none",
                       path);
    if (s == STATUS_OK)
        for (const yaml_node *item = d.root->first; item && s == STATUS_OK; item = item->next)
            s = read_rule(plan, m, &d, item);
    for (int i = 0; i < plan->count && s == STATUS_OK; i++) s = check_tensor(plan, m, i, path);
    yaml_close(&d);
    return s;
}

static status read_recipe(pack_plan *plan, const model *m, const char *path) {
    uint8_t *text;
    size_t bytes;
    TRY(file_read(path, 1 << 18, &text, &bytes));
    const status s = pack_recipe_apply(plan, m, path, (const char *)text, bytes);
    free(text);
    return s;
}

status pack_plan_of(pack_plan *plan, const model *m, const pack_options *o) {
    const pack_allocation *a = &o->allocation;
    *plan = pack_plan_create(m, a->quantizer, o->quant.keep_float_elements);
    plan->sensitivities = a->sensitivities;
    plan->damp = o->quant.damp;
    plan->prune_fraction = o->quant.prune_fraction;
    if (a->low_rank > 0 && plan->prune_fraction > 0)
        return fail_usage("low-rank: expected nothing pruned beside corrections, found prune_fraction %g",
                          plan->prune_fraction);
    for (int i = 0; i < plan->count; i++) plan->tensors[i].most_rank = a->low_rank;
    return a->recipe_path ? read_recipe(plan, m, a->recipe_path) : STATUS_OK;
}
