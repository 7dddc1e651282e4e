/* Sums over ranks: the same bits for any number of them. */
#include "ranks.h"

#include "base/random.h"
#include "comm/reduce.h"
#include <stdlib.h>

/* Stretches of one step's gradients, some of them larger than what is sent at once, and the stages from which on they are final. */
enum { STRETCHES = 7, MICRO_BATCHES = 8, STAGES = 4 };
static const int64_t counts[STRETCHES] = {3, 9000, 1500000, 0, 70001, 16, 2500000};
static const int stages[STRETCHES] = {0, 1, 1, 1, 2, 3, 3};
/* Ranks, and of them in a group. */
enum { RUNS = 7 };
static const int layouts[RUNS][2] = {{1, 1}, {2, 1}, {4, 1}, {8, 1}, {2, 2}, {4, 2}, {8, 8}};

typedef struct step {
    const kernels *k;
    float *made[MICRO_BATCHES][STRETCHES]; /* what each micro-batch has */
    float *sum[STRETCHES];                 /* the owners' */
    int group;                             /* of ranks, of which one has every other stretch for all */
    int looks;                             /* of the ranks between two stages, each another number of times */
} step;

static float *normal(uint64_t seed, int64_t count) {
    float *x = xcalloc((size_t)count + 1, sizeof *x);
    rng r = rng_seed(seed);
    rng_normal(&r, x, (size_t)count, 1);
    return x;
}

static float *room(int64_t count) {
    return xcalloc((size_t)count + 1, sizeof(float));
}

/* A stretch as rank c has it. */
static comm_stretch stretch_of(const comm *c, const step *s, int i, bool several) {
    const int group = i % 2 == 1 ? s->group : 1, owner = (3 * i + 1) % c->ranks;
    const bool held = c->rank % group == owner % group;
    return (comm_stretch){.owner = owner,
                          .stage = stages[i],
                          .data = held ? room(counts[i]) : NULL,
                          .count = counts[i],
                          .sum = several && owner == c->rank ? room(counts[i]) : NULL,
                          .group = group,
                          .more = held && group > 1 ? room(counts[i] * (group - 1)) : NULL};
}

/* What is not computed yet: whoever sends it has no number in the end. */
static void spoil(const comm_stretch *stretch) {
    if (!stretch->data) return;
    memset(stretch->data, 0xff, (size_t)stretch->count * sizeof(float));
    if (stretch->group > 1)
        memset(stretch->more, 0xff, (size_t)(stretch->count * (stretch->group - 1)) * sizeof(float));
}

/* The gradients of one round, where they are held. */
static void make(const comm *c, const step *s, const comm_stretch *stretch, int i, int64_t round) {
    const size_t bytes = (size_t)counts[i] * sizeof(float);
    const int first = stretch->group > 1 ? c->rank - c->rank % stretch->group : c->rank;
    if (!stretch->data) return;
    memcpy(stretch->data, s->made[round * c->ranks + first][i], bytes);
    for (int place = 1; place < stretch->group; place++)
        memcpy(stretch->more + (place - 1) * counts[i], s->made[round * c->ranks + first + place][i], bytes);
}

/* A round's backward: stage by stage, with looks in between, and an exchange of something else. */
static void compute(comm *c, const step *s, comm_reduction *r, const comm_stretch *stretches, int64_t round) {
    int64_t other = round, all[MOST_RANKS];
    for (int i = 0; i < STRETCHES; i++) spoil(&stretches[i]);
    for (int stage = 0; stage < STAGES; stage++) {
        for (int i = 0; i < STRETCHES; i++)
            if (stages[i] == stage) make(c, s, &stretches[i], i, round);
        if (s->looks && comm_reduction_reach(r, stage) != STATUS_OK) abort();
        for (int look = 0; look < s->looks * c->rank; look++)
            if (comm_reduction_reach(r, -1) != STATUS_OK) abort();
        if (comm_gather(c, &other, all, sizeof other) != STATUS_OK || all[c->ranks - 1] != round) abort();
    }
}

static void reduce(comm *c, void *context) {
    step *s = context;
    comm_stretch stretches[STRETCHES];
    comm_reduction *r = comm_reduction_create(c, s->k);
    const int64_t rounds = MICRO_BATCHES / c->ranks;
    for (int i = 0; i < STRETCHES; i++) stretches[i] = stretch_of(c, s, i, rounds > 1);
    /* A plan of less comes before: its buffers do not do. */
    if (comm_reduction_plan(r, stretches, 1) != STATUS_OK) abort();
    if (comm_reduction_plan(r, stretches, STRETCHES) != STATUS_OK) abort();
    for (int64_t round = 0; round < rounds; round++) {
        comm_reduction_begin(r, round, rounds);
        compute(c, s, r, stretches, round);
        if (comm_reduction_finish(r) != STATUS_OK) abort();
    }
    comm_reduction_destroy(r);
    for (int i = 0; i < STRETCHES; i++) {
        if (stretches[i].owner == c->rank) memcpy(s->sum[i], stretches[i].data, (size_t)counts[i] * sizeof(float));
        free(stretches[i].data);
        free(stretches[i].sum);
        free(stretches[i].more);
    }
}

static void sums_do_not_depend_on_ranks(void **state) {
    (void)state;
    step s = {.k = kernels_for(DTYPE_F32)};
    float *expected[STRETCHES];
    for (int i = 0; i < STRETCHES; i++) {
        s.sum[i] = xcalloc((size_t)counts[i] + 1, sizeof(float));
        for (int b = 0; b < MICRO_BATCHES; b++) s.made[b][i] = normal((uint64_t)(10 * i + b), counts[i]);
        expected[i] = xcalloc((size_t)counts[i] + 1, sizeof(float));
        for (int64_t j = 0; j < counts[i]; j++) {
            expected[i][j] = s.made[0][i][j];
            for (int b = 1; b < MICRO_BATCHES; b++) expected[i][j] += s.made[b][i][j];
        }
    }
    for (int run = 0; run < 2 * RUNS; run++) {
        const int ranks = layouts[run % RUNS][0];
        s.group = layouts[run % RUNS][1];
        s.looks = run < RUNS ? 0 : 3;
        for (int i = 0; i < STRETCHES; i++) memset(s.sum[i], 0xff, (size_t)counts[i] * sizeof(float));
        run_ranks(ranks, reduce, &s);
        for (int i = 0; i < STRETCHES; i++)
            assert_memory_equal(s.sum[i], expected[i], (size_t)counts[i] * sizeof(float));
    }
    for (int i = 0; i < STRETCHES; i++) {
        for (int b = 0; b < MICRO_BATCHES; b++) free(s.made[b][i]);
        free(s.sum[i]);
        free(expected[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_do_not_depend_on_ranks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
