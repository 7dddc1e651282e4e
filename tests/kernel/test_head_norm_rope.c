/* head_norm_rope against the formula in double precision, its backward against finite differences of that. */

#include "kernel/variants.h"
#include "test.h"

typedef struct rope_case {
    int64_t batch, T, offset;
    int heads, head_dim, rope_dims;
    float base;
    bool gain, in_place;
} rope_case;

static const rope_case cases[] = {
    {2, 9, 0, 3, 64, 16, 10000, true, false},   {1, 5, 0, 2, 16, 16, 10000, false, false},
    {1, 3, 100, 2, 80, 80, 500, true, true},    {2, 4, 0, 1, 24, 8, 10000, true, true},
    {1, 70, 0, 2, 128, 64, 10000, true, false}, {1, 6, 0, 2, 32, 0, 10000, true, false},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static void model_row(double *y, const double *x, double gain, int64_t position, const rope_case *c) {
    int d = c->head_dim, half = c->rope_dims / 2;
    double squares = 0;
    for (int i = 0; i < d; i++) squares += x[i] * x[i];
    double factor = gain / sqrt(squares / d + RMS_EPSILON);
    for (int i = 0; i < d; i++) y[i] = x[i] * factor;
    for (int i = 0; i < half; i++) {
        double angle = (double)position * pow(c->base, -2.0 * i / c->rope_dims), a = y[i], b = y[half + i];
        y[i] = a * cos(angle) + b * sin(angle);
        y[half + i] = b * cos(angle) - a * sin(angle);
    }
}

static double row_loss(const double *x, const double *dy, double gain, int64_t position, const rope_case *c) {
    double y[256], loss = 0;
    model_row(y, x, gain, position, c);
    for (int i = 0; i < c->head_dim; i++) loss += y[i] * dy[i];
    return loss;
}

typedef struct rope_data {
    int64_t N, count;
    void *x, *y, *dy, *dx;
    double *X, *DY;
    float *rstd, gain[4], dgain[4];
} rope_data;

static void check_forward(const kernels *table, dtype act, const rope_case *c, rope_data *r) {
    void *out = r->y;
    if (c->in_place) memcpy(out, r->x, (size_t)r->count * dtype_bytes(act));
    table->head_norm_rope(out, r->rstd, c->in_place ? out : r->x, c->gain ? r->gain : NULL, r->N, c->T, c->offset,
                          c->heads, c->head_dim, c->rope_dims, c->base);
    double want[256], tolerance = act == DTYPE_F32 ? 3e-5 : 2e-2;
    for (int64_t row = 0; row < r->N * c->heads; row++) {
        double gain = c->gain ? r->gain[row % c->heads] : 1;
        model_row(want, r->X + row * c->head_dim, gain, c->offset + row / c->heads % c->T, c);
        for (int i = 0; i < c->head_dim; i++)
            assert_float_equal(act_at(act, out, row * c->head_dim + i), want[i], tolerance);
    }
}

static void check_backward(const kernels *table, dtype act, const rope_case *c, rope_data *r) {
    const double h = 1e-5, tolerance = act == DTYPE_F32 ? 1e-4 : 3e-2;
    double dgain[4] = {0};
    for (int i = 0; i < 4; i++) r->dgain[i] = (float)(dgain[i] = 3 + i); /* it is added to */
    table->head_norm_rope_backward((grad_out){r->dx, true}, r->dgain, r->dy, r->x, r->rstd, c->gain ? r->gain : NULL,
                                   r->N, c->T, c->heads, c->head_dim, c->rope_dims, c->base);
    for (int64_t row = 0; row < r->N * c->heads; row++) {
        int64_t at = row * c->head_dim, position = row / c->heads % c->T;
        double gain = c->gain ? r->gain[row % c->heads] : 1, *x = r->X + at;
        dgain[row % c->heads] += row_loss(x, r->DY + at, 1, position, c); /* linear in the gain */
        for (int i = 0; i < c->head_dim; i += 3) {
            double kept = x[i];
            x[i] = kept + h;
            double above = row_loss(x, r->DY + at, gain, position, c);
            x[i] = kept - h;
            double slope = (above - row_loss(x, r->DY + at, gain, position, c)) / (2 * h);
            x[i] = kept;
            assert_float_equal(act_at(act, r->dx, at + i), 0.5 + slope, tolerance * (1 + fabs(slope)));
        }
    }
    for (int i = 0; i < c->heads; i++) assert_float_equal(r->dgain[i], dgain[i], 1e-3 * (1 + fabs(dgain[i])));
}

static void check_case(const variant *variant, const rope_case *c) {
    kernels table = {0};
    variant->fill_attention(&table);
    uint64_t seed = 13;
    rope_data r = {.N = c->batch * c->T, .gain = {1.5f, 0.75f, -1, 2}};
    r.count = r.N * c->heads * c->head_dim;
    r.X = doubles(r.count);
    r.DY = doubles(r.count);
    r.x = act_random(variant->act, r.count, 2, &seed, r.X);
    r.dy = act_random(variant->act, r.count, 1, &seed, r.DY);
    r.y = act_constant(variant->act, r.count, 0);
    r.dx = act_constant(variant->act, r.count, 0.5f);
    r.rstd = xmalloc((size_t)(r.N * c->heads) * sizeof(float));
    check_forward(&table, variant->act, c, &r);
    if (c->offset == 0) check_backward(&table, variant->act, c, &r);
    free(r.X), free(r.DY), free(r.x), free(r.dy), free(r.y), free(r.dx), free(r.rstd);
}

static void test_head_norm_rope(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        for (int c = 0; c < CASES && variant_runs_here(i); c++) check_case(&variants[i], &cases[c]);
}

/* Generation asks for one position more each time: the same values as for all of them at once. */
static void test_one_position_at_a_time(void **state) {
    (void)state;
    enum { T = 40, D = 32 };
    for (int i = 0; i < VARIANTS; i++) {
        if (!variant_runs_here(i)) continue;
        kernels table = {0};
        variants[i].fill_attention(&table);
        dtype act = variants[i].act;
        size_t row = D * dtype_bytes(act);
        uint64_t seed = 17;
        float rstd[T], base = 777;
        char *x = act_random(act, T * D, 1, &seed, NULL), *all = act_constant(act, T * D, 0);
        char *one = act_constant(act, D, 0);
        for (int t = 0; t < T; t++) { /* single rows first, so that the table grows */
            table.head_norm_rope(one, rstd, x + t * row, NULL, 1, 1, t, 1, D, D, base);
            memcpy(all + t * row, one, row);
        }
        char *together = act_constant(act, T * D, 0);
        table.head_norm_rope(together, rstd, x, NULL, T, T, 0, 1, D, D, base);
        assert_memory_equal(all, together, T * row);
        free(x), free(all), free(one), free(together);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_norm_rope),
        cmocka_unit_test(test_one_position_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
