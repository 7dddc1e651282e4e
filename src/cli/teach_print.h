/* What `moec teach MODEL` says of what it did, on stdout. Private to cli/teach*.c. */
#ifndef MOEC_CLI_TEACH_PRINT_H
#define MOEC_CLI_TEACH_PRINT_H

#include "cli/teach_model.h"

void teach_print(const teach_request *q, const teach_totals *t);
void teach_print_json(const teach_request *q, const teach_totals *t);

#endif
