/* A YAML text as a small tree of scalars, lists and mappings; yaml.c is the one file that knows libyaml.
 *
 * A text may come from anywhere, so what it can cost is bounded while it is read: its bytes, how deep it is nested and how
 * many nodes it has. Anchors and aliases are refused, so a tree is never more than its text; a key is always a scalar, and
 * no scalar has a NUL inside. */
#ifndef MOEC_CONFIG_YAML_H
#define MOEC_CONFIG_YAML_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum {
    YAML_MAX_BYTES = 1 << 18,
    YAML_MAX_DEPTH = 16, /* lists and mappings within one another */
    YAML_MAX_NODES = 1 << 14
};

typedef enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAPPING } yaml_kind;

typedef struct yaml_node {
    yaml_kind kind;
    int line;                   /* from 1 */
    char *text;                 /* of a scalar */
    bool quoted;                /* a scalar that is a text, whatever it looks like */
    struct yaml_node *first;    /* item of a list, key of a mapping; NULL: it is empty */
    struct yaml_node *next;     /* item or key */
    struct yaml_node *value;    /* of a key */
    struct yaml_node *previous; /* that was made, for yaml_close */
} yaml_node;

typedef struct yaml_document {
    const char *where; /* what messages call the text: a file's path, or "override KEY=VALUE" */
    bool has_lines;    /* messages say the line too */
    yaml_node *root;   /* NULL: there is nothing but comments */
    yaml_node *newest;
} yaml_document;

/* One document and nothing behind it. `where` must outlive d, which is to be freed after a failure too. */
status yaml_read(yaml_document *d, const char *where, bool has_lines, const char *text, size_t bytes);
status yaml_read_file(yaml_document *d, const char *path); /* the same of a whole file */
void yaml_close(yaml_document *d);

/* fail_usage with "WHERE:LINE: " of the node in front. */
status yaml_fail(const yaml_document *d, const yaml_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* YAML's null: nothing, ~ or null, not quoted. */
bool yaml_is_null(const yaml_node *node);
/* The value on one line, as it would stand behind KEY= on a command line: a scalar as it is, a list or mapping in brackets. */
void yaml_write_value(FILE *out, const yaml_node *value);
/* A text in double quotes, everything but printable ASCII as an escape; NULL is "". */
void yaml_write_text(FILE *out, const char *text);
void yaml_write_name(FILE *out, const char *name); /* the same, without quotes where it needs none */

#endif
