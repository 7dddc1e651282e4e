/* Groups of ranks: what each has for each other one of its group goes there, in as many bytes as it said. */
#include "ranks.h"

#include "comm/group.h"
#include <stdlib.h>

enum { EACH = 3, MOST_ROWS = 9 };

/* What rank a has for rank b in row i; how many rows that are. */
static int32_t sent(int a, int b, int i) {
    return 10000 * a + 100 * b + i;
}
static int rows(int a, int b) {
    return (a * 5 + b * 3) % (MOST_ROWS + 1);
}

typedef struct study {
    int group;
    int32_t counts[MOST_RANKS][MOST_RANKS * EACH];
    int32_t received[MOST_RANKS][MOST_RANKS * MOST_ROWS];
} study;

static void trade(comm *c, void *context) {
    study *s = context;
    const comm_group g = {c, s->group};
    int32_t mine[MOST_RANKS * EACH], going[MOST_RANKS * MOST_ROWS];
    int64_t out[MOST_RANKS], in[MOST_RANKS], at = 0;
    for (int p = 0; p < g.count; p++) {
        const int other = comm_group_rank(&g, p);
        for (int i = 0; i < EACH; i++) mine[p * EACH + i] = sent(c->rank, other, i);
        for (int i = 0; i < rows(c->rank, other); i++) going[at++] = sent(c->rank, other, i);
        out[p] = rows(c->rank, other) * (int64_t)sizeof *going;
        in[p] = rows(other, c->rank) * (int64_t)sizeof *going;
    }
    if (comm_trade_counts(&g, mine, s->counts[c->rank], EACH) != STATUS_OK) abort();
    if (comm_trade(&g, kernels_for(DTYPE_F32), going, out, s->received[c->rank], in) != STATUS_OK) abort();
}

static void everyone_in_a_group_gets_what_is_theirs(void **state) {
    (void)state;
    for (int group = 1; group <= MOST_RANKS; group *= 2) {
        study s = {.group = group};
        run_ranks(MOST_RANKS, trade, &s);
        for (int r = 0; r < MOST_RANKS; r++) {
            int at = 0;
            for (int p = 0; p < group; p++) {
                const int other = r - r % group + p;
                for (int i = 0; i < EACH; i++) assert_int_equal(s.counts[r][p * EACH + i], sent(other, r, i));
                for (int i = 0; i < rows(other, r); i++) assert_int_equal(s.received[r][at++], sent(other, r, i));
            }
        }
    }
}

static void places_of_ranks(void **state) {
    (void)state;
    comm c = {.rank = 5, .ranks = 8};
    const comm_group none = {0}, one = {&c, 1}, two = {&c, 2}, all = {&c, 8};
    assert_true(comm_group_is_one(&none) && comm_group_is_one(&one) && !comm_group_is_one(&two));
    assert_int_equal(comm_group_position(&none), 0);
    assert_int_equal(comm_group_position(&one), 0);
    assert_int_equal(comm_group_position(&two), 1);
    assert_int_equal(comm_group_rank(&two, 0), 4);
    assert_int_equal(comm_group_position(&all), 5);
    assert_int_equal(comm_group_rank(&all, 0), 0);
}

static status lose(comm *c, const comm_message *send, int sends, const comm_message *receive, int receives) {
    (void)c;
    (void)send;
    (void)receive;
    return fail("%d of %d messages are lost", sends, sends + receives);
}

static void a_failure_comes_back(void **state) {
    (void)state;
    comm c = {.rank = 0, .ranks = 2, .exchange = lose};
    const comm_group g = {&c, 2};
    const int32_t mine[2] = {1, 2};
    int32_t theirs[2];
    assert_fails(comm_trade_counts(&g, mine, theirs, 1), "1 of 2 messages are lost");
    const int64_t bytes[2] = {4, 4};
    assert_fails(comm_trade(&g, kernels_for(DTYPE_F32), mine, bytes, theirs, bytes), "1 of 2 messages are lost");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everyone_in_a_group_gets_what_is_theirs),
        cmocka_unit_test(places_of_ranks),
        cmocka_unit_test(a_failure_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
