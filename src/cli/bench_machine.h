/* moec bench machine */
#ifndef MOEC_CLI_BENCH_MACHINE_H
#define MOEC_CLI_BENCH_MACHINE_H

#include "base/status.h"

status bench_machine_command(int argc, char **argv);

#endif
