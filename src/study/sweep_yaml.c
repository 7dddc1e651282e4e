/* YAML → sweep. */
#include "base/memory.h"
#include "base/text_stream.h"
#include "config/load.h"
#include "config/read.h"
#include "study/sweep.h"
#include "study/sweep_sizes.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- seeds, paths, names ---- */

#define MOST_SEED 9007199254740991u /* what JSON keeps exactly */

static bool parse_seed(const yaml_node *node, uint64_t *seed) {
    if (node->kind != YAML_SCALAR || !isdigit((unsigned char)*node->text)) return false;
    char *end;
    errno = 0;
    *seed = strtoull(node->text, &end, 10);
    return !*end && !errno && *seed <= MOST_SEED;
}

static status read_seed(sweep *s, const yaml_document *d, const yaml_node *node, const char *key) {
    uint64_t seed;
    if (!parse_seed(node, &seed)) return read_wrong(d, node, key, "integers from 0 to 2^53 - 1");
    if (s->seed_count == SWEEP_MAX_SEEDS) return yaml_fail(d, node, "%s: expected at most %d", key, SWEEP_MAX_SEEDS);
    for (int i = 0; i < s->seed_count; i++)
        if (s->seeds[i] == seed) return read_wrong(d, node, key, "different integers");
    s->seeds[s->seed_count++] = seed;
    return STATUS_OK;
}

static status read_seeds(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    if (value->kind != YAML_LIST || !value->first)
        return read_wrong(d, value, f->key, "a list of at least one integer such as [1, 2, 3]");
    for (const yaml_node *item = value->first; item; item = item->next) TRY(read_seed(base, d, item, f->key));
    return STATUS_OK;
}

/* A preset's path as it is opened: it starts from the sweep's folder. */
static status read_path(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    if (value->kind != YAML_SCALAR || !*value->text) return read_wrong(d, value, f->key, "the path of a preset");
    const char *slash = strrchr(d->where, '/');
    *(char **)((char *)base + f->offset) = *value->text == '/' || !slash
                                               ? xstrdup(value->text)
                                               : xasprintf("%.*s/%s", (int)(slash - d->where), d->where, value->text);
    return STATUS_OK;
}

/* What else stands in a sweep's folder. */
static bool is_a_file_of_sweeps(const char *name) {
    static const char *const names[] = {"plots", "results.jsonl", "results.md", "scaling.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static status read_name(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *text = value->kind == YAML_SCALAR ? value->text : "";
    if (!isalnum((unsigned char)*text) || strlen(text) > 60 || text[strspn(text, letters)])
        return read_wrong(d, value, f->key, "up to 60 letters, digits, '.', '_' and '-', a letter or digit first");
    if (is_a_file_of_sweeps(text))
        return read_wrong(d, value, f->key,
                          "another name than a sweep's own plots, results.jsonl, results.md and scaling.json");
    ((sweep_variant *)base)->name = xstrdup(text);
    return STATUS_OK;
}

/* ---- overrides ---- */

/* What the sweep itself says for every run. */
static bool is_the_sweeps(const char *key) {
    static const char *const keys[] = {"run", "seed", "steps", "max_seconds"};
    const char *dot = strchr(key, '.');
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(dot ? dot + 1 : key, keys[i]) == 0) return true;
    return false;
}

static status check_override(const yaml_document *d, const sweep_override *o) {
    run_config scratch = run_config_default();
    status s = config_override(&run_schema, &scratch, o->text);
    run_config_free(&scratch);
    return fail_in(s, "%s:%d", d->where, o->line);
}

static status read_override(const yaml_document *d, const yaml_node *key, sweep_overrides *list) {
    if (is_the_sweeps(key->text))
        return yaml_fail(d, key, "%s: is no override: the sweep's seeds and its budget say it", key->text);
    const size_t length = strlen(key->text);
    for (int i = 0; i < list->count; i++)
        if (strncmp(list->items[i].text, key->text, length) == 0 && list->items[i].text[length] == '=')
            return yaml_fail(d, key, "%s is given twice, first on line %d", key->text, list->items[i].line);
    text_stream t;
    FILE *out = text_stream_begin(&t);
    fprintf(out, "%s=", key->text);
    yaml_write_value(out, key->value);
    list->items = xrealloc(list->items, (size_t)(list->count + 1) * sizeof *list->items);
    list->items[list->count] = (sweep_override){.text = text_stream_end(&t), .line = key->line};
    return check_override(d, &list->items[list->count++]);
}

static status read_overrides(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    if (value->kind != YAML_MAPPING) return read_wrong(d, value, f->key, "keys and values such as {mlp_mult: 2}");
    sweep_overrides *list = (sweep_overrides *)((char *)base + f->offset);
    for (const yaml_node *key = value->first; key; key = key->next) TRY(read_override(d, key, list));
    return STATUS_OK;
}

/* ---- runs ---- */

#define OWN(STRUCT, KEY, MEMBER, READ)                                                                                 \
    { .key = KEY, .type = FIELD_OWN, .offset = offsetof(STRUCT, MEMBER), .read = READ }

enum { RUN_NAME, RUN_CONFIG, RUN_OVERRIDES, RUN_TIMES, RUN_KEYS };
static const config_field run_fields[RUN_KEYS] = {
    [RUN_NAME] = OWN(sweep_variant, "name", name, read_name),
    [RUN_CONFIG] = OWN(sweep_variant, "config", config, read_path),
    [RUN_OVERRIDES] = OWN(sweep_variant, "overrides", overrides, read_overrides),
    [RUN_TIMES] = CONFIG_FIELD(sweep_variant, "times", FIELD_DOUBLE, times, 1e-6, 1e6, NULL, NULL),
};

static status read_run(sweep *s, const yaml_document *d, const yaml_node *node) {
    int lines[RUN_KEYS] = {0};
    s->variants = xrealloc(s->variants, (size_t)(s->variant_count + 1) * sizeof *s->variants);
    sweep_variant *v = &s->variants[s->variant_count++];
    *v = (sweep_variant){.line = node->line, .times = 1};
    TRY(read_mapping(d, node, "a run", run_fields, RUN_KEYS, v, lines));
    if (!v->name) return yaml_fail(d, node, "run: expected a name, found none");
    for (const sweep_variant *other = s->variants; other < v; other++)
        if (strcmp(other->name, v->name) == 0)
            return fail_usage("%s:%d: name: expected a name of its own, found %s, which the run on line %d has",
                              d->where, lines[RUN_NAME], v->name, other->line);
    return STATUS_OK;
}

static status read_runs(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    sweep *s = base;
    if (value->kind != YAML_LIST || !value->first) return read_wrong(d, value, f->key, "a list of at least one run");
    for (const yaml_node *item = value->first; item; item = item->next) {
        if (s->variant_count == SWEEP_MAX_VARIANTS)
            return yaml_fail(d, item, "runs: expected at most %d", SWEEP_MAX_VARIANTS);
        TRY(read_run(s, d, item));
    }
    return STATUS_OK;
}

/* ---- the whole ---- */

#define KEY(type, key, least, most) CONFIG_FIELD(sweep, #key, type, key, least, most, NULL, NULL)
static const config_field sweep_fields[] = {
    OWN(sweep, "seeds", seeds, read_seeds),
    KEY(FIELD_INT64, steps, 1, 1e12),
    KEY(FIELD_DOUBLE, max_seconds, 0.001, 1e9),
    KEY(FIELD_INT64, eval_tokens, 0, 1e12),
    KEY(FIELD_BOOL, pack, 0, 0),
    OWN(sweep, "config", config, read_path),
    OWN(sweep, "common", common, read_overrides),
    OWN(sweep, "runs", variants, read_runs),
    OWN(sweep, "scaling", scaling, sweep_read_scaling),
};
enum { SWEEP_KEYS = sizeof sweep_fields / sizeof *sweep_fields };

/* What the keys must be together. */
static status check_whole(const sweep *s) {
    if (s->variant_count == 0) return fail_usage("%s: runs: expected a list of at least one run, found none", s->path);
    if (s->seed_count == 0) return fail_usage("%s: seeds: expected a list such as [1, 2, 3], found none", s->path);
    if ((s->steps > 0) == (s->max_seconds > 0))
        return fail_usage("%s: budget: expected either steps or max_seconds, found %s", s->path,
                          s->steps > 0 ? "both" : "none");
    for (int i = 0; i < s->variant_count; i++)
        if (!s->variants[i].config && !s->config)
            return fail_usage("%s:%d: config: expected the run %s or the sweep to name one, found none", s->path,
                              s->variants[i].line, s->variants[i].name);
    return STATUS_OK;
}

static status read_sweep(sweep *s, const yaml_document *d) {
    int lines[SWEEP_KEYS] = {0};
    if (!d->root || yaml_is_null(d->root))
        return fail_usage("%s: expected a sweep with runs, seeds and a budget, found nothing", d->where);
    TRY(read_mapping(d, d->root, "a sweep", sweep_fields, SWEEP_KEYS, s, lines));
    TRY(check_whole(s));
    for (int i = 0; i < s->variant_count; i++)
        if (!s->variants[i].config) s->variants[i].config = xstrdup(s->config);
    return sweep_expand(s);
}

status sweep_parse(sweep *s, const char *where, const char *yaml, size_t bytes) {
    yaml_document d;
    *s = (sweep){.path = xstrdup(where)};
    status result = yaml_read(&d, where, true, yaml, bytes);
    if (result == STATUS_OK) result = read_sweep(s, &d);
    yaml_close(&d);
    return result;
}

static void free_overrides(sweep_overrides *list) {
    for (int i = 0; i < list->count; i++) free(list->items[i].text);
    free(list->items);
}

void sweep_free(sweep *s) {
    for (int i = 0; i < s->variant_count; i++) {
        free(s->variants[i].name);
        free(s->variants[i].config);
        free(s->variants[i].series);
        free_overrides(&s->variants[i].overrides);
    }
    free_overrides(&s->common);
    free(s->variants);
    free(s->config);
    free(s->path);
    *s = (sweep){0};
}
