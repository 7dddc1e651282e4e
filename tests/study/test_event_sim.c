/* Tasks, resources and messages against what can be worked out by hand, and collectives against their formulas. */
#include "test.h"

#include "study/collectives.h"
#include <math.h>

#define assert_near(found, expected) assert_true(fabs((found) - (expected)) <= 1e-9 * fabs(expected))

/* ---- tasks ---- */

static void tasks_wait_for_tasks_and_resources(void **state) {
    (void)state;
    simulation *s = simulation_create();
    const int one = simulation_resource(s, 1), two = simulation_resource(s, 2);
    const int a = simulation_task(s, 2, 0.5, &one, 1), b = simulation_task(s, 3, 0, &one, 1);
    const int after = simulation_task(s, 1, 0, NULL, 0);
    int shared[3];
    for (int i = 0; i < 3; i++) shared[i] = simulation_task(s, 4, 0, &two, 1);
    simulation_after(s, after, a);
    simulation_after(s, after, -1);
    assert_ok(simulation_run(s));
    assert_near(simulation_done(s, a), 2.5);
    assert_near(simulation_begun(s, b), 2.0); /* the resource is free before the latency is over */
    assert_near(simulation_done(s, after), 3.5);
    assert_near(simulation_done(s, shared[1]), 4.0);
    assert_near(simulation_done(s, shared[2]), 8.0);
    assert_near(simulation_end(s), 8.0);
    simulation_destroy(s);
}

/* Of two that wait for one resource the one that could have begun first has it, though it was made later. */
static void who_waits_longer_comes_first(void **state) {
    (void)state;
    simulation *s = simulation_create();
    const int r = simulation_resource(s, 1), held = simulation_task(s, 5, 0, &r, 1);
    const int second = simulation_task(s, 2, 0, NULL, 0), late = simulation_task(s, 1, 0, &r, 1);
    const int first = simulation_task(s, 1, 0, NULL, 0), early = simulation_task(s, 1, 0, &r, 1);
    simulation_after(s, late, second);
    simulation_after(s, early, first);
    assert_ok(simulation_run(s));
    assert_near(simulation_done(s, held), 5.0);
    assert_near(simulation_begun(s, early), 5.0);
    assert_near(simulation_begun(s, late), 6.0);
    simulation_destroy(s);
}

/* Both resources or none: one that is free is left to others meanwhile. */
static void two_resources_are_taken_together(void **state) {
    (void)state;
    simulation *s = simulation_create();
    const int r[] = {simulation_resource(s, 1), simulation_resource(s, 1)};
    simulation_task(s, 4, 0, &r[1], 1);
    const int both = simulation_task(s, 1, 0, r, 2), other = simulation_task(s, 2, 0, &r[0], 1);
    assert_ok(simulation_run(s));
    assert_near(simulation_begun(s, other), 0.0);
    assert_near(simulation_begun(s, both), 4.0);
    simulation_destroy(s);
}

static void a_circle_is_an_error(void **state) {
    (void)state;
    simulation *s = simulation_create();
    const int a = simulation_task(s, 1, 0, NULL, 0), b = simulation_task(s, 1, 0, NULL, 0);
    simulation_task(s, 1, 0, NULL, 0);
    simulation_after(s, a, b);
    simulation_after(s, b, a);
    assert_fails(simulation_run(s), "2 of 3");
    simulation_destroy(s);
}

/* ---- collectives ---- */

enum { MOST = 64 };

static machine machine_of(int node_ranks, int cards) {
    return (machine){.node_ranks = node_ranks,
                     .products = 1e12,
                     .product_efficiency = 1,
                     .units = 1,
                     .memory_rate = 1e10,
                     .memory_efficiency = 1,
                     .cards = cards,
                     .inside = {.overhead = 1e-6, .latency = 3e-6, .rate = 4e9, .efficiency = 0.5},
                     .between = {.overhead = 2e-6, .latency = 1e-5, .rate = 1e9, .efficiency = 0.8}};
}

typedef enum what { REDUCE_SCATTER, ALL_GATHER, ALL_TO_ALL } what;

/* Seconds of a collective of all ranks; *sent: bytes of all of them. */
static double simulated(const machine *m, int ranks, what w, double bytes, double add, bool messages, double *sent) {
    simulation *s = simulation_create();
    cluster *c = cluster_create(m, s, ranks, messages);
    const rank_group all = {0, 1, ranks};
    int at[MOST];
    for (int r = 0; r < ranks; r++) at[r] = simulation_task(s, 1, 0, NULL, 0);
    if (w == REDUCE_SCATTER) collective_reduce_scatter(c, all, bytes, add, at);
    if (w == ALL_GATHER) collective_all_gather(c, all, bytes, at);
    if (w == ALL_TO_ALL) collective_all_to_all(c, all, bytes, at);
    assert_ok(simulation_run(s));
    const double end = simulation_end(s);
    *sent = 0;
    for (int r = 0; r < ranks; r++) *sent += c->sent[r];
    cluster_destroy(c);
    simulation_destroy(s);
    return end - 1;
}

static double log2_of(int n) {
    return round(log2(n));
}

/* In one node: the formulas of Thakur et al., written down here once more. */
static void one_node_is_as_the_formulas_say(void **state) {
    (void)state;
    const double add = 1e-10, sizes[] = {64, 1e4, 3e7};
    for (int n = 2; n <= MOST; n++)
        for (int i = 0; i < 3; i++) {
            const machine m = machine_of(n, 0);
            const double B = sizes[i], G = 1 / 2e9, alpha = 4e-6;
            const double ring = (n - 1) * (alpha + B / n * (G + add)), gather = (n - 1) * (alpha + B / n * G);
            const bool power = (n & (n - 1)) == 0;
            const double halving = log2_of(n) * alpha + (n - 1.0) / n * B * (G + add);
            double sent;
            assert_near(ring_seconds(&m.inside, n, B, add), ring);
            if (power) assert_near(halving_seconds(&m.inside, n, B, add), halving);
            assert_near(simulated(&m, n, REDUCE_SCATTER, B, add, true, &sent), power ? halving : ring);
            assert_near(sent, (n - 1) * B);
            assert_near(simulated(&m, n, ALL_GATHER, B, 0, true, &sent),
                        power ? log2_of(n) * alpha + (n - 1.0) / n * B * G : gather);
            assert_near(simulated(&m, n, ALL_TO_ALL, B, 0, true, &sent), (n - 1) * (1e-6 + B / n * G) + 3e-6);
        }
}

/* Over nodes: inside, then across with a part of the bytes; and as one task the same. */
static void nodes_are_as_the_formulas_say(void **state) {
    (void)state;
    for (int node = 1; node <= 8; node *= 2)
        for (int nodes = 2; nodes <= 8; nodes++) {
            const machine m = machine_of(node, 0);
            const int n = node * nodes;
            const double B = 2e6, inside = node > 1 ? halving_seconds(&m.inside, node, B, 0) : 0;
            const bool power = (nodes & (nodes - 1)) == 0;
            const double across =
                power ? halving_seconds(&m.between, nodes, B / node, 0) : ring_seconds(&m.between, nodes, B / node, 0);
            double sent, same;
            assert_near(simulated(&m, n, REDUCE_SCATTER, B, 0, true, &sent), inside + across);
            assert_near(simulated(&m, n, REDUCE_SCATTER, B, 0, false, &same), inside + across);
            assert_near(sent, same);
            assert_near(simulated(&m, n, ALL_GATHER, B, 0, true, &sent), inside + across);
        }
}

/* Messages of an all-to-all over nodes meet at cards: at least what the fullest one needs, less than twice that. */
static void cards_are_shared(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++)
        for (int node = 2; node <= 8; node *= 2) {
            const machine m = machine_of(node, shared ? node / 2 : 0);
            double sent;
            const double one = simulated(&m, 4 * node, ALL_TO_ALL, 4e6, 0, false, &sent);
            const double found = simulated(&m, 4 * node, ALL_TO_ALL, 4e6, 0, true, &sent);
            assert_true(found >= one * (1 - 1e-9) && found < 2 * one);
        }
}

static double exchanged(const machine *m, int ranks, exchange_direction to, const double *bytes, const double *pieces,
                        bool messages) {
    simulation *s = simulation_create();
    cluster *c = cluster_create(m, s, ranks, messages);
    int at[MOST];
    for (int r = 0; r < ranks; r++) at[r] = -1;
    collective_exchange(c, to, bytes, pieces, at);
    assert_ok(simulation_run(s));
    const double end = simulation_end(s);
    cluster_destroy(c);
    simulation_destroy(s);
    return end;
}

static void exchanges_fill_the_fullest_port(void **state) {
    (void)state;
    for (int n = 2; n <= 32; n *= 2) {
        double even[MOST], uneven[MOST], pieces[MOST];
        for (int r = 0; r < n; r++) even[r] = 1e5, uneven[r] = r % 3 ? 1e4 : 1e6, pieces[r] = 1;
        const machine alone = machine_of(n, 0), nodes = machine_of(n < 4 ? n : n / 4, 0);
        for (exchange_direction to = EXCHANGE_TO_OWNERS; to <= EXCHANGE_FROM_OWNERS; to++) {
            assert_near(exchanged(&alone, n, to, even, pieces, true), (n - 1) * (1e-6 + 1e5 / 2e9) + 3e-6);
            assert_near(exchanged(&alone, n, to, even, pieces, false), (n - 1) * (1e-6 + 1e5 / 2e9) + 3e-6);
            const double one = exchanged(&nodes, n, to, uneven, pieces, false);
            const double found = exchanged(&nodes, n, to, uneven, pieces, true);
            assert_true(found >= one * (1 - 1e-9) && found < 2 * one);
        }
        pieces[0] = 0; /* who has nothing is sent nothing */
        even[0] = 0;
        assert_true(exchanged(&alone, n, EXCHANGE_TO_OWNERS, even, pieces, true) > 0);
    }
}

/* One rank that is late holds up a ring by as much. */
static void who_is_late_is_waited_for(void **state) {
    (void)state;
    const machine m = machine_of(6, 0);
    simulation *s = simulation_create();
    cluster *c = cluster_create(&m, s, 6, true);
    int at[6];
    for (int r = 0; r < 6; r++) at[r] = simulation_task(s, r == 4 ? 2 : 1, 0, NULL, 0);
    collective_reduce_scatter(c, (rank_group){0, 1, 6}, 6e6, 0, at);
    assert_ok(simulation_run(s));
    assert_near(simulation_end(s), 2 + ring_seconds(&m.inside, 6, 6e6, 0));
    cluster_destroy(c);
    simulation_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_wait_for_tasks_and_resources),
        cmocka_unit_test(who_waits_longer_comes_first),
        cmocka_unit_test(two_resources_are_taken_together),
        cmocka_unit_test(a_circle_is_an_error),
        cmocka_unit_test(one_node_is_as_the_formulas_say),
        cmocka_unit_test(nodes_are_as_the_formulas_say),
        cmocka_unit_test(cards_are_shared),
        cmocka_unit_test(exchanges_fill_the_fullest_port),
        cmocka_unit_test(who_is_late_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
