/* What ranks do together, as messages of a simulation, and as the formulas that these are exact for.
 *
 * n ranks, B bytes at each of them, o, L, 1/G of a link (machine.h), α = o + L, γ seconds to add a byte:
 *   ring         reduce-scatter (n−1)(α + B/n (G + γ)), all-gather the same without γ          Thakur et al. 2005, §4.1 and 4.4
 *   halving      ⌈log₂ n⌉ α + (n−1)/n · B (G + γ), n a power of two; all-gather by doubling     the same, §4.1 and 4.4
 *   all-to-all   (n−1)(o + B/n G) + L, pair by pair, all posted at once                         the same, §4.2, with LogGP's L once
 * A reduce-scatter and an all-gather are an all-reduce (Rabenseifner). Over several nodes: inside each node, then each with its like on
 * the other nodes over a part of the bytes, which uses all of a node's cards (Jia et al. 2018, arXiv 1807.11205, §3.3).
 *   exchange     what comm/comm.h does: every message goes straight to its rank. The fullest port decides:
 *                max over ports of Σ (o + bytes G) + L, which a schedule of single messages reaches where all ports are alike, and else
 *                misses by less than twice (a list schedule: Graham 1966)
 * Sums at a rank that are not γ's are the caller's. */
#ifndef MOEC_STUDY_COLLECTIVES_H
#define MOEC_STUDY_COLLECTIVES_H

#include "study/event_sim.h"
#include "study/machine.h"

/* Ranks on nodes, with their ports. */
typedef struct cluster {
    const machine *m;
    simulation *s;
    int ranks;
    int local;                 /* ranks of a node */
    bool messages;             /* simulate each one; else a collective is one task as long as its formula says */
    int *compute;              /* [ranks] resources: the rank itself, */
    int *out, *in;             /* its ports to its node, */
    int *card_out, *card_in;   /* and those to others, which ranks may share */
    int *lane;                 /* [ranks] what holds a rank's collectives apart where they are single tasks */
    double *sent, *sent_apart; /* [ranks] bytes, so far: all, and to other nodes */
} cluster;
cluster *cluster_create(const machine *m, simulation *s, int ranks, bool messages);
void cluster_destroy(cluster *c);

/* Ranks that do something together: first, first + stride, … */
typedef struct rank_group {
    int first, stride, count;
} rank_group;

/* Each of these begins for a rank behind task at[rank] (−1: at once), and leaves there the task behind which it has its part. */
void collective_reduce_scatter(cluster *c, rank_group g, double bytes, double add_seconds_per_byte, int *at);
void collective_all_gather(cluster *c, rank_group g, double bytes, int *at);
void collective_all_to_all(cluster *c, rank_group g, double bytes, int *at);

/* An exchange in which each rank has something with every other one: all send it bytes[r] in pieces[r] messages, or it sends them that. */
typedef enum exchange_direction { EXCHANGE_TO_OWNERS, EXCHANGE_FROM_OWNERS } exchange_direction;
void collective_exchange(cluster *c, exchange_direction to, const double *bytes, const double *pieces, int *at);

/* The formulas: of one link, and of a group over nodes. halving: n is a power of two. */
double ring_seconds(const machine_link *l, int n, double bytes, double add_seconds_per_byte);
double halving_seconds(const machine_link *l, int n, double bytes, double add_seconds_per_byte);
double all_to_all_seconds(const cluster *c, rank_group g, double bytes);
double collective_seconds(const cluster *c, rank_group g, double bytes, double add_seconds_per_byte);
double exchange_seconds(const cluster *c, exchange_direction to, const double *bytes, const double *pieces);
/* How many messages an all-gather or reduce-scatter is. */
double collective_messages(const cluster *c, rank_group g);

#endif
