/* From a row of somebody's data set, a JSON object, to a line of JSONL that `moec data` reads:
 *     {"text": …}                                 the chosen fields' texts, joined by line ends
 *     {"messages": [{"role": …, "content": …}, …], "text": …}    a conversation as it is, and as text
 * Where several fields were chosen they stand behind it under their own names, as they were. */
#ifndef MOEC_FETCH_ROW_H
#define MOEC_FETCH_ROW_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { ROW_MAX_FIELDS = 16, ROW_MAX_TURNS = 4096 };

typedef struct turn {
    char *role, *content;
} turn;

/* A conversation as text, malloc'ed. The seam for chat templates. */
typedef status (*row_render)(void *context, const turn *turns, size_t count, char **text);

typedef struct row_form {
    char *fields[ROW_MAX_FIELDS]; /* in the order of the text; none: chosen by the first row, see row_choose */
    int field_count;
    row_render render; /* NULL: each turn as "role: content" and a line end */
    void *render_context;
} row_form;

/* "A,B"; NULL: none yet. */
status row_form_open(row_form *f, const char *fields);
void row_form_close(row_form *f);
char *row_form_fields(const row_form *f); /* "A,B"; a new string */
/* The usual names, if the row has one: text, messages, conversations, conversation, content; or its only field of text.
 * Otherwise an error that lists the row's fields. */
status row_choose(row_form *f, const char *row, size_t bytes, const char *where);

/* One line with its end to `out`, or nothing and *empty where the row has no text. A chosen field that is absent is an error
 * that `where` begins. A conversation is a list of objects with "role" or "from" and "content" or "value". */
status row_write(const row_form *f, const char *row, size_t bytes, const char *where, FILE *out, bool *empty);

/* A text in quotes. */
void row_put_string(FILE *out, const char *text);

#endif
