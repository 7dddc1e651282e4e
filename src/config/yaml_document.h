/* What reading a preset and reading a sweep share of libyaml: one document a text, its scalars. */
#ifndef MOEC_CONFIG_YAML_DOCUMENT_H
#define MOEC_CONFIG_YAML_DOCUMENT_H

#include "base/status.h"
#include <stdbool.h>
#include <yaml.h>

/* The text of a scalar without a NUL inside, else NULL; the document's. */
const char *yaml_text(const yaml_node_t *node);
/* What the parser found wrong, behind `where`, with the line if lines. */
status yaml_syntax_error(const yaml_parser_t *parser, const char *where, bool lines);
/* After the one document has been loaded: nothing may follow it. */
status yaml_expect_end(yaml_parser_t *parser, const char *where);

#endif
