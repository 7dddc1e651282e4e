/* What products show of their gradients (nn/pass.h), from which sensitivities are made. */
#include "packed.h"

#include <math.h>

/* Σ_n dy_n x_nᵀ, which is what a weight's gradient is; of tables Σ_n dy_n at the row of ids[n]. */
typedef struct sums {
    const kernels *k;
    const model *m;
    float **of; /* [param_count] */
} sums;

static float *on_host(const kernels *k, const void *x, int64_t count) {
    float *device, *host = xmalloc((size_t)count * sizeof *host);
    assert_ok(k->alloc((void **)&device, (size_t)count * sizeof *host));
    k->to_float(device, x, count);
    k->download(host, device, (size_t)count * sizeof *host);
    k->release(device);
    return host;
}

static void add_gradient(void *context, const product_gradient *g) {
    sums *s = context;
    int i = 0;
    while (s->m->params[i] != g->weight) i++;
    const int64_t rows = g->weight->matrix.rows, cols = g->weight->matrix.cols;
    const int64_t width = g->ids ? cols : rows;
    float *dy = on_host(s->k, g->dy, g->N * width), *x = g->ids ? NULL : on_host(s->k, g->x, g->N * cols);
    int32_t *ids = xmalloc((size_t)g->N * sizeof *ids);
    if (g->ids) s->k->download(ids, g->ids, (size_t)g->N * sizeof *ids);
    for (int64_t n = 0; n < g->N; n++)
        for (int64_t r = 0; r < (g->ids ? 1 : rows); r++)
            for (int64_t c = 0; c < cols; c++)
                s->of[i][(g->ids ? ids[n] : r) * cols + c] +=
                    g->ids ? dy[n * cols + c] : dy[n * rows + r] * x[n * cols + c];
    free(dy);
    free(x);
    free(ids);
}

/* What the observer sees, put together, is every matrix's gradient, with blocks run again in backward too. */
static void products_show_their_gradients(void **state) {
    (void)state;
    const model_config config = tiny_config();
    const kernels *k = kernels_for(DTYPE_F32);
    model *m;
    pass *p;
    int32_t ids[BATCH * LENGTH], targets[BATCH * LENGTH];
    batch b = tiny_batch(ids, 3);
    with_targets(&b, ids, targets);
    assert_ok(model_create(&m, &config, k, MODEL_TRAIN));
    assert_ok(model_init(m, 7));
    for (int i = 0; i < m->param_count; i++) {
        rng r = rng_named(5, m->params[i]->name);
        float *w = xmalloc(tensor_bytes(&m->params[i]->value));
        rng_normal(&r, w, (size_t)param_count(m->params[i]), 0.2f);
        tensor_write(k, &m->params[i]->value, w);
        free(w);
    }
    assert_ok(model_refresh(m));
    assert_ok(pass_create(&p, m));
    for (int again = 0; again < 2; again++) {
        sums s = {k, m, xcalloc((size_t)m->param_count, sizeof *s.of)};
        for (int i = 0; i < m->param_count; i++) s.of[i] = xcalloc((size_t)param_count(m->params[i]), sizeof **s.of);
        pass_set_recompute(p, again);
        pass_watch_gradients(p, add_gradient, &s);
        model_zero_grad(m);
        assert_ok(pass_train(p, &b, 1));
        int compared = 0;
        for (int i = 0; i < m->param_count; i++) {
            const param *w = m->params[i];
            if (w->is_matrix && w->role != ROLE_ROUTER) {
                float *grad = xmalloc(tensor_bytes(&w->value));
                double off = 0, all = 0;
                k->download(grad, w->grad, tensor_bytes(&w->value));
                for (int64_t j = 0; j < param_count(w); j++) {
                    off += pow((double)grad[j] - s.of[i][j], 2);
                    all += pow(grad[j], 2);
                }
                if (off > 1e-8 * all) fail_msg("%s: %g of %g", w->name, off, all);
                compared += all > 0;
                free(grad);
            }
            free(s.of[i]);
        }
        assert_true(compared > 15);
        free(s.of);
    }
    pass_destroy(p);
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_show_their_gradients)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
