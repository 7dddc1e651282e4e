/* A text as a field of CSV (RFC 4180): in quotes where it has to be. */
#ifndef MOEC_BASE_CSV_TEXT_H
#define MOEC_BASE_CSV_TEXT_H

#include <stdio.h>

void csv_put_text(FILE *out, const char *text);

#endif
