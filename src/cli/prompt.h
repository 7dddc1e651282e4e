/* Where a prompt comes from: the command line, stdin or a file. */
#ifndef MOEC_CLI_PROMPT_H
#define MOEC_CLI_PROMPT_H

#include "base/status.h"
#include <stddef.h>

typedef struct prompt {
    char *text; /* UTF-8; may hold NULs, and has one behind the last byte */
    size_t bytes;
} prompt;

/* argument: the text itself, or "-" for stdin; file: its path. Both NULL: an empty prompt. The line end that editors and
 * `echo` put behind a text is not part of the prompt of a file or stdin. At most 16 MiB, and UTF-8. */
status prompt_read(prompt *p, const char *argument, const char *file);
void prompt_free(prompt *p);

#endif
