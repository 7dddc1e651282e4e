/* YAML → run_config, through libyaml's documents. */
#include "base/memory.h"
#include "base/nearest.h"
#include "config/yaml_document.h"
#include "train/config_table.h"
#include <stdlib.h>
#include <string.h>

/* A text being read, and where its keys stood. */
typedef struct reader {
    run_config *config;
    yaml_document_t *document;
    const char *where;           /* the file's name, or "override KEY=VALUE" */
    bool lines;                  /* messages carry line numbers */
    bool may_have_base;          /* the key `base`, which somebody else reads, is allowed */
    int line[RUN_CONFIG_FIELDS]; /* where a key was given; 0: not yet */
} reader;

enum { TEXT_LENGTH = 160 };

/* "configs/demo.yaml:12" */
static const char *place(const reader *r, const yaml_node_t *node, char text[TEXT_LENGTH]) {
    if (r->lines)
        snprintf(text, TEXT_LENGTH, "%s:%zu", r->where, node->start_mark.line + 1);
    else
        snprintf(text, TEXT_LENGTH, "%s", r->where);
    return text;
}

static const char *shown(const yaml_node_t *node, char text[TEXT_LENGTH]) {
    if (node->type == YAML_SEQUENCE_NODE) return "a list";
    if (node->type == YAML_MAPPING_NODE) return "a mapping";
    snprintf(text, TEXT_LENGTH, "`%.60s`", (const char *)node->data.scalar.value);
    return text;
}

static status wrong_value(const reader *r, const yaml_node_t *node, const config_field *f) {
    char here[TEXT_LENGTH], found[TEXT_LENGTH];
    char *expected = field_expected(f);
    status s = fail_usage("%s: %s: expected %s, found %s", place(r, node, here), f->key, expected, shown(node, found));
    free(expected);
    return s;
}

static yaml_node_t *node_at(const reader *r, int index) {
    return yaml_document_get_node(r->document, index);
}

static bool is_null(const yaml_node_t *node) {
    const char *text = yaml_text(node);
    if (!text || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    return strcmp(text, "") == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

static bool read_layers(const reader *r, const yaml_node_t *node, bool *layers) {
    if (node->type != YAML_SEQUENCE_NODE) return false;
    bool read[MODEL_MAX_LAYERS] = {false};
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        const char *text = yaml_text(node_at(r, *i));
        if (!text || !set_add(read, MODEL_MAX_LAYERS, text)) return false;
    }
    memcpy(layers, read, sizeof read);
    return true;
}

/* A value of any type but events. */
static status read_value(const reader *r, const yaml_node_t *node, const config_field *f, void *base) {
    if (f->type == FIELD_SET)
        return read_layers(r, node, (bool *)((char *)base + f->offset)) ? STATUS_OK : wrong_value(r, node, f);
    const char *text = yaml_text(node);
    /* A quoted number is a text, and the null of YAML is the empty text. */
    bool quoted = text && node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (text && quoted && f->type != FIELD_STRING && f->type != FIELD_CHOICE) text = NULL;
    if (text && f->type == FIELD_STRING && is_null(node)) text = "";
    return text && field_parse(f, base, text) ? STATUS_OK : wrong_value(r, node, f);
}

/* ---- events ---- */

static int find_event_key(const char *key) {
    for (int i = 0; i < EVENT_KEYS; i++)
        if (strcmp(event_fields[i].field.key, key) == 0) return i;
    return -1;
}

static status unknown_event_key(const reader *r, const yaml_node_t *node, const char *key) {
    nearest n = {.word = key};
    for (int i = 0; i < EVENT_KEYS; i++) nearest_offer(&n, event_fields[i].field.key);
    char here[TEXT_LENGTH];
    return fail_usage("%s: unknown key %.60s of an event; the nearest is %s", place(r, node, here), key, n.name);
}

/* What an event's keys must be together. */
static status check_event_keys(const reader *r, const yaml_node_t *node, const event *e, const bool *given) {
    char here[TEXT_LENGTH];
    place(r, node, here);
    if (!given[EVENT_KEY_DO]) return fail_usage("%s: event: expected do: upcycle, loop or qat, found none", here);
    for (int i = 0; i < EVENT_KEYS; i++)
        if (given[i] && !(event_fields[i].kinds >> e->kind & 1))
            return fail_usage("%s: event: %s is no key of %s", here, event_fields[i].field.key,
                              event_kind_name(e->kind));
    if (given[EVENT_KEY_AT] == given[EVENT_KEY_BELOW_LR])
        return fail_usage("%s: event: expected %s, found %s", here,
                          e->kind == EVENT_QAT ? "either at or below_lr" : "at", given[EVENT_KEY_AT] ? "both" : "none");
    if (e->kind == EVENT_UPCYCLE && !given[EVENT_KEY_LAYERS])
        return fail_usage("%s: event: expected the layers to upcycle, found none", here);
    return STATUS_OK;
}

static status read_event(const reader *r, const yaml_node_t *node, event *out) {
    char here[TEXT_LENGTH];
    if (node->type != YAML_MAPPING_NODE)
        return fail_usage("%s: events: expected mappings such as {at: 0.3, do: loop}", place(r, node, here));
    event e = {.experts = 2, .top_k = 1, .bits = 6};
    bool given[EVENT_KEYS] = {false};
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *key_node = node_at(r, p->key);
        const char *key = yaml_text(key_node);
        if (!key) return fail_usage("%s: event: expected a plain key", place(r, key_node, here));
        int i = find_event_key(key);
        if (i < 0) return unknown_event_key(r, key_node, key);
        if (given[i]) return fail_usage("%s: event: %s is given twice", place(r, key_node, here), key);
        given[i] = true;
        TRY(read_value(r, node_at(r, p->value), &event_fields[i].field, &e));
    }
    TRY(check_event_keys(r, node, &e, given));
    *out = e;
    return STATUS_OK;
}

static status read_events(const reader *r, const yaml_node_t *node, const config_field *f) {
    if (node->type != YAML_SEQUENCE_NODE) return wrong_value(r, node, f);
    event events[MAX_EVENTS];
    int count = 0;
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        char here[TEXT_LENGTH];
        if (count == MAX_EVENTS)
            return fail_usage("%s: events: expected at most %d", place(r, node_at(r, *i), here), MAX_EVENTS);
        TRY(read_event(r, node_at(r, *i), &events[count++]));
    }
    memcpy(r->config->events, events, (size_t)count * sizeof *events);
    r->config->event_count = count;
    return STATUS_OK;
}

/* ---- keys ---- */

static status unknown_key(const reader *r, const yaml_node_t *node, const char *name, bool is_mapping) {
    char here[TEXT_LENGTH];
    place(r, node, here);
    if (is_mapping && !strchr(name, '.'))
        return fail_usage("%s: unknown section %.60s; the nearest is %s", here, name, run_config_nearest_section(name));
    config_field f = run_config_nearest(name);
    return fail_usage("%s: unknown key %.60s; the nearest is %s in section %s", here, name, f.key, f.section);
}

static status read_key(reader *r, const yaml_node_t *key, const char *name, const yaml_node_t *value) {
    int index = run_config_find(name);
    if (index < 0) return unknown_key(r, key, name, value->type == YAML_MAPPING_NODE);
    config_field f = run_config_field(index);
    char here[TEXT_LENGTH];
    if (r->line[index])
        return fail_usage("%s: %s is given twice, first on line %d", place(r, key, here), f.key, r->line[index]);
    r->line[index] = (int)key->start_mark.line + 1;
    return f.type == FIELD_EVENTS ? read_events(r, value, &f) : read_value(r, value, &f, r->config);
}

/* The pairs of the file, or of a section. A mapping under a section's name is the section: `data: {data: corpus}`. */
static status read_mapping(reader *r, const yaml_node_t *mapping, const char *section) {
    for (yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < mapping->data.mapping.pairs.top; p++) {
        const yaml_node_t *key_node = node_at(r, p->key), *value = node_at(r, p->value);
        const char *key = yaml_text(key_node);
        char here[TEXT_LENGTH];
        if (!key) return fail_usage("%s: expected a plain key", place(r, key_node, here));
        if (!section && r->may_have_base && strcmp(key, "base") == 0) continue;
        if (!section && value->type == YAML_MAPPING_NODE && run_config_is_section(key)) {
            TRY(read_mapping(r, value, key));
        } else if (!section && is_null(value) && run_config_is_section(key) && run_config_find(key) < 0) {
            continue; /* a section that is all comments */
        } else if (section) {
            char *name = xasprintf("%s.%s", section, key);
            status s = read_key(r, key_node, name, value);
            free(name);
            TRY(s);
        } else {
            TRY(read_key(r, key_node, key, value));
        }
    }
    return STATUS_OK;
}

/* ---- documents ---- */

static status read_root(reader *r, const yaml_node_t *root) {
    char here[TEXT_LENGTH];
    if (!root || is_null(root)) return STATUS_OK; /* an empty file changes nothing */
    if (root->type != YAML_MAPPING_NODE)
        return fail_usage("%s: expected keys and values, found a %s", place(r, root, here),
                          root->type == YAML_SEQUENCE_NODE ? "list" : "single value");
    return read_mapping(r, root, NULL);
}

status run_config_read(run_config *c, const char *where, const char *yaml, size_t bytes, bool *given) {
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) return fail("%s: out of memory", where);
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, bytes);
    if (!yaml_parser_load(&parser, &document)) {
        status s = yaml_syntax_error(&parser, where, true);
        yaml_parser_delete(&parser);
        return s;
    }
    reader r = {.config = c, .document = &document, .where = where, .lines = true, .may_have_base = given != NULL};
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    status s = read_root(&r, root);
    if (s == STATUS_OK && root) s = yaml_expect_end(&parser, where);
    for (int i = 0; given && i < RUN_CONFIG_FIELDS; i++) given[i] |= r.line[i] > 0;
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    return s;
}

static status add_base(const reader *r, const yaml_node_t *node, char ***bases, int *count) {
    const char *text = yaml_text(node);
    char here[TEXT_LENGTH];
    if (!text || !*text)
        return fail_usage("%s: base: expected the path of a preset from this file's folder, or a list of them",
                          place(r, node, here));
    *bases = xrealloc(*bases, (size_t)(*count + 1) * sizeof **bases);
    (*bases)[(*count)++] = xstrdup(text);
    return STATUS_OK;
}

static status find_bases(const reader *r, const yaml_node_t *root, char ***bases, int *count) {
    if (!root || root->type != YAML_MAPPING_NODE) return STATUS_OK;
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
        const yaml_node_t *key_node = node_at(r, p->key), *value = node_at(r, p->value);
        const char *key = yaml_text(key_node);
        char here[TEXT_LENGTH];
        if (!key || strcmp(key, "base") != 0) continue;
        if (*count > 0) return fail_usage("%s: base is given twice", place(r, key_node, here));
        if (value->type != YAML_SEQUENCE_NODE) {
            TRY(add_base(r, value, bases, count));
            continue;
        }
        for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top; i++)
            TRY(add_base(r, node_at(r, *i), bases, count));
    }
    return STATUS_OK;
}

status run_config_bases(const char *where, const char *yaml, size_t bytes, char ***bases, int *count) {
    yaml_parser_t parser;
    yaml_document_t document;
    *bases = NULL;
    *count = 0;
    if (!yaml_parser_initialize(&parser)) return fail("%s: out of memory", where);
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, bytes);
    status s = STATUS_OK;
    if (yaml_parser_load(&parser, &document)) { /* else run_config_read says what is wrong */
        reader r = {.document = &document, .where = where, .lines = true};
        s = find_bases(&r, yaml_document_get_root_node(&document), bases, count);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return s;
}

status run_config_parse(run_config *c, const char *where, const char *yaml, size_t bytes) {
    return run_config_read(c, where, yaml, bytes, NULL);
}

/* ---- overrides ---- */

/* The value as a document of its own, so that lists are written as in a file. */
static status override_value(run_config *c, const char *where, const char *text, const config_field *f) {
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) return fail("%s: out of memory", where);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    if (!yaml_parser_load(&parser, &document)) {
        status s = yaml_syntax_error(&parser, where, false);
        yaml_parser_delete(&parser);
        return s;
    }
    reader r = {.config = c, .document = &document, .where = where};
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    status s;
    if (!root) {
        char *expected = field_expected(f);
        s = fail_usage("%s: %s: expected %s, found nothing", where, f->key, expected);
        free(expected);
    } else {
        s = f->type == FIELD_EVENTS ? read_events(&r, root, f) : read_value(&r, root, f, c);
    }
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    return s;
}

/* A text is taken as it stands, so that a path needs no quotes for YAML's sake. */
static status override_string(run_config *c, const char *where, const char *text, const config_field *f) {
    if (field_parse(f, c, text)) return STATUS_OK;
    char *expected = field_expected(f);
    status s = fail_usage("%s: %s: expected %s, found `%.60s`", where, f->key, expected, text);
    free(expected);
    return s;
}

status run_config_override(run_config *c, const char *override, bool *given) {
    const char *equals = strchr(override, '=');
    if (!equals || equals == override) return fail_usage("override %.60s: expected key=value", override);
    char *where = xasprintf("override %.80s", override), *key = xstrdup(override);
    key[equals - override] = '\0';
    int index = run_config_find(key);
    status s;
    if (index < 0) {
        config_field f = run_config_nearest(key);
        s = fail_usage("%s: unknown key %.60s; the nearest is %s in section %s", where, key, f.key, f.section);
    } else {
        config_field f = run_config_field(index);
        given[index] = true;
        s = f.type == FIELD_STRING ? override_string(c, where, equals + 1, &f)
                                   : override_value(c, where, equals + 1, &f);
    }
    free(where);
    free(key);
    return s;
}
