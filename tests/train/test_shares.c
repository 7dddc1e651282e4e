/* Which rank has which parameter's means: evenly by bytes, and the same answer wherever it is asked. */
#include "test.h"

#include "nn/freeze.h"
#include "nn/plan.h"
#include "train/config.h"
#include "train/shares.h"

/* The largest rank's share of all means, and the largest parameter's. */
static void find_shares(const model *m, const optimizer_config *c, const int *owner, int ranks, double share[2]) {
    double of_rank[8] = {0}, all = 0;
    share[0] = share[1] = 0;
    for (int i = 0; i < m->param_count; i++) {
        const double count = (double)(optimizer_arrays(c, optimizer_group(m->params[i])) * param_count(m->params[i]));
        assert_in_range(owner[i], 0, ranks - 1);
        of_rank[owner[i]] += count;
        all += count;
        share[1] = count > share[1] ? count : share[1];
    }
    for (int r = 0; r < ranks; r++) share[0] = of_rank[r] > share[0] ? of_rank[r] : share[0];
    share[0] /= all;
    share[1] /= all;
}

/* The model of #2102 as it is after its upcycle: at four ranks none has more than 30 % of the means. */
static void shares_are_even(void **state) {
    (void)state;
    run_config c = run_config_default();
    assert_ok(run_config_load(&c, "configs/upcycle-9l.yaml", NULL, 0));
    model *m;
    const model_config config = model_after_events(&c.events, &c.model);
    assert_ok(model_create(&m, &config, kernels_for(DTYPE_F32), MODEL_TRAIN));
    int *owner = xcalloc((size_t)m->param_count, sizeof *owner),
        *again = xcalloc((size_t)m->param_count, sizeof *again);
    for (int ranks = 1; ranks <= 8; ranks *= 2) {
        double share[2];
        shares_assign(&c.optimizer, m, ranks, owner);
        shares_assign(&c.optimizer, m, ranks, again);
        assert_memory_equal(owner, again, (size_t)m->param_count * sizeof *owner);
        find_shares(m, &c.optimizer, owner, ranks, share);
        print_message("%d ranks: at most %.3f of the means\n", ranks, share[0]);
        const double even = 1.05 / ranks;
        assert_true(share[0] <= (share[1] > even ? share[1] : even));
    }
    free(owner);
    free(again);
    model_destroy(m);
    run_config_free(&c);
}

/* An expert that is not on all ranks goes to one that has it; the shares stay even. */
static void experts_go_where_they_live(void **state) {
    (void)state;
    run_config c = run_config_default();
    assert_ok(run_config_load(&c, "configs/upcycle-9l.yaml", NULL, 0));
    const model_config config = model_after_events(&c.events, &c.model);
    comm four = {.rank = 3, .ranks = 4};
    const comm_group spread = {&four, 2};
    model *m;
    assert_ok(model_create_spread(&m, &config, kernels_for(DTYPE_F32), NULL, spread));
    int *owner = xcalloc((size_t)m->param_count, sizeof *owner), experts = 0;
    double share[2];
    shares_assign(&c.optimizer, m, 4, owner);
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        if (p->expert < 0) continue;
        assert_int_equal(owner[i] % 2, p->expert / (config.moe.experts / 2));
        experts++;
    }
    assert_int_equal(experts, 2 * 2 * 2); /* of two layers, two matrices each */
    find_shares(m, &c.optimizer, owner, 4, share);
    print_message("4 ranks, experts on 2: at most %.3f of the means\n", share[0]);
    assert_true(share[0] <= (share[1] > 0.30 ? share[1] : 0.30));
    free(owner);
    model_destroy(m);
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares_are_even), cmocka_unit_test(experts_go_where_they_live)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
