/* Lines of text from whoever types or pipes them. On a terminal they can be edited and called back (libedit, where moec is built with
 * it); elsewhere they are read as they come. */
#ifndef MOEC_CLI_LINE_READER_H
#define MOEC_CLI_LINE_READER_H

#include "base/status.h"
#include <stdbool.h>

typedef struct line_reader line_reader;
/* Lines that were entered on a terminal are kept in the file `history` in moec's state folder, the last 1000. */
line_reader *line_reader_open(const char *history);
void line_reader_close(line_reader *r);
bool line_reader_is_terminal(const line_reader *r); /* somebody types, and sees what is printed */

typedef enum line_kind {
    LINE_TEXT,
    LINE_DROPPED, /* Ctrl-C while it was edited */
    LINE_END      /* Ctrl-D, or the end of what is read */
} line_kind;
/* *line, without its line end, is valid until the next call. `prompt` is shown on a terminal. Of at most 1 MiB, and without NUL. */
status line_reader_next(line_reader *r, const char *prompt, line_kind *kind, const char **line);

#endif
