/* What an option that was not understood may have been meant for; private to cli/. */
#ifndef MOEC_CLI_HINTS_H
#define MOEC_CLI_HINTS_H

#include "cli/cli.h"

/* A usage error about argv[at], of which no option of c took notice: its value is missing, it takes none, it is a key of the
 * configuration or another program's name for something, or it is spelt like one that c's help lists. */
status hint_option(const command *c, int argc, char **argv, int at);

#endif
