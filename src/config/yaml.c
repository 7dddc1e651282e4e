#include "config/yaml.h"
#include "base/file.h"
#include "base/memory.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

status yaml_fail(const yaml_document *d, const yaml_node *node, const char *format, ...) {
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return d->has_lines ? fail_usage("%s:%d: %s", d->where, node->line, message)
                        : fail_usage("%s: %s", d->where, message);
}

/* ---- building the tree ---- */

/* The lists and mappings that are open, each with where its next child goes. */
typedef struct builder {
    yaml_document *d;
    struct level {
        yaml_node *node;
        yaml_node **end; /* of the chain of items or keys */
        yaml_node *key;  /* of a mapping: it waits for its value */
    } open[YAML_MAX_DEPTH];
    int depth, nodes;
} builder;

static status place(builder *b, yaml_node *node) {
    if (b->depth == 0) {
        b->d->root = node;
        return STATUS_OK;
    }
    struct level *in = &b->open[b->depth - 1];
    if (in->key) {
        in->key->value = node;
        in->key = NULL;
        return STATUS_OK;
    }
    if (in->node->kind == YAML_MAPPING && node->kind != YAML_SCALAR)
        return yaml_fail(b->d, node, "expected a plain key");
    *in->end = node;
    in->end = &node->next;
    if (in->node->kind == YAML_MAPPING) in->key = node;
    return STATUS_OK;
}

static status add(builder *b, yaml_kind kind, const yaml_event_t *event, yaml_node **added) {
    yaml_node *node = xcalloc(1, sizeof *node);
    *node = (yaml_node){.kind = kind, .line = (int)event->start_mark.line + 1, .previous = b->d->newest};
    b->d->newest = *added = node;
    if (++b->nodes > YAML_MAX_NODES)
        return yaml_fail(b->d, node, "expected at most %d keys and values", YAML_MAX_NODES);
    return place(b, node);
}

static status add_scalar(builder *b, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    yaml_node *node;
    TRY(add(b, YAML_SCALAR, event, &node));
    node->text = xstrdup(text);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (strlen(text) == event->data.scalar.length) return STATUS_OK;
    return yaml_fail(b->d, node, "expected a text without NUL characters, found one behind `%.60s`", text);
}

static status open_level(builder *b, yaml_kind kind, const yaml_event_t *event) {
    yaml_node *node;
    TRY(add(b, kind, event, &node));
    if (b->depth == YAML_MAX_DEPTH)
        return yaml_fail(b->d, node, "expected at most %d lists and mappings within one another", YAML_MAX_DEPTH);
    b->open[b->depth++] = (struct level){.node = node, .end = &node->first};
    return STATUS_OK;
}

static status refuse_anchor(builder *b, const yaml_event_t *event, char mark, const yaml_char_t *name) {
    const yaml_node here = {.line = (int)event->start_mark.line + 1};
    return yaml_fail(b->d, &here, "expected values without anchors and aliases, found %c%.60s", mark,
                     (const char *)name);
}

static status take(builder *b, const yaml_event_t *event) {
    const yaml_char_t *anchor = event->type == YAML_SCALAR_EVENT           ? event->data.scalar.anchor
                                : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.anchor
                                : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.anchor
                                                                           : NULL;
    if (anchor) return refuse_anchor(b, event, '&', anchor);
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return refuse_anchor(b, event, '*', event->data.alias.anchor);
    case YAML_SCALAR_EVENT:
        return add_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_level(b, YAML_LIST, event);
    case YAML_MAPPING_START_EVENT:
        return open_level(b, YAML_MAPPING, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return STATUS_OK;
    case YAML_DOCUMENT_START_EVENT: {
        const yaml_node here = {.line = (int)event->start_mark.line + 1};
        return b->nodes == 0 ? STATUS_OK : yaml_fail(b->d, &here, "expected one YAML document, found a second");
    }
    default:
        return STATUS_OK;
    }
}

static status syntax_error(const yaml_document *d, const yaml_parser_t *parser) {
    const yaml_node here = {.line = (int)parser->problem_mark.line + 1};
    return yaml_fail(d, &here, "not YAML: %s", parser->problem ? parser->problem : "out of memory");
}

static status read_events(builder *b, yaml_parser_t *parser) {
    for (bool ended = false; !ended;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) return syntax_error(b->d, parser);
        const status s = take(b, &event);
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        TRY(s);
    }
    return STATUS_OK;
}

status yaml_read(yaml_document *d, const char *where, bool has_lines, const char *text, size_t bytes) {
    *d = (yaml_document){.where = where, .has_lines = has_lines};
    if (bytes > YAML_MAX_BYTES)
        return fail_usage("%s: expected a YAML text of at most %d bytes, found %zu", where, YAML_MAX_BYTES, bytes);
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return fail("%s: out of memory", where);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    builder b = {.d = d};
    const status s = read_events(&b, &parser);
    yaml_parser_delete(&parser);
    return s;
}

status yaml_read_file(yaml_document *d, const char *path) {
    uint8_t *text;
    size_t bytes;
    *d = (yaml_document){.where = path};
    TRY(file_read(path, YAML_MAX_BYTES, &text, &bytes));
    const status s = yaml_read(d, path, true, (const char *)text, bytes);
    free(text);
    return s;
}

void yaml_close(yaml_document *d) {
    while (d->newest) {
        yaml_node *node = d->newest;
        d->newest = node->previous;
        free(node->text);
        free(node);
    }
    d->root = NULL;
}

bool yaml_is_null(const yaml_node *node) {
    if (node->kind != YAML_SCALAR || node->quoted) return false;
    return strcmp(node->text, "") == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0;
}
