/* What the files of this folder share. */
#ifndef MOEC_COMM_PARTS_H
#define MOEC_COMM_PARTS_H

#include "comm/comm.h"

/* Messages of an exchange, gathered one by one. */
typedef struct message_list {
    comm_message *items;
    int count, capacity;
} message_list;
void message_list_add(message_list *l, int rank, const void *data, size_t bytes);

/* What a launcher says in the environment of the processes that it starts. */
typedef struct launch {
    const char *by; /* the variable that says it; NULL: no launcher, or of one process */
    int rank, ranks;
} launch;
launch launch_found(void);

#ifdef MOEC_MPI
/* Fills *c. The launcher's number of ranks must be MPI's. */
status comm_open_mpi(comm *c, const launch *l);
#endif

#endif
