/* Comma-separated values as RFC 4180 has them: fields in double quotes may hold commas, line ends and, doubled, quotes. Line ends
 * are "\n" or "\r\n". The first record names the fields, and all others have as many. */
#ifndef MOEC_FETCH_CSV_H
#define MOEC_FETCH_CSV_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CSV_MAX_FIELDS = 1024, CSV_MAX_RECORD = 64 << 20 /* bytes */ };

typedef struct csv {
    const char *where; /* begins messages */
    int64_t line;      /* from 1, where the record that is being read begins */
    int64_t lines;     /* ended so far */
    char *text;        /* the fields of the record, each with a NUL behind */
    size_t bytes, room;
    size_t starts[CSV_MAX_FIELDS];
    int fields;
    enum { CSV_FIELD_START, CSV_BARE, CSV_QUOTED, CSV_QUOTE_IN_QUOTED, CSV_CARRIAGE_RETURN } state;
    bool begun;   /* a record */
    char *header; /* the names, as text */
    size_t names[CSV_MAX_FIELDS];
    int name_count;
} csv;

/* Gets each record but the first. Its fields are csv_field(c, 0 … name_count-1). */
typedef status (*csv_record)(void *context, const csv *c);

void csv_open(csv *c, const char *where);
void csv_close(csv *c);
/* Any piece of a file; a NUL in it is refused. */
status csv_feed(csv *c, const char *bytes, size_t count, csv_record record, void *context);
status csv_end(csv *c, csv_record record, void *context); /* a last line need not have an end */
const char *csv_field(const csv *c, int field);
const char *csv_name(const csv *c, int field);

#endif
