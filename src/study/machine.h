/* A machine of many ranks, as few numbers: what `moec simulate` times a step with. configs/machines/ has some, each with where its
 * numbers come from; `moec bench machine` measures one.
 *
 *     name: two cores
 *     node_ranks: 2             # ranks of one node
 *     shared: true              # products, memory, memory_rate are of the node, divided by the ranks that there are on it
 *     products: 150e9           # floating-point operations a second
 *     memory_rate: 10e9         # bytes a second
 *     inside: {overhead: 1e-6, latency: 2e-6, rate: 5e9}      # messages between ranks of a node
 *     between: {overhead: 5e-6, latency: 2e-5, rate: 1e9}     # and of two nodes
 *
 * Time of a computation of F operations over B bytes in K kernels: F / (products · efficiency · fill) + B / (memory_rate · efficiency)
 * + K · kernel_seconds. A product's output of n rows and m columns is cut into tiles, of which `units` are worked on at a time: fill is
 * tiles / (units · ⌈tiles / units⌉).
 *
 * Time of a message of B bytes: it holds a port out of its sender and one into its receiver for overhead + B / (rate · efficiency), and
 * is there `latency` later. Ranks have ports of their own for ranks of their node; for others a node has `cards`, which its ranks share. */
#ifndef MOEC_STUDY_MACHINE_H
#define MOEC_STUDY_MACHINE_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct machine_link {
    double overhead, latency; /* seconds */
    double rate;              /* bytes/s, of one port in one direction */
    double efficiency;        /* of rate, that long messages see */
} machine_link;

typedef struct machine {
    char *name, *source; /* source NULL: nothing is said */
    int node_ranks;
    bool shared;
    double products, product_efficiency;
    double updates;  /* the same in Newton–Schulz, whose products are symmetric or rounder; 0: as products */
    int units, tile; /* 1 unit: a product of any size fills it */
    double memory_rate, memory_efficiency;
    double memory;         /* bytes that a rank, or a shared node, has; 0: not known */
    double kernel_seconds; /* to begin one */
    double block_kernels;  /* of a block's forward pass */
    double act_bytes;      /* of a number in activations: 2 or 4 */
    machine_link inside, between;
    int cards;     /* of a node, to other nodes; 0: one for each rank */
    double jitter; /* standard deviation of a rank's time for a step's computing, of that time */
} machine;

status machine_load(machine *m, const char *path);
status machine_parse(machine *m, const char *where, const char *yaml, size_t bytes);
/* The same as a file that machine_load reads. */
status machine_write(const machine *m, const char *path);
void machine_free(machine *m);

/* Seconds of computing by one of `local` ranks on a node. */
double machine_product_seconds(const machine *m, int local, double flops, double rows, double cols);
double machine_update_seconds(const machine *m, int local, double flops, double rows, double cols);
double machine_memory_seconds(const machine *m, int local, double bytes);
double machine_kernel_seconds(const machine *m, double kernels);
/* Seconds that a message holds its ports. */
double machine_port_seconds(const machine_link *l, double bytes);

#endif
