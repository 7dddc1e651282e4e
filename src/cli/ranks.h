/* The ranks of a command that works in several processes (command.takes_ranks); without a launcher, rank 0 of one. */
#ifndef MOEC_CLI_RANKS_H
#define MOEC_CLI_RANKS_H

#include "comm/comm.h"

/* Before the command takes its options out of argv. Each rank gets its cores, and rank 0 alone shows progress. What must be the same on all is compared: the program, the
 * instruction set, the arguments; the lowest rank that differs is named. */
status cli_ranks(int argc, char **argv, comm **out);
/* That a number which stands for `what` is rank 0's on all; where it takes work to make, only for several ranks. */
status cli_ranks_same(comm *ranks, const char *what, uint64_t number);
/* The same of a model's weights as they are stored, which are read for it; one rank has nothing to compare. path, which: as open_model takes
 * them. */
status cli_ranks_same_model(comm *ranks, const char *path, const char *which);

#endif
