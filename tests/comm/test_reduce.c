/* Sums over ranks: the same bits for any number of them. */
#include "ranks.h"

#include "base/random.h"
#include "comm/reduce.h"
#include <stdlib.h>

/* Stretches of one step's gradients, one of them larger than what is sent at once. */
enum { STRETCHES = 5, MICRO_BATCHES = 8 };
static const int64_t counts[STRETCHES] = {3, 1500000, 0, 70001, 16};

typedef struct step {
    const kernels *k;
    float *made[MICRO_BATCHES][STRETCHES]; /* what each micro-batch has */
    float *sum[STRETCHES];                 /* the owners' */
} step;

static float *normal(uint64_t seed, int64_t count) {
    float *x = xcalloc((size_t)count + 1, sizeof *x);
    rng r = rng_seed(seed);
    rng_normal(&r, x, (size_t)count, 1);
    return x;
}

static void reduce(comm *c, void *context) {
    step *s = context;
    comm_stretch stretches[STRETCHES];
    const int64_t rounds = MICRO_BATCHES / c->ranks;
    for (int i = 0; i < STRETCHES; i++)
        stretches[i] = (comm_stretch){.owner = (3 * i + 1) % c->ranks,
                                      .data = xcalloc((size_t)counts[i] + 1, sizeof(float)),
                                      .count = counts[i],
                                      .sum = rounds > 1 ? xcalloc((size_t)counts[i] + 1, sizeof(float)) : NULL};
    for (int64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < STRETCHES; i++)
            memcpy(stretches[i].data, s->made[round * c->ranks + c->rank][i], (size_t)counts[i] * sizeof(float));
        if (comm_reduce(c, s->k, stretches, STRETCHES, round, rounds) != STATUS_OK) abort();
    }
    for (int i = 0; i < STRETCHES; i++) {
        if (stretches[i].owner == c->rank) memcpy(s->sum[i], stretches[i].data, (size_t)counts[i] * sizeof(float));
        free(stretches[i].data);
        free(stretches[i].sum);
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
    for (int ranks = 1; ranks <= MOST_RANKS; ranks *= 2) {
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
