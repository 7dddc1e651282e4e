/* YAML → sweep, through libyaml's documents. */
#include "base/memory.h"
#include "base/nearest.h"
#include "config/yaml_document.h"
#include "study/sweep.h"
#include "train/config_table.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    sweep *s;
    yaml_document_t *document;
    const char *where;
    char *config; /* for runs that name none */
} reader;

/* How a key's value is read; `target` is the sweep or the variant. */
typedef status (*read_fn)(reader *r, const yaml_node_t *node, const char *key, void *target);
typedef struct key_reader {
    const char *key;
    read_fn read;
} key_reader;

static int line_of(const yaml_node_t *node) {
    return (int)node->start_mark.line + 1;
}

static status wrong(const reader *r, const yaml_node_t *node, const char *key, const char *expected) {
    const char *found = node->type == YAML_SEQUENCE_NODE  ? "a list"
                        : node->type == YAML_MAPPING_NODE ? "a mapping"
                                                          : (const char *)node->data.scalar.value;
    return fail_usage("%s:%d: %s: expected %s, found %.60s", r->where, line_of(node), key, expected,
                      *found ? found : "nothing");
}

static yaml_node_t *node_at(const reader *r, int index) {
    return yaml_document_get_node(r->document, index);
}

/* ---- values ---- */

/* Digits alone, so that neither signs nor fractions nor overflow pass. */
static bool parse_natural(const char *text, uint64_t most, uint64_t *value) {
    if (!text || !isdigit((unsigned char)*text)) return false;
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return !*end && !errno && *value <= most;
}

static status read_natural(const reader *r, const yaml_node_t *node, const char *key, uint64_t least, int64_t *out) {
    uint64_t value;
    if (!parse_natural(yaml_text(node), 1000000000000, &value) || value < least)
        return wrong(r, node, key, least ? "an integer of at least 1" : "an integer of at least 0");
    *out = (int64_t)value;
    return STATUS_OK;
}

static status read_steps(reader *r, const yaml_node_t *node, const char *key, void *target) {
    (void)target;
    return read_natural(r, node, key, 1, &r->s->steps);
}

static status read_eval_tokens(reader *r, const yaml_node_t *node, const char *key, void *target) {
    (void)target;
    return read_natural(r, node, key, 0, &r->s->eval_tokens);
}

static status read_seconds(reader *r, const yaml_node_t *node, const char *key, void *target) {
    (void)target;
    const char *text = yaml_text(node);
    char *end = NULL;
    double value = text ? strtod(text, &end) : 0;
    if (!text || end == text || *end || !isfinite(value) || value <= 0) return wrong(r, node, key, "seconds above 0");
    r->s->max_seconds = value;
    return STATUS_OK;
}

static status read_pack(reader *r, const yaml_node_t *node, const char *key, void *target) {
    (void)target;
    const char *text = yaml_text(node);
    if (!text || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)) return wrong(r, node, key, "true or false");
    r->s->pack = text[0] == 't';
    return STATUS_OK;
}

#define MOST_SEED 9007199254740991u /* what JSON keeps exactly */

static status read_seed(sweep *s, const reader *r, const yaml_node_t *node, const char *key) {
    uint64_t seed;
    if (!parse_natural(yaml_text(node), MOST_SEED, &seed)) return wrong(r, node, key, "integers from 0 to 2^53 - 1");
    if (s->seed_count == SWEEP_MAX_SEEDS)
        return fail_usage("%s:%d: %s: expected at most %d", r->where, line_of(node), key, SWEEP_MAX_SEEDS);
    for (int i = 0; i < s->seed_count; i++)
        if (s->seeds[i] == seed) return wrong(r, node, key, "different integers");
    s->seeds[s->seed_count++] = seed;
    return STATUS_OK;
}

static status read_seeds(reader *r, const yaml_node_t *node, const char *key, void *target) {
    (void)target;
    if (node->type != YAML_SEQUENCE_NODE || node->data.sequence.items.start == node->data.sequence.items.top)
        return wrong(r, node, key, "a list of at least one integer such as [1, 2, 3]");
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++)
        TRY(read_seed(r->s, r, node_at(r, *i), key));
    return STATUS_OK;
}

/* A preset's path as it is opened: it starts from this file's folder. */
static status read_path(reader *r, const yaml_node_t *node, const char *key, char **out) {
    const char *text = yaml_text(node), *slash = strrchr(r->where, '/');
    if (!text || !*text) return wrong(r, node, key, "the path of a preset");
    *out = *text == '/' || !slash ? xstrdup(text) : xasprintf("%.*s/%s", (int)(slash - r->where), r->where, text);
    return STATUS_OK;
}

static status read_config(reader *r, const yaml_node_t *node, const char *key, void *target) {
    sweep_variant *v = target;
    return read_path(r, node, key, v ? &v->config : &r->config);
}

static status read_name(reader *r, const yaml_node_t *node, const char *key, void *target) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *text = yaml_text(node);
    if (!text || !isalnum((unsigned char)*text) || strlen(text) > 60 || text[strspn(text, letters)])
        return wrong(r, node, key, "up to 60 letters, digits, '.', '_' and '-', a letter or digit first");
    for (int i = 0; i < r->s->variant_count; i++)
        if (r->s->variants[i].name && strcmp(r->s->variants[i].name, text) == 0)
            return fail_usage("%s:%d: %s: expected a name of its own, found %s, which the run on line %d has", r->where,
                              line_of(node), key, text, r->s->variants[i].line);
    ((sweep_variant *)target)->name = xstrdup(text);
    return STATUS_OK;
}

/* ---- overrides ---- */

static void put(FILE *out, const reader *r, const yaml_node_t *node, bool nested);

static void put_scalar(FILE *out, const yaml_node_t *node, bool nested) {
    const char *text = (const char *)node->data.scalar.value;
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!nested || plain) {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text; text++) fputs(*text == '\'' ? "''" : (char[]){*text, '\0'}, out);
    fputc('\'', out);
}

static void put_pairs(FILE *out, const reader *r, const yaml_node_t *node) {
    fputc('{', out);
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        if (p > node->data.mapping.pairs.start) fputs(", ", out);
        put(out, r, node_at(r, p->key), true);
        fputs(": ", out);
        put(out, r, node_at(r, p->value), true);
    }
    fputc('}', out);
}

/* A value as one line, as it would be written behind key= on a command line. */
static void put(FILE *out, const reader *r, const yaml_node_t *node, bool nested) {
    if (node->type == YAML_SCALAR_NODE) put_scalar(out, node, nested);
    if (node->type == YAML_MAPPING_NODE) put_pairs(out, r, node);
    if (node->type != YAML_SEQUENCE_NODE) return;
    fputc('[', out);
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        if (i > node->data.sequence.items.start) fputs(", ", out);
        put(out, r, node_at(r, *i), true);
    }
    fputc(']', out);
}

/* What the sweep itself says for every run. */
static bool is_the_sweeps(const char *key) {
    static const char *const keys[] = {"run", "seed", "steps", "max_seconds"};
    const char *dot = strchr(key, '.');
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(dot ? dot + 1 : key, keys[i]) == 0) return true;
    return false;
}

/* Aliases make a document a graph; a value is small and flat, or it is refused. */
static bool is_shallow(const reader *r, const yaml_node_t *node, int depth) {
    if (depth > 3) return false;
    if (node->type == YAML_SCALAR_NODE) return yaml_text(node) != NULL;
    if (node->type == YAML_SEQUENCE_NODE) {
        if (node->data.sequence.items.top - node->data.sequence.items.start > MODEL_MAX_LAYERS) return false;
        for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++)
            if (!is_shallow(r, node_at(r, *i), depth + 1)) return false;
        return true;
    }
    if (node->data.mapping.pairs.top - node->data.mapping.pairs.start > MODEL_MAX_LAYERS) return false;
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++)
        if (!is_shallow(r, node_at(r, p->key), depth + 1) || !is_shallow(r, node_at(r, p->value), depth + 1))
            return false;
    return true;
}

static status check_override(const reader *r, const char *text, int line) {
    run_config scratch = run_config_default();
    bool given[RUN_CONFIG_FIELDS] = {false};
    status s = run_config_override(&scratch, text, given);
    run_config_free(&scratch);
    return s == STATUS_OK ? s : fail_in(s, "%s:%d", r->where, line);
}

static status read_override(reader *r, const yaml_node_t *key_node, const yaml_node_t *value, sweep_overrides *list) {
    const char *key = yaml_text(key_node);
    if (!key) return wrong(r, key_node, "overrides", "keys of a configuration");
    if (is_the_sweeps(key))
        return fail_usage("%s:%d: %s: is no override: the sweep's seeds and its budget say it", r->where,
                          line_of(key_node), key);
    if (!is_shallow(r, value, 0)) return wrong(r, value, key, "a value of at most three levels");
    for (int i = 0; i < list->count; i++)
        if (strncmp(list->items[i].text, key, strlen(key)) == 0 && list->items[i].text[strlen(key)] == '=')
            return fail_usage("%s:%d: %s is given twice, first on line %d", r->where, line_of(key_node), key,
                              list->items[i].line);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) return fail("%s: out of memory", r->where);
    fprintf(out, "%s=", key);
    put(out, r, value, false);
    fclose(out);
    list->items = xrealloc(list->items, (size_t)(list->count + 1) * sizeof *list->items);
    list->items[list->count++] = (sweep_override){.text = text, .line = line_of(key_node)};
    return check_override(r, text, line_of(key_node));
}

static status read_overrides(reader *r, const yaml_node_t *node, const char *key, void *target) {
    sweep_variant *v = target;
    if (node->type != YAML_MAPPING_NODE) return wrong(r, node, key, "keys and values such as {mlp_mult: 2}");
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++)
        TRY(read_override(r, node_at(r, p->key), node_at(r, p->value), v ? &v->overrides : &r->s->common));
    return STATUS_OK;
}

/* ---- mappings ---- */

enum { MOST_KEYS = 8 };

static status read_keys(reader *r, const yaml_node_t *node, const key_reader *keys, const char *what, void *target) {
    int first_line[MOST_KEYS] = {0};
    if (node->type != YAML_MAPPING_NODE) return wrong(r, node, what, "keys and values");
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *key_node = node_at(r, p->key);
        const char *key = yaml_text(key_node);
        if (!key) return wrong(r, key_node, what, "plain keys");
        nearest n = {.word = key};
        int index = 0;
        for (; keys[index].key && strcmp(keys[index].key, key) != 0; index++) nearest_offer(&n, keys[index].key);
        if (!keys[index].key)
            return fail_usage("%s:%d: unknown key %.60s of %s; the nearest is %s", r->where, line_of(key_node), key,
                              what, n.name);
        if (first_line[index])
            return fail_usage("%s:%d: %s is given twice, first on line %d", r->where, line_of(key_node), key,
                              first_line[index]);
        first_line[index] = line_of(key_node);
        TRY(keys[index].read(r, node_at(r, p->value), key, target));
    }
    return STATUS_OK;
}

static const key_reader run_keys[] = {
    {"name", read_name}, {"config", read_config}, {"overrides", read_overrides}, {NULL, NULL}};

static status read_run(reader *r, const yaml_node_t *node) {
    sweep *s = r->s;
    if (s->variant_count == SWEEP_MAX_VARIANTS)
        return fail_usage("%s:%d: runs: expected at most %d", r->where, line_of(node), SWEEP_MAX_VARIANTS);
    s->variants = xrealloc(s->variants, (size_t)(s->variant_count + 1) * sizeof *s->variants);
    sweep_variant *v = &s->variants[s->variant_count++];
    *v = (sweep_variant){.line = line_of(node)};
    TRY(read_keys(r, node, run_keys, "a run", v));
    return v->name ? STATUS_OK : fail_usage("%s:%d: run: expected a name, found none", r->where, v->line);
}

static status read_runs(reader *r, const yaml_node_t *node, const char *key, void *target) {
    (void)target;
    if (node->type != YAML_SEQUENCE_NODE || node->data.sequence.items.start == node->data.sequence.items.top)
        return wrong(r, node, key, "a list of at least one run");
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++)
        TRY(read_run(r, node_at(r, *i)));
    return STATUS_OK;
}

static const key_reader sweep_keys[MOST_KEYS + 1] = {
    {"seeds", read_seeds}, {"steps", read_steps},   {"max_seconds", read_seconds}, {"eval_tokens", read_eval_tokens},
    {"pack", read_pack},   {"config", read_config}, {"common", read_overrides},    {"runs", read_runs}};

/* What the keys must be together. */
static status check_whole(reader *r) {
    sweep *s = r->s;
    if (s->variant_count == 0) return fail_usage("%s: runs: expected a list of at least one run, found none", r->where);
    if (s->seed_count == 0) return fail_usage("%s: seeds: expected a list such as [1, 2, 3], found none", r->where);
    if ((s->steps > 0) == (s->max_seconds > 0))
        return fail_usage("%s: budget: expected either steps or max_seconds, found %s", r->where,
                          s->steps > 0 ? "both" : "none");
    for (int i = 0; i < s->variant_count; i++) {
        sweep_variant *v = &s->variants[i];
        if (!v->config && !r->config)
            return fail_usage("%s:%d: config: expected the run %s or the sweep to name one, found none", r->where,
                              v->line, v->name);
        if (!v->config) v->config = xstrdup(r->config);
    }
    return STATUS_OK;
}

static status read_document(reader *r, yaml_parser_t *parser) {
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document)) return yaml_syntax_error(parser, r->where, true);
    r->document = &document;
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    status s = root ? read_keys(r, root, sweep_keys, "a sweep", NULL)
                    : fail_usage("%s: expected a sweep with runs, seeds and a budget, found nothing", r->where);
    if (s == STATUS_OK) s = check_whole(r);
    yaml_document_delete(&document);
    return s == STATUS_OK ? yaml_expect_end(parser, r->where) : s;
}

status sweep_parse(sweep *s, const char *where, const char *yaml, size_t bytes) {
    yaml_parser_t parser;
    *s = (sweep){.path = xstrdup(where)};
    if (!yaml_parser_initialize(&parser)) return fail("%s: out of memory", where);
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, bytes);
    reader r = {.s = s, .where = where};
    status result = read_document(&r, &parser);
    yaml_parser_delete(&parser);
    free(r.config);
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
        free_overrides(&s->variants[i].overrides);
    }
    free_overrides(&s->common);
    free(s->variants);
    free(s->path);
    *s = (sweep){0};
}
