/* Which rank has which parameter's means: evenly by bytes and by arithmetic, and the same answer wherever it is asked. */
#include "test.h"

#include "nn/plan.h"
#include "train/config.h"
#include "train/shares.h"

enum { MOST = 8 };

typedef struct load {
    double bytes[MOST], iterations[MOST];
} load;

static load load_of(const model *m, const optimizer_config *c, const int *owner, int ranks) {
    load l = {0};
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        const int arrays = optimizer_arrays(c, optimizer_group(p));
        assert_in_range(owner[i], 0, ranks - 1);
        l.bytes[owner[i]] += (double)(arrays * param_count(p));
        if (arrays == 1) l.iterations[owner[i]] += (double)param_count(p) * (double)tensor_cols(&p->value);
    }
    return l;
}

static double largest_share(const double *of, int ranks) {
    double most = 0, all = 0;
    for (int r = 0; r < ranks; r++) {
        all += of[r];
        most = of[r] > most ? of[r] : most;
    }
    return most / all;
}

/* The model as it is after its upcycle, as in #2102. */
static void shares_are_even(void **state) {
    (void)state;
    run_config c = run_config_default();
    assert_ok(run_config_load(&c, "configs/upcycle-9l.yaml", NULL, 0));
    model *m;
    const model_config config = model_after_events(&c.events, &c.model);
    assert_ok(model_create(&m, &config, kernels_for(DTYPE_F32), MODEL_TRAIN));
    int *owner = xcalloc((size_t)m->param_count, sizeof *owner),
        *again = xcalloc((size_t)m->param_count, sizeof *again);
    for (int ranks = 1; ranks <= MOST; ranks *= 2) {
        shares_assign(&c.optimizer, m, ranks, owner);
        shares_assign(&c.optimizer, m, ranks, again);
        assert_memory_equal(owner, again, (size_t)m->param_count * sizeof *owner);
        const load l = load_of(m, &c.optimizer, owner, ranks);
        if (largest_share(l.bytes, ranks) > 1.2 / ranks || largest_share(l.iterations, ranks) > 1.2 / ranks)
            fail_msg("%d ranks: the largest share is %.3f of the bytes and %.3f of the iterations", ranks,
                     largest_share(l.bytes, ranks), largest_share(l.iterations, ranks));
    }
    free(owner);
    free(again);
    model_destroy(m);
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares_are_even)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
