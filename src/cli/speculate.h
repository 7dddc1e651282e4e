/* --speculate of the commands that write text: who proposes how texts go on (generate/drafts.h). */
#ifndef MOEC_CLI_SPECULATE_H
#define MOEC_CLI_SPECULATE_H

#include "cli/run_form.h"
#include "generate/drafts.h"
#include "text/tokenizer.h"
#include <stdio.h>

typedef struct speculation {
    const char *asked; /* lookup, off, a model's path, or NULL */
    draft_source source;
} speculation;

void speculate_parse(int *argc, char **argv, speculation *s);
/* Opens the model that was named, if one was, in the form that the large one is run in; tok: the large one's
 * tokenizer. Without a model nothing is opened. */
status speculate_open(speculation *s, const run_form *form, const tokenizer *tok);
void speculate_close(speculation *s);

/* ", 40 of 52 proposed tokens drawn" on `out`; nothing where nobody proposes. */
void speculate_print(const speculation *s, draft_figures figures, FILE *out);

#endif
