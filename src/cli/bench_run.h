/* `moec bench run`: a model that is run, timed. */
#ifndef MOEC_CLI_BENCH_RUN_H
#define MOEC_CLI_BENCH_RUN_H

#include "base/status.h"

/* argv[0] is "bench", argv[1] "run". */
status bench_run_command(int argc, char **argv);

#endif
