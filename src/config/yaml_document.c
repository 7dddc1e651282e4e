#include "config/yaml_document.h"

#include <string.h>

const char *yaml_text(const yaml_node_t *node) {
    if (node->type != YAML_SCALAR_NODE) return NULL;
    const char *text = (const char *)node->data.scalar.value;
    return strlen(text) == node->data.scalar.length ? text : NULL;
}

status yaml_syntax_error(const yaml_parser_t *parser, const char *where, bool lines) {
    const char *problem = parser->problem ? parser->problem : "out of memory";
    if (!lines) return fail_usage("%s: not YAML: %s", where, problem);
    return fail_usage("%s:%zu: not YAML: %s", where, parser->problem_mark.line + 1, problem);
}

status yaml_expect_end(yaml_parser_t *parser, const char *where) {
    yaml_document_t second;
    if (!yaml_parser_load(parser, &second)) return yaml_syntax_error(parser, where, true);
    bool more = yaml_document_get_root_node(&second) != NULL;
    size_t line = second.start_mark.line + 1;
    yaml_document_delete(&second);
    return more ? fail_usage("%s:%zu: expected one YAML document, found a second", where, line) : STATUS_OK;
}
