/* What moec pack says of a file. */
#ifndef MOEC_CLI_PACK_PRINT_H
#define MOEC_CLI_PACK_PRINT_H

#include "store/artifact.h"
#include "train/tune.h"

/* To stdout: component by component, or with `verbose` and an allocation tensor by tensor; then sizes. */
void pack_print(const pack_options *o, bool verbose, const pack_report *r);

/* What tuning found (train/tune.h). */
void pack_print_tuning(const tune_report *r);

#endif
