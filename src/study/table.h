/* Tables in Markdown whose columns stand under one another, so that they can be read on a console too. */
#ifndef MOEC_STUDY_TABLE_H
#define MOEC_STUDY_TABLE_H

#include <stdint.h>
#include <stdio.h>

typedef struct table {
    int columns; /* the first one is set left, the others right */
    char **cells;
    int count; /* the first row is the head */
} table;

table table_create(int columns);
/* The next cell. */
void table_put(table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whole rows; t is empty then. */
void table_print(table *t, FILE *out);

/* 30465664 → "30,465,664" */
const char *grouped(int64_t number, char text[32]);

#endif
