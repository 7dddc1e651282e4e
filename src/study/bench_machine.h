/* This machine as `moec simulate` takes one (machine.h): products, memory, and messages between the ranks that were started. */
#ifndef MOEC_STUDY_BENCH_MACHINE_H
#define MOEC_STUDY_BENCH_MACHINE_H

#include "kernel/kernel.h"
#include "study/machine.h"

enum { MESSAGE_SIZES = 8 };

typedef struct message_times {
    bool found;                                          /* there are two such ranks */
    double bytes[MESSAGE_SIZES], seconds[MESSAGE_SIZES]; /* there and back, halved: the fastest of several */
    /* overhead: of one more small message at the same time; latency: the rest of a small one's seconds; rate: the best of the longest */
    machine_link link;
} message_times;

typedef struct machine_bench {
    machine found;                 /* of rank 0 */
    message_times inside, between; /* two ranks of one machine; of two */
    int ranks;
} machine_bench;

/* For all ranks. The fastest of several times everywhere, so that other programs on the machine matter less; what is of a node is summed
 * over its ranks, which measure at the same time. The names are strings of the result's own: machine_free it. */
status bench_machine(const kernels *k, int64_t memory_bytes, machine_bench *out);

#endif
