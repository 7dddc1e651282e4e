#include "study/collectives.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

/* ---- ranks and ports ---- */

static int *resources(simulation *s, int count) {
    int *all = xcalloc((size_t)count, sizeof *all);
    for (int r = 0; r < count; r++) all[r] = simulation_resource(s, 1);
    return all;
}

/* A node's cards are one resource with as many servers. */
static int *cards(cluster *c) {
    int *all = xcalloc((size_t)c->ranks, sizeof *all);
    for (int r = 0; r < c->ranks; r++) {
        const bool own = c->m->cards == 0 || c->m->cards >= c->local, first = r % c->local == 0;
        all[r] = own || first ? simulation_resource(c->s, own ? 1 : c->m->cards) : all[r - 1];
    }
    return all;
}

cluster *cluster_create(const machine *m, simulation *s, int ranks, bool messages) {
    cluster *c = xcalloc(1, sizeof *c);
    *c = (cluster){.m = m, .s = s, .ranks = ranks, .messages = messages};
    c->local = ranks < m->node_ranks ? ranks : m->node_ranks;
    c->compute = resources(s, ranks);
    c->out = resources(s, ranks);
    c->in = resources(s, ranks);
    c->lane = resources(s, ranks);
    c->card_out = cards(c);
    c->card_in = cards(c);
    c->sent = xcalloc((size_t)ranks, sizeof *c->sent);
    c->sent_apart = xcalloc((size_t)ranks, sizeof *c->sent_apart);
    return c;
}

void cluster_destroy(cluster *c) {
    if (!c) return;
    free(c->compute);
    free(c->out);
    free(c->in);
    free(c->lane);
    free(c->card_out);
    free(c->card_in);
    free(c->sent);
    free(c->sent_apart);
    free(c);
}

static bool are_neighbours(const cluster *c, int a, int b) {
    return a / c->local == b / c->local;
}

static void count_sent(cluster *c, int from, double bytes, bool apart) {
    c->sent[from] += bytes;
    if (apart) c->sent_apart[from] += bytes;
}

/* `pieces` messages between two ranks, one behind the other. */
static int send(cluster *c, int from, int to, double bytes, double pieces, double add_seconds, int after) {
    const bool near = are_neighbours(c, from, to);
    const machine_link *l = near ? &c->m->inside : &c->m->between;
    const int ports[] = {near ? c->out[from] : c->card_out[from], near ? c->in[to] : c->card_in[to]};
    const double held = (pieces - 1) * l->overhead + machine_port_seconds(l, bytes);
    const int t = simulation_task(c->s, held, l->latency + add_seconds, ports, 2);
    simulation_after(c->s, t, after);
    count_sent(c, from, bytes, !near);
    return t;
}

static int member(rank_group g, int i) {
    return g.first + g.stride * i;
}

/* ---- how a group lies on nodes ---- */

typedef struct layout {
    int nodes, each; /* members of every node */
} layout;

static layout layout_of(const cluster *c, rank_group g) {
    const int last = member(g, g.count - 1);
    const int nodes = last / c->local - g.first / c->local + 1;
    if (nodes == 1) return (layout){1, g.count};
    if (g.stride >= c->local || c->local % g.stride != 0) return (layout){g.count, 1};
    const int each = c->local / g.stride;
    const bool whole = each * nodes == g.count && g.first % c->local < g.stride;
    return whole ? (layout){nodes, each} : (layout){g.count, 1};
}

/* How many of a node's ranks take turns on a card: all ranks do the same at the same time. */
static double turns(const cluster *c) {
    return c->m->cards == 0 ? 1 : ceil((double)c->local / c->m->cards);
}

static bool is_power_of_two(int n) {
    return (n & (n - 1)) == 0;
}

/* ---- formulas ---- */

double ring_seconds(const machine_link *l, int n, double bytes, double add) {
    return (n - 1) * (machine_port_seconds(l, bytes / n) + l->latency + bytes / n * add);
}

double halving_seconds(const machine_link *l, int n, double bytes, double add) {
    double seconds = 0;
    for (int part = n / 2; part > 0; part /= 2)
        seconds += machine_port_seconds(l, bytes * part / n) + l->latency + bytes * part / n * add;
    return seconds;
}

static machine_link between(const cluster *c) {
    machine_link l = c->m->between;
    l.overhead *= turns(c);
    l.rate /= turns(c);
    return l;
}

static bool takes_halving(const machine_link *l, int n, double bytes, double add) {
    return is_power_of_two(n) && halving_seconds(l, n, bytes, add) <= ring_seconds(l, n, bytes, add);
}

static double flat_seconds(const machine_link *l, int n, double bytes, double add) {
    if (n == 1) return 0;
    return takes_halving(l, n, bytes, add) ? halving_seconds(l, n, bytes, add) : ring_seconds(l, n, bytes, add);
}

double collective_seconds(const cluster *c, rank_group g, double bytes, double add) {
    const layout at = layout_of(c, g);
    const machine_link apart = between(c);
    return flat_seconds(&c->m->inside, at.each, bytes, add) + flat_seconds(&apart, at.nodes, bytes / at.each, add);
}

double all_to_all_seconds(const cluster *c, rank_group g, double bytes) {
    const layout at = layout_of(c, g);
    const machine_link apart = between(c);
    const double one = bytes / g.count, near = (at.each - 1) * machine_port_seconds(&c->m->inside, one);
    const double far = (g.count - at.each) * machine_port_seconds(&apart, one);
    return fmax(near + (at.each > 1 ? c->m->inside.latency : 0), far + (far > 0 ? apart.latency : 0));
}

double collective_messages(const cluster *c, rank_group g) {
    const layout at = layout_of(c, g);
    return (double)g.count * (at.each - 1 + at.nodes - 1);
}

/* Seconds that a rank's part of an exchange holds a port on each side: of its owner's, once for each other rank. */
static double part_seconds(const machine_link *l, double bytes, double pieces) {
    return pieces > 0 ? (pieces - 1) * l->overhead + machine_port_seconds(l, bytes) : 0;
}

double exchange_seconds(const cluster *c, exchange_direction to, const double *bytes, const double *pieces) {
    (void)to; /* what owners receive in one direction they send in the other */
    const int nodes = (c->ranks + c->local - 1) / c->local;
    const double servers = c->m->cards > 0 && c->m->cards < c->local ? c->m->cards : c->local;
    double *near = xcalloc((size_t)nodes, sizeof *near), *far = xcalloc((size_t)nodes, sizeof *far);
    double all = 0, longest = 0;
    for (int r = 0; r < c->ranks; r++) {
        near[r / c->local] += part_seconds(&c->m->inside, bytes[r], pieces[r]);
        far[r / c->local] += part_seconds(&c->m->between, bytes[r], pieces[r]);
        all += part_seconds(&c->m->between, bytes[r], pieces[r]);
    }
    for (int r = 0; r < c->ranks; r++) {
        const double own = part_seconds(&c->m->inside, bytes[r], pieces[r]), others = near[r / c->local] - own;
        const double near_port = fmax((c->local - 1) * own, others);
        const int apart = c->ranks - c->local;
        const double own_far = part_seconds(&c->m->between, bytes[r], pieces[r]);
        /* The owner's card, or the cards that its node shares, on either side. */
        const bool shares = servers < c->local;
        const double owners = apart * (shares ? far[r / c->local] / servers : own_far);
        const double rest = (all - far[r / c->local]) * (shares ? c->local / servers : 1);
        const double far_port = apart > 0 ? fmax(owners, rest) : 0;
        longest = fmax(longest, fmax(near_port > 0 ? near_port + c->m->inside.latency : 0,
                                     far_port > 0 ? far_port + c->m->between.latency : 0));
    }
    free(near);
    free(far);
    return longest;
}

/* ---- one task for all ---- */

/* Behind all of them, as long as the formula says. Every collective of these ranks comes behind the one before. */
static void together(cluster *c, rank_group g, double seconds, int *at) {
    const int begin = simulation_task(c->s, 0, 0, NULL, 0);
    const int whole = simulation_task(c->s, seconds, 0, &c->lane[g.first], 1);
    for (int i = 0; i < g.count; i++) simulation_after(c->s, begin, at[member(g, i)]);
    simulation_after(c->s, whole, begin);
    for (int i = 0; i < g.count; i++) at[member(g, i)] = whole;
}

static void count_together(cluster *c, rank_group g, double bytes) {
    const layout at = layout_of(c, g);
    const double near = bytes * (at.each - 1) / at.each, far = bytes / at.each * (at.nodes - 1) / at.nodes;
    for (int i = 0; i < g.count; i++) {
        count_sent(c, member(g, i), near, false);
        count_sent(c, member(g, i), far, true);
    }
}

/* ---- messages ---- */

static void ring(cluster *c, rank_group g, double bytes, double add, int *at) {
    int *arrived = xcalloc((size_t)g.count, sizeof *arrived);
    for (int step = 1; step < g.count; step++) {
        for (int i = 0; i < g.count; i++) {
            const int next = (i + 1) % g.count;
            arrived[next] =
                send(c, member(g, i), member(g, next), bytes / g.count, 1, add * bytes / g.count, at[member(g, i)]);
        }
        for (int i = 0; i < g.count; i++) at[member(g, i)] = simulation_join(c->s, at[member(g, i)], arrived[i]);
    }
    free(arrived);
}

/* With partners at distance count/2 first, which have half of the bytes, or last. */
static void halving(cluster *c, rank_group g, double bytes, double add, bool doubling, int *at) {
    int *arrived = xcalloc((size_t)g.count, sizeof *arrived);
    for (int done = 1; done < g.count; done *= 2) {
        const int distance = doubling ? done : g.count / 2 / done;
        const double part = bytes * distance / g.count;
        for (int i = 0; i < g.count; i++)
            arrived[i ^ distance] =
                send(c, member(g, i), member(g, i ^ distance), part, 1, add * part, at[member(g, i)]);
        for (int i = 0; i < g.count; i++) at[member(g, i)] = simulation_join(c->s, at[member(g, i)], arrived[i]);
    }
    free(arrived);
}

static void flat(cluster *c, rank_group g, const machine_link *l, double bytes, double add, bool doubling, int *at) {
    if (g.count == 1) return;
    if (takes_halving(l, g.count, bytes, add))
        halving(c, g, bytes, add, doubling, at);
    else
        ring(c, g, bytes, add, at);
}

/* Inside all nodes of the group, or across them. */
static void in_nodes(cluster *c, rank_group g, layout l, double bytes, double add, bool gathers, int *at) {
    for (int node = 0; node < l.nodes; node++)
        flat(c, (rank_group){member(g, node * l.each), g.stride, l.each}, &c->m->inside, bytes, add, gathers, at);
}

static void across(cluster *c, rank_group g, layout l, double bytes, double add, bool gathers, int *at) {
    const machine_link apart = between(c);
    for (int i = 0; i < l.each; i++)
        flat(c, (rank_group){member(g, i), g.stride * l.each, l.nodes}, &apart, bytes / l.each, add, gathers, at);
}

void collective_reduce_scatter(cluster *c, rank_group g, double bytes, double add, int *at) {
    const layout l = layout_of(c, g);
    if (g.count == 1) return;
    if (!c->messages) {
        count_together(c, g, bytes);
        together(c, g, collective_seconds(c, g, bytes, add), at);
        return;
    }
    in_nodes(c, g, l, bytes, add, false, at);
    across(c, g, l, bytes, add, false, at);
}

void collective_all_gather(cluster *c, rank_group g, double bytes, int *at) {
    const layout l = layout_of(c, g);
    if (g.count == 1) return;
    if (!c->messages) {
        count_together(c, g, bytes);
        together(c, g, collective_seconds(c, g, bytes, 0), at);
        return;
    }
    across(c, g, l, bytes, 0, true, at);
    in_nodes(c, g, l, bytes, 0, true, at);
}

static int *copy_of(const cluster *c, const int *at) {
    int *copy = xcalloc((size_t)c->ranks, sizeof *copy);
    for (int r = 0; r < c->ranks; r++) copy[r] = at[r];
    return copy;
}

/* As many messages of one rank are its part: a task without a duration behind all of them. */
static void gather_ends(cluster *c, int *ends, int rank, int message) {
    if (ends[rank] < 0) ends[rank] = simulation_task(c->s, 0, 0, NULL, 0);
    simulation_after(c->s, ends[rank], message);
}

static void take_ends(cluster *c, int *ends, int *at) {
    for (int r = 0; r < c->ranks; r++)
        if (ends[r] >= 0) {
            simulation_after(c->s, ends[r], at[r]);
            at[r] = ends[r];
        }
    free(ends);
}

void collective_all_to_all(cluster *c, rank_group g, double bytes, int *at) {
    if (g.count == 1) return;
    if (!c->messages) {
        const layout l = layout_of(c, g);
        for (int i = 0; i < g.count; i++) {
            count_sent(c, member(g, i), bytes / g.count * (l.each - 1), false);
            count_sent(c, member(g, i), bytes / g.count * (g.count - l.each), true);
        }
        together(c, g, all_to_all_seconds(c, g, bytes), at);
        return;
    }
    int *before = copy_of(c, at), *ends = simulation_nothing(c->ranks);
    for (int step = 1; step < g.count; step++)
        for (int i = 0; i < g.count; i++) {
            const int from = member(g, i), to = member(g, (i + step) % g.count);
            const int sent = send(c, from, to, bytes / g.count, 1, 0, before[from]);
            gather_ends(c, ends, from, sent);
            gather_ends(c, ends, to, sent);
        }
    take_ends(c, ends, at);
    free(before);
}

static void count_exchange(cluster *c, exchange_direction to, const double *bytes) {
    double all = 0;
    for (int r = 0; r < c->ranks; r++) all += bytes[r];
    for (int r = 0; r < c->ranks; r++) {
        double near = 0;
        for (int n = r / c->local * c->local; n < c->ranks && are_neighbours(c, n, r); n++) near += bytes[n];
        const int apart = c->ranks - c->local;
        count_sent(c, r, to == EXCHANGE_TO_OWNERS ? near - bytes[r] : bytes[r] * (c->local - 1), false);
        count_sent(c, r, to == EXCHANGE_TO_OWNERS ? all - near : bytes[r] * apart, true);
    }
}

void collective_exchange(cluster *c, exchange_direction to, const double *bytes, const double *pieces, int *at) {
    if (c->ranks == 1) return;
    if (!c->messages) {
        count_exchange(c, to, bytes);
        together(c, (rank_group){0, 1, c->ranks}, exchange_seconds(c, to, bytes, pieces), at);
        return;
    }
    int *before = copy_of(c, at), *ends = simulation_nothing(c->ranks);
    for (int step = 1; step < c->ranks; step++)
        for (int owner = 0; owner < c->ranks; owner++) {
            const int other = (owner + step) % c->ranks;
            if (pieces[owner] <= 0) continue;
            const int from = to == EXCHANGE_TO_OWNERS ? other : owner,
                      target = to == EXCHANGE_TO_OWNERS ? owner : other;
            const int sent = send(c, from, target, bytes[owner], pieces[owner], 0, before[from]);
            gather_ends(c, ends, from, sent);
            gather_ends(c, ends, target, sent);
        }
    take_ends(c, ends, at);
    free(before);
}
