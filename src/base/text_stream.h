/* A text that is written as to a file and lies in memory. Where memory is out, what is under way is given up (memory.h). */
#ifndef MOEC_BASE_TEXT_STREAM_H
#define MOEC_BASE_TEXT_STREAM_H

#include "base/status.h"
#include <stddef.h>
#include <stdio.h>

typedef struct text_stream { /* stays where it is between begin and end */
    FILE *out;
    char *text;
    size_t bytes; /* behind the end: without the NUL */
} text_stream;

FILE *text_stream_begin(text_stream *t);
char *text_stream_end(text_stream *t);                      /* the text, a new string; free() it */
status text_stream_write(text_stream *t, const char *path); /* it becomes a whole file and is freed */

#endif
