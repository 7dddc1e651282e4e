/* attention, attention_backward, xsa and xsa_backward against plain loops in double precision, whose own gradients are
 * checked by finite differences. */

#include "kernel/variants.h"
#include "test.h"
#include <stdio.h>

typedef struct attention_case {
    const char *what;
    attention_shape shape; /* strides 0: dense */
    int document;          /* documents of about this length; 0: none */
    float size;            /* of q and k */
    bool forward_only;
} attention_case;

#define SHAPE(b, t, n, h, kv, d)                                                                                       \
    { .batch = b, .queries = t, .keys = n, .heads = h, .kv_heads = kv, .head_dim = d }

static const attention_case cases[] = {
    {"one token", SHAPE(1, 1, 1, 1, 1, 8), 0, 1, false},
    {"head_dim 16", SHAPE(2, 37, 37, 2, 2, 16), 0, 2, false},
    {"head_dim 24, five queries", SHAPE(1, 5, 5, 3, 1, 24), 0, 2, false},
    {"head_dim 32, grouped", SHAPE(2, 130, 130, 4, 2, 32), 0, 2, false},
    {"head_dim 64, grouped", SHAPE(1, 291, 291, 4, 1, 64), 0, 2, false},
    {"head_dim 80", SHAPE(1, 100, 100, 2, 1, 80), 0, 1, false},
    {"head_dim 128", SHAPE(1, 193, 193, 1, 1, 128), 0, 1, false},
    {"head_dim 256", SHAPE(1, 40, 40, 2, 1, 256), 0, 1, false},
    {"whole blocks", SHAPE(1, 384, 384, 1, 1, 64), 0, 2, false},
    {"documents", SHAPE(3, 301, 301, 2, 1, 64), 47, 2, false},
    {"short documents", SHAPE(1, 200, 200, 2, 2, 16), 3, 2, false},
    {"long documents", SHAPE(1, 600, 600, 1, 1, 32), 260, 2, false},
    {"large scores", SHAPE(1, 259, 259, 2, 1, 32), 0, 15, false},
    {"padded rows",
     {.batch = 2,
      .queries = 70,
      .keys = 70,
      .heads = 2,
      .kv_heads = 1,
      .head_dim = 40,
      .q_stride = 96,
      .kv_stride = 48,
      .kv_batch_stride = 48 * 75},
     20,
     2,
     false},
    {"generation", SHAPE(2, 1, 333, 4, 2, 64), 0, 3, true},
    {"generation, head_dim 24", SHAPE(1, 3, 50, 2, 1, 24), 10, 3, true},
    {"a longer cache",
     {.batch = 2, .queries = 1, .keys = 19, .heads = 2, .kv_heads = 2, .head_dim = 80, .kv_batch_stride = 160 * 32},
     0,
     3,
     true},
    {"a prompt behind a prompt", SHAPE(2, 29, 310, 4, 2, 32), 0, 2, true},
    {"with documents", SHAPE(1, 150, 400, 2, 1, 64), 60, 2, true},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* The double precision twin of a call, and where its elements lie. */
typedef struct model {
    attention_shape s;
    int32_t *first; /* or NULL */
    double *q, *k, *v, *dy, *y, *lse, *dq, *dk, *dv;
} model;

static int64_t q_count(const model *m) {
    return m->s.batch * m->s.queries * m->s.q_stride;
}
static int64_t kv_count(const model *m) {
    return m->s.batch * m->s.kv_batch_stride;
}
static int64_t q_at(const model *m, int64_t b, int64_t t, int64_t h) {
    return (b * m->s.queries + t) * m->s.q_stride + h * m->s.head_dim;
}
static int64_t kv_at(const model *m, int64_t b, int64_t t, int64_t h) {
    return b * m->s.kv_batch_stride + t * m->s.kv_stride + h / (m->s.heads / m->s.kv_heads) * m->s.head_dim;
}

static double dot(const double *a, const double *b, int64_t d) {
    double sum = 0;
    for (int64_t i = 0; i < d; i++) sum += a[i] * b[i];
    return sum;
}

/* One query: y and lse; p[keys] are its probabilities. */
static void model_row(model *m, int64_t b, int64_t t, int64_t h, double *p) {
    int64_t d = m->s.head_dim, last = m->s.keys - m->s.queries + t;
    int64_t from = m->first ? m->first[b * m->s.queries + t] : 0;
    double top = -1e300, total = 0, *y = m->y + q_at(m, b, t, h);
    for (int64_t i = from; i <= last; i++) {
        p[i] = dot(m->q + q_at(m, b, t, h), m->k + kv_at(m, b, i, h), d) / sqrt((double)d);
        top = fmax(top, p[i]);
    }
    for (int64_t i = from; i <= last; i++) total += p[i] = exp(p[i] - top);
    for (int64_t c = 0; c < d; c++) y[c] = 0;
    for (int64_t i = from; i <= last; i++) {
        p[i] /= total;
        for (int64_t c = 0; c < d; c++) y[c] += p[i] * m->v[kv_at(m, b, i, h) + c];
    }
    m->lse[(b * m->s.heads + h) * m->s.queries + t] = top + log(total);
}

static void model_row_backward(model *m, int64_t b, int64_t t, int64_t h, const double *p) {
    int64_t d = m->s.head_dim, last = m->s.keys - m->s.queries + t, q = q_at(m, b, t, h);
    double delta = dot(m->dy + q, m->y + q, d);
    for (int64_t i = m->first ? m->first[b * m->s.queries + t] : 0; i <= last; i++) {
        int64_t kv = kv_at(m, b, i, h);
        double ds = p[i] * (dot(m->dy + q, m->v + kv, d) - delta) / sqrt((double)d);
        for (int64_t c = 0; c < d; c++) {
            m->dv[kv + c] += p[i] * m->dy[q + c];
            m->dq[q + c] += ds * m->k[kv + c];
            m->dk[kv + c] += ds * m->q[q + c];
        }
    }
}

static void model_run(model *m, bool backward) {
    double *p = doubles(m->s.keys);
    for (int64_t b = 0; b < m->s.batch; b++)
        for (int64_t h = 0; h < m->s.heads; h++)
            for (int64_t t = 0; t < m->s.queries; t++) {
                model_row(m, b, t, h, p);
                if (backward) model_row_backward(m, b, t, h, p);
            }
    free(p);
}

static int32_t *make_documents(const attention_shape *s, int length, uint64_t *seed) {
    if (!length) return NULL;
    int32_t *first = xmalloc((size_t)(s->batch * s->queries) * sizeof *first);
    for (int64_t b = 0; b < s->batch; b++) {
        int32_t start = 0;
        for (int64_t i = 0; i < s->keys; i++) {
            if (random_value(seed) < 2.0f / (float)length - 1) start = (int32_t)i;
            int64_t t = i - (s->keys - s->queries);
            if (t >= 0) first[b * s->queries + t] = start;
        }
    }
    return first;
}

static model model_new(const attention_case *c, uint64_t *seed) {
    model m = {.s = c->shape, .first = make_documents(&c->shape, c->document, seed)};
    if (!m.s.q_stride) m.s.q_stride = m.s.heads * m.s.head_dim;
    if (!m.s.kv_stride) m.s.kv_stride = m.s.kv_heads * m.s.head_dim;
    if (!m.s.kv_batch_stride) m.s.kv_batch_stride = m.s.keys * m.s.kv_stride;
    double **q_like[] = {&m.q, &m.y, &m.dy, &m.dq}, **kv_like[] = {&m.k, &m.v, &m.dk, &m.dv};
    for (int i = 0; i < 4; i++) *q_like[i] = doubles(q_count(&m));
    for (int i = 0; i < 4; i++) *kv_like[i] = doubles(kv_count(&m));
    m.lse = doubles(m.s.batch * m.s.heads * m.s.queries);
    return m;
}

static void model_free(model *m) {
    double *all[] = {m->q, m->k, m->v, m->dy, m->y, m->lse, m->dq, m->dk, m->dv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    free(m->first);
}

static const float UNTOUCHED = -77;

/* Rows of `used` elements that start `stride` elements apart: equal to the model's within tolerance · its largest, and what
 * lies between the rows is as it was. */
static void expect_rows(const char *what, dtype type, const void *got, const double *want, int64_t rows, int64_t used,
                        int64_t stride, double tolerance) {
    double largest = 1e-3, error = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < used; c++) largest = fmax(largest, fabs(want[r * stride + c]));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < stride; c++) {
            float value = act_at(type, got, r * stride + c);
            if (c >= used)
                assert_float_equal(value, UNTOUCHED, 0);
            else
                error = fmax(error, value == value ? fabs(value - want[r * stride + c]) : INFINITY);
        }
    if (!(error <= tolerance * largest))
        fail_msg("%s: largest error %g, largest value %g, tolerance %g of it", what, error, largest, tolerance);
}

static void expect_kv(const char *what, dtype type, const void *got, const double *want, const model *m,
                      double tolerance) {
    for (int64_t b = 0; b < m->s.batch; b++) {
        int64_t at = b * m->s.kv_batch_stride;
        expect_rows(what, type, (const char *)got + (size_t)at * dtype_bytes(type), want + at, m->s.keys,
                    m->s.kv_heads * m->s.head_dim, m->s.kv_stride, tolerance);
    }
}

static void check_case(const variant *variant, const attention_case *c) {
    kernels table = {0};
    variant->fill_attention(&table);
    dtype act = variant->act;
    uint64_t seed = 7;
    char what[200];
    model m = model_new(c, &seed);
    int64_t q_size = q_count(&m), kv_size = kv_count(&m), rows = m.s.batch * m.s.heads * m.s.queries;
    int64_t used = m.s.heads * m.s.head_dim;
    void *q = act_random(act, q_size, c->size, &seed, m.q), *k = act_random(act, kv_size, c->size, &seed, m.k);
    void *v = act_random(act, kv_size, 1, &seed, m.v), *dy = act_random(act, q_size, 1, &seed, m.dy);
    void *y = act_constant(act, q_size, UNTOUCHED), *again = act_constant(act, q_size, UNTOUCHED);
    float *lse = xmalloc((size_t)rows * sizeof(float));
    model_run(&m, !c->forward_only);
    double rounding = fmax(1, c->size * c->size / 10); /* p is as wrong, relatively, as a score is absolutely */

    table.attention(y, lse, q, k, v, m.first, &m.s);
    snprintf(what, sizeof what, "%s, %s, y", variant->name, c->what);
    expect_rows(what, act, y, m.y, m.s.batch * m.s.queries, used, m.s.q_stride,
                act == DTYPE_F32 ? 1e-5 * rounding : 8e-3);
    for (int64_t i = 0; i < rows; i++) assert_float_equal(lse[i], m.lse[i], 1e-5 * (1 + fabs(m.lse[i])));
    table.attention(again, NULL, q, k, v, m.first, &m.s);
    assert_memory_equal(y, again, (size_t)q_size * dtype_bytes(act));

    if (!c->forward_only) {
        void *dq = act_constant(act, q_size, UNTOUCHED), *dk = act_constant(act, kv_size, UNTOUCHED);
        void *dv = act_constant(act, kv_size, UNTOUCHED);
        double tolerance = act == DTYPE_F32 ? 2e-5 * rounding : 1.5e-2;
        for (int run = 0; run < 2; run++) { /* the second finds used scratch */
            table.attention_backward(dq, dk, dv, dy, y, lse, q, k, v, m.first, &m.s);
            snprintf(what, sizeof what, "%s, %s, dq", variant->name, c->what);
            expect_rows(what, act, dq, m.dq, m.s.batch * m.s.queries, used, m.s.q_stride, tolerance);
            what[strlen(what) - 1] = 'k';
            expect_kv(what, act, dk, m.dk, &m, tolerance);
            what[strlen(what) - 1] = 'v';
            expect_kv(what, act, dv, m.dv, &m, tolerance);
        }
        free(dq), free(dk), free(dv);
    }
    free(q), free(k), free(v), free(dy), free(y), free(again), free(lse);
    model_free(&m);
}

static void test_attention(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        for (int c = 0; c < CASES && variant_runs_here(i); c++) check_case(&variants[i], &cases[c]);
}

static double model_loss(model *m) {
    model_run(m, false);
    return dot(m->y, m->dy, q_count(m));
}

/* (f(x + h) − f(x − h)) / 2h of every element of q, k and v */
static void test_model_by_differences(void **state) {
    (void)state;
    static const attention_case small = {"differences", SHAPE(2, 7, 7, 4, 2, 8), 3, 1, false};
    uint64_t seed = 3;
    model m = model_new(&small, &seed);
    double *inputs[] = {m.q, m.k, m.v, m.dy}, *gradients[] = {m.dq, m.dk, m.dv};
    int64_t counts[] = {q_count(&m), kv_count(&m), kv_count(&m), q_count(&m)};
    for (int x = 0; x < 4; x++)
        for (int64_t i = 0; i < counts[x]; i++) inputs[x][i] = random_value(&seed);
    model_run(&m, true);
    for (int x = 0; x < 3; x++)
        for (int64_t i = 0; i < counts[x]; i++) {
            const double h = 1e-5, kept = inputs[x][i];
            inputs[x][i] = kept + h;
            double above = model_loss(&m);
            inputs[x][i] = kept - h;
            double slope = (above - model_loss(&m)) / (2 * h);
            inputs[x][i] = kept;
            assert_float_equal(slope, gradients[x][i], 1e-7);
        }
    model_free(&m);
}

/* The NaN of a value must reach every query that sees it, and no other. */
static void test_nan_is_not_lost(void **state) {
    (void)state;
    enum { T = 140, D = 16, BAD = 75 };
    for (int i = 0; i < VARIANTS; i++) {
        if (!variant_runs_here(i)) continue;
        kernels table = {0};
        variants[i].fill_attention(&table);
        uint64_t seed = 5;
        dtype act = variants[i].act;
        void *x = act_random(act, T * D, 1, &seed, NULL), *k = act_random(act, T * D, 1, &seed, NULL);
        void *y = act_constant(act, T * D, 0);
        act_set(act, k, BAD * D, 1);
        if (act == DTYPE_F32)
            ((float *)k)[BAD * D] = NAN;
        else
            ((uint16_t *)k)[BAD * D] = 0x7fc0;
        attention_shape shape = {.batch = 1,
                                 .queries = T,
                                 .keys = T,
                                 .heads = 1,
                                 .kv_heads = 1,
                                 .head_dim = D,
                                 .q_stride = D,
                                 .kv_stride = D,
                                 .kv_batch_stride = T * D};
        table.attention(y, NULL, x, k, x, NULL, &shape);
        for (int t = 0; t < T; t++) assert_int_equal(isnan(act_at(act, y, t * D)) != 0, t >= BAD);
        free(x), free(k), free(y);
    }
}

/* ---- xsa ------------------------------------------------------------------------------------------------------------- */
static void model_xsa(double *z, const double *y, const double *v, int64_t d) {
    double norm = fmax(sqrt(dot(v, v, d)), 1e-12), along = dot(y, v, d) / norm;
    for (int64_t c = 0; c < d; c++) z[c] = y[c] - along * v[c] / norm;
}

/* Σ dz ⊙ z of one kv head's group */
static double xsa_loss(const double *y, const double *v, const double *dz, int64_t group, int64_t d) {
    double z[256], loss = 0;
    for (int64_t h = 0; h < group; h++) {
        model_xsa(z, y + h * d, v, d);
        loss += dot(z, dz + h * d, d);
    }
    return loss;
}

static double xsa_slope(double *x, const double *y, const double *v, const double *dz, int64_t group, int64_t d) {
    const double h = 1e-5, kept = *x;
    *x = kept + h;
    double above = xsa_loss(y, v, dz, group, d);
    *x = kept - h;
    double below = xsa_loss(y, v, dz, group, d);
    *x = kept;
    return (above - below) / (2 * h);
}

static void check_xsa(const variant *variant, int64_t N, int heads, int kv_heads, int d) {
    kernels table = {0};
    variant->fill_attention(&table);
    dtype act = variant->act;
    uint64_t seed = 11;
    int64_t count = N * heads * d, kv_count = N * kv_heads * d, group = heads / kv_heads;
    double *Y = doubles(count), *V = doubles(kv_count), *DZ = doubles(count), Z[256];
    void *y = act_random(act, count, 1, &seed, Y), *v = act_random(act, kv_count, 1, &seed, V);
    void *dz = act_random(act, count, 1, &seed, DZ), *z = act_constant(act, count, 0);
    void *dy = act_constant(act, count, 0.5f), *dv = act_constant(act, kv_count, 0.25f);
    double tolerance = act == DTYPE_F32 ? 2e-5 : 2.5e-2;
    for (int c = 0; c < d; c++) act_set(act, v, c, (float)(V[c] = 0)); /* one value of length 0 */
    table.xsa(z, y, v, N, heads, kv_heads, d);
    table.xsa_backward((grad_out){dy, true}, (grad_out){dv, true}, dz, y, v, N, heads, kv_heads, d);
    for (int64_t n = 0; n < N; n++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t at = (n * heads + h) * d, kv = (n * kv_heads + h / group) * d;
            model_xsa(Z, Y + at, V + kv, d);
            for (int c = 0; c < d; c++) assert_float_equal(act_at(act, z, at + c), Z[c], tolerance);
            int64_t first = (n * heads + h / group * group) * d;
            for (int c = 0; c < d; c += 3) {
                double slope = xsa_slope(Y + at + c, Y + first, V + kv, DZ + first, group, d);
                assert_float_equal(act_at(act, dy, at + c), 0.5 + slope, tolerance);
                if (kv == 0) continue; /* no derivative at 0 */
                slope = xsa_slope(V + kv + c, Y + first, V + kv, DZ + first, group, d);
                assert_float_equal(act_at(act, dv, kv + c), 0.25 + slope, tolerance * 2);
            }
        }
    for (int c = 0; c < d; c++) assert_true(isfinite(act_at(act, dv, c)));
    void *alone = act_constant(act, count, 9);
    table.xsa_backward((grad_out){alone, false}, (grad_out){NULL, false}, dz, y, v, N, heads, kv_heads, d);
    for (int64_t i = 0; i < count; i++) assert_float_equal(act_at(act, alone, i), act_at(act, dy, i) - 0.5, tolerance);
    free(Y), free(V), free(DZ), free(y), free(v), free(dz), free(z), free(dy), free(dv), free(alone);
}

static void test_xsa(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS; i++) {
        if (!variant_runs_here(i)) continue;
        check_xsa(&variants[i], 5, 4, 2, 64);
        check_xsa(&variants[i], 3, 2, 2, 24);
        check_xsa(&variants[i], 2, 3, 1, 80);
    }
}

/* Each sequence's rows to the last bit as attention gives them for it alone, in whatever company. */
static void check_spans(const variant *variant) {
    enum { SPANS = 6, HEADS = 4, KV_HEADS = 2, DIM = 24, CAPACITY = 330, Q = HEADS * DIM, KV = KV_HEADS * DIM };
    static const int64_t queries[SPANS] = {1, 3, 29, 1, 4, 100}, keys[SPANS] = {1, 300, 310, 17, 4, 101};
    const dtype act = variant->act;
    const size_t element = dtype_bytes(act);
    kernels table = {0};
    variant->fill_attention(&table);
    uint64_t seed = 5;
    int64_t rows = 0;
    attention_span spans[SPANS];
    int32_t block[SPANS];
    for (int i = 0; i < SPANS; i++) {
        block[i] = SPANS - 1 - i;
        spans[i] = (attention_span){rows, queries[i], {&block[i], CAPACITY}, keys[i]};
        rows += queries[i];
    }
    char *q = act_random(act, rows * Q, 2, &seed, NULL), *k = act_random(act, SPANS * CAPACITY * KV, 2, &seed, NULL);
    char *v = act_random(act, SPANS * CAPACITY * KV, 1, &seed, NULL);
    char *together = act_constant(act, rows * Q, 7), *alone = act_constant(act, rows * Q, 9);
    const attention_shape shape = {
        .heads = HEADS, .kv_heads = KV_HEADS, .head_dim = DIM, .q_stride = Q, .kv_stride = KV};
    table.attention_spans(together, q, k, v, CACHE_ACT, spans, SPANS, &shape);
    for (int i = 0; i < SPANS; i++) {
        attention_shape one = shape;
        one.batch = 1;
        one.queries = queries[i];
        one.keys = keys[i];
        const size_t at = (size_t)(spans[i].row * Q) * element, cache = (size_t)(block[i] * CAPACITY * KV) * element;
        table.attention(alone + at, NULL, q + at, k + cache, v + cache, NULL, &one);
    }
    assert_memory_equal(together, alone, (size_t)(rows * Q) * element);
    free(q), free(k), free(v), free(together), free(alone);
}

static void test_spans(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        if (variant_runs_here(i)) check_spans(&variants[i]);
}

/* A query's row is the same to the bit whichever queries come with it, beyond those few that are read another way: a prompt is read in
 * pieces of any size, and the text must not show it. */
static void check_pieces(const variant *variant, int64_t d) {
    enum { T = 200, HEADS = 4, KV_HEADS = 2 };
    kernels table = {0};
    variant->fill_attention(&table);
    const size_t element = dtype_bytes(variant->act);
    const int64_t Q = HEADS * d, KV = KV_HEADS * d;
    uint64_t seed = (uint64_t)d;
    char *q = act_random(variant->act, T * Q, 3, &seed, NULL), *k = act_random(variant->act, T * KV, 3, &seed, NULL),
         *v = act_random(variant->act, T * KV, 1, &seed, NULL);
    char *whole = xmalloc((size_t)(T * Q) * element), *piece = xmalloc((size_t)(T * Q) * element);
    attention_shape s = {.batch = 1, .queries = T, .keys = T, .heads = HEADS, .kv_heads = KV_HEADS, .head_dim = (int)d};
    s.q_stride = Q, s.kv_stride = KV, s.kv_batch_stride = T * KV;
    table.attention(whole, NULL, q, k, v, NULL, &s);
    for (int64_t queries = 5; queries < T; queries += 3)
        for (int64_t keys = queries; keys <= T; keys += 7) {
            const size_t at = (size_t)((keys - queries) * Q) * element;
            s.queries = queries, s.keys = keys;
            table.attention(piece, NULL, q + at, k, v, NULL, &s);
            if (memcmp(piece, whole + at, (size_t)(queries * Q) * element) != 0)
                fail_msg("%s: head_dim %d: %d queries up to key %d are others by themselves", variant->name, (int)d,
                         (int)queries, (int)keys);
        }
    free(q), free(k), free(v), free(whole), free(piece);
}

static void test_pieces(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        for (int64_t d = 8; variant_runs_here(i) && d <= 64; d *= 2) check_pieces(&variants[i], d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_by_differences),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_nan_is_not_lost),
        cmocka_unit_test(test_xsa),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
