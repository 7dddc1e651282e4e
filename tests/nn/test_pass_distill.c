/* Training with a teacher's column and with its hidden states: sums against double precision, gradients of the whole against finite
 * differences, and what is refused. */
#include "test.h"

#include "base/random.h"
#include "nn/pass.h"
#include <math.h>

enum { VOCAB = 60, BATCH = 2, LENGTH = 20, N = BATCH * LENGTH, LISTED = 6 };

/* Layers that run three times, skips, a mixture. */
static model_config looped(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 4;
    c.model_dim = 32;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 3;
    c.stem.bigram_buckets = 32;
    c.stem.bigram_dim = 16;
    c.loop.extra_passes = 2;
    c.loop.first = 1;
    c.loop.last = 2;
    c.loop.on = true;
    c.moe.layers[2] = true;
    c.moe.experts = 2;
    c.moe.top_k = 2;
    c.moe.gate = GATE_RENORMALIZED;
    return c;
}

static model *make(const model_config *c, uint64_t seed) {
    model *m;
    assert_ok(model_create(&m, c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(m, seed));
    for (int i = 0; i < m->param_count; i++) { /* nothing stays zero, so that everything counts */
        param *p = m->params[i];
        const size_t count = (size_t)param_count(p);
        float *values = xmalloc(2 * count * sizeof *values);
        rng r = rng_named(seed, p->name);
        tensor_read(m->k, &p->value, values);
        rng_normal(&r, values + count, count, 0.05f);
        for (size_t j = 0; j < count; j++) values[j] += values[count + j];
        assert_ok(param_set(p, m->k, values));
        free(values);
    }
    assert_ok(model_refresh(m));
    return m;
}

/* Tokens, and a teacher with k − n mod 3 tokens for target n; not a number where nothing may be read. */
typedef struct data {
    batch b;
    teacher_column teacher;
    int32_t ids[N + 1], targets[N], listed[N * LISTED];
    float log_probs[N * LISTED], rest[N];
} data;

static void make_data(data *d, const float *logits) {
    rng r = rng_seed(9);
    for (int i = 0; i <= N; i++) d->ids[i] = (int32_t)rng_below(&r, VOCAB);
    for (int n = 0; n < N; n++) d->targets[n] = n % 7 == 6 ? -1 : d->ids[n + 1];
    for (int n = 0; n < N; n++) {
        float own[VOCAB];
        double sum = 0, listed = 0;
        rng_normal(&r, own, VOCAB, 2);
        const float *z = logits ? logits + (size_t)n * VOCAB : own;
        for (int v = 0; v < VOCAB; v++) sum += exp((double)z[v]);
        for (int j = 0; j < LISTED; j++) {
            const int id = (n * 5 + j * 7) % VOCAB;
            const bool is_there = j < LISTED - n % 3;
            d->listed[n * LISTED + j] = is_there ? id : -1;
            d->log_probs[n * LISTED + j] = is_there ? (float)((double)z[id] - log(sum)) : NAN;
            if (is_there) listed += exp((double)z[id]) / sum;
        }
        d->rest[n] = d->targets[n] < 0 ? NAN : (float)log1p(-listed);
    }
    d->teacher = (teacher_column){.k = LISTED, .ids = d->listed, .log_probs = d->log_probs, .rest = d->rest};
    d->b = (batch){
        .batch = BATCH, .length = LENGTH, .input_ids = d->ids, .target_ids = d->targets, .teacher = &d->teacher};
}

static const distill_args both = {.ce_weight = 0.5f, .teacher_weight = 2, .temperature = 2};

static pass_statistics train(pass *p, const batch *b) {
    model_zero_grad(pass_model(p));
    pass_clear(p);
    assert_ok(pass_train(p, b, 1));
    return *pass_read(p);
}

static float *gradients(const model *m, int64_t *count) {
    float *all = xmalloc((size_t)m->gradients.count * sizeof *all);
    *count = m->gradients.count;
    m->k->download(all, m->gradients.data, (size_t)*count * sizeof *all);
    return all;
}

/* ---- the column ---- */

static double reference_kl(const data *d, const float *logits, double tau) {
    double total = 0;
    for (int n = 0; n < N; n++) {
        double a[LISTED + 1], b[LISTED + 1], sum = 0, rest = 0, sum_a = 0, sum_b = 0, D = 0;
        bool listed[VOCAB] = {0};
        int count = 0;
        if (d->targets[n] < 0) continue;
        for (int v = 0; v < VOCAB; v++) sum += exp((double)logits[n * VOCAB + v]);
        for (; count < LISTED && d->listed[n * LISTED + count] >= 0; count++) {
            const int id = d->listed[n * LISTED + count];
            a[count] = (double)d->log_probs[n * LISTED + count];
            b[count] = (double)logits[n * VOCAB + id] - log(sum);
            listed[id] = true;
        }
        for (int v = 0; v < VOCAB; v++) rest += listed[v] ? 0 : exp((double)logits[n * VOCAB + v]) / sum;
        a[count] = (double)d->rest[n];
        b[count++] = log(rest);
        for (int c = 0; c < count; c++) {
            sum_a += exp(a[c] / tau);
            sum_b += exp(b[c] / tau);
        }
        for (int c = 0; c < count; c++)
            D += exp(a[c] / tau) / sum_a * (a[c] / tau - log(sum_a) - b[c] / tau + log(sum_b));
        total += tau * tau * D;
    }
    return total / N;
}

static void sums_of_a_column(void **state) {
    (void)state;
    const model_config c = looped();
    model *m = make(&c, 5);
    float *logits = xmalloc(sizeof(float) * N * VOCAB);
    pass *p;
    data d;
    make_data(&d, NULL);
    assert_ok(pass_create(&p, m));
    assert_ok(pass_logits(p, &d.b, logits));
    const double ce = train(p, &d.b).ce;
    assert_ok(pass_distill(p, &both));
    const pass_statistics s = train(p, &d.b);
    assert_true(fabs(s.ce - ce) < 1e-5 && s.hidden == 0);
    assert_true(fabs(s.kl - reference_kl(&d, logits, 2)) < 1e-5 * s.kl && s.kl > 0.1);
    pass_clear(p);
    assert_ok(pass_evaluate(p, &d.b, NULL)); /* scoring knows no teacher */
    assert_true(pass_read(p)->kl == 0 && fabs(pass_read(p)->ce - ce) < 1e-5);
    make_data(&d, logits); /* the model is its own teacher */
    assert_true(fabs(train(p, &d.b).kl) < 1e-5);
    pass_destroy(p);
    model_destroy(m);
    free(logits);
}

/* Whatever was asked for before, and with weights that say the same. */
static void plain_is_plain(void **state) {
    (void)state;
    const model_config c = looped();
    const distill_args nothing = {.ce_weight = 1, .temperature = 3};
    int64_t count;
    model *m = make(&c, 5);
    pass *p;
    data d;
    make_data(&d, NULL);
    assert_ok(pass_create(&p, m));
    const double ce = train(p, &d.b).ce;
    float *plain = gradients(m, &count);
    for (int i = 0; i < 2; i++) {
        assert_ok(pass_distill(p, &both));
        train(p, &d.b);
        float *other = gradients(m, &count);
        assert_memory_not_equal(plain, other, (size_t)count * sizeof *plain);
        assert_ok(pass_distill(p, i ? &nothing : NULL));
        assert_true(train(p, &d.b).ce == ce);
        float *again = gradients(m, &count);
        assert_memory_equal(plain, again, (size_t)count * sizeof *plain);
        free(other);
        free(again);
    }
    free(plain);
    pass_destroy(p);
    model_destroy(m);
}

/* ---- the whole against finite differences ---- */

static double whole_loss(pass *p, const data *d, const distill_args *a) {
    const pass_statistics s = train(p, &d->b);
    return (double)a->ce_weight * s.ce + (double)a->teacher_weight * s.kl + (double)a->hidden_weight * s.hidden + s.aux;
}

/* Along the gradient of one parameter the loss grows by |gradient|² a unit. */
static void check_param(pass *p, const data *d, const distill_args *a, param *w, const float *gradient) {
    const kernels *k = pass_model(p)->k;
    const int64_t count = param_count(w);
    float *values = xmalloc((size_t)count * sizeof *values), *moved = xmalloc((size_t)count * sizeof *moved);
    double square = 0, sides[2];
    tensor_read(k, &w->value, values);
    for (int64_t i = 0; i < count; i++) square += (double)gradient[i] * (double)gradient[i];
    const double step = 2e-3 / sqrt(square + 1e-12);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < count; i++) moved[i] = values[i] + (float)((side ? step : -step) * (double)gradient[i]);
        assert_ok(param_set(w, k, moved));
        assert_ok(model_refresh(pass_model(p)));
        sides[side] = whole_loss(p, d, a);
    }
    assert_ok(param_set(w, k, values));
    assert_ok(model_refresh(pass_model(p)));
    const double numeric = (sides[1] - sides[0]) / (2 * step);
    if (fabs(numeric - square) > 0.02 * square + 1e-3 * sqrt(square) + 1e-6)
        fail_msg("%s: gradient's square %g, along it the loss grows by %g", w->name, square, numeric);
    free(values);
    free(moved);
}

static void check_whole(const distill_args *args, bool recompute) {
    const model_config c = looped();
    model_config other = c;
    distill_args a = *args;
    int64_t count;
    other.loop.on = false; /* the teacher's path may be another one */
    other.moe = model_config_default().moe;
    model *m = make(&c, 5), *t = make(&other, 6);
    pass *p;
    data d;
    make_data(&d, NULL);
    assert_ok(pass_create(&p, m));
    pass_set_recompute(p, recompute);
    if (a.hidden_weight > 0) assert_ok(pass_create(&a.teacher, t));
    assert_ok(pass_distill(p, &a));
    assert_true(whole_loss(p, &d, &a) > 0);
    float *all = gradients(m, &count);
    for (int i = recompute; i < m->param_count; i += 4) { /* a sample: a pass a side */
        param *w = m->params[i];
        if (w->grad && !strstr(w->name, "router")) check_param(p, &d, &a, w, all + w->offset);
    }
    free(all);
    pass_destroy(a.teacher);
    pass_destroy(p);
    model_destroy(m);
    model_destroy(t);
}

static void gradients_of_a_column(void **state) {
    (void)state;
    distill_args a = both;
    check_whole(&a, false);
    a.reverse = true;
    check_whole(&a, true);
}

static void gradients_of_hidden_states(void **state) {
    (void)state;
    distill_args a = {.ce_weight = 0.2f, .temperature = 1, .hidden_weight = 3, .layers = {[4] = true}};
    check_whole(&a, false);
    a = (distill_args){.temperature = 1, .hidden_weight = 3, .layers = {[0] = true, [1] = true, [2] = true}};
    check_whole(&a, true);
    a = both;
    a.hidden_weight = 1;
    a.layers[2] = a.layers[4] = true;
    check_whole(&a, false);
}

/* ---- hidden states ---- */

typedef struct seen_stream {
    float *last[5];
    const kernels *k;
} seen_stream;

static void see(void *context, int layer, int number, const void *x, int64_t rows) {
    seen_stream *s = context;
    (void)number;
    free(s->last[layer]);
    s->last[layer] = xmalloc((size_t)rows * 32 * sizeof(float));
    s->k->download(s->last[layer], x, (size_t)rows * 32 * sizeof(float));
}

static double distance(const float *x, const float *t) {
    double off = 0, all = 0;
    for (int i = 0; i < N * 32; i++) {
        off += ((double)x[i] - (double)t[i]) * ((double)x[i] - (double)t[i]);
        all += (double)t[i] * (double)t[i];
    }
    return off / all;
}

static void sums_of_hidden_states(void **state) {
    (void)state;
    model_config c = looped();
    c.moe.aux_weight = 0;
    model *m = make(&c, 5), *t = make(&c, 6);
    seen_stream student = {.k = m->k}, teacher = {.k = m->k};
    distill_args a = {.ce_weight = 1, .temperature = 1, .hidden_weight = 2, .layers = {[1] = true, [3] = true}};
    pass *p;
    data d;
    make_data(&d, NULL);
    assert_ok(pass_create(&p, m));
    assert_ok(pass_create(&a.teacher, t));
    pass_watch_stream(p, see, &student);
    pass_watch_stream(a.teacher, see, &teacher);
    assert_ok(pass_observe(p, &d.b, -1));
    assert_ok(pass_observe(a.teacher, &d.b, -1));
    pass_watch_stream(p, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        a.layers[4] = i;
        assert_ok(pass_distill(p, &a));
        double want = distance(student.last[1], teacher.last[1]) + distance(student.last[3], teacher.last[3]);
        if (i) want += distance(student.last[4], teacher.last[4]);
        want /= 2 + i;
        const double got = train(p, &d.b).hidden;
        if (!(fabs(got - want) < 1e-5 * want)) fail_msg("hidden is %g, not %g", got, want);
    }
    for (int i = 0; i < 5; i++) {
        free(student.last[i]);
        free(teacher.last[i]);
    }
    pass_destroy(a.teacher);
    model_destroy(t);
    t = make(&c, 5); /* the same model */
    assert_ok(pass_create(&a.teacher, t));
    a.ce_weight = 0;
    assert_ok(pass_distill(p, &a));
    assert_true(train(p, &d.b).hidden == 0);
    int64_t count;
    float *all = gradients(m, &count);
    for (int64_t i = 0; i < count; i++) assert_true(all[i] == 0);
    free(all);
    pass_destroy(a.teacher);
    pass_destroy(p);
    model_destroy(m);
    model_destroy(t);
}

/* Tokens that are generated between steps are compared with nothing. */
static void generating_in_between(void **state) {
    (void)state;
    const model_config c = looped();
    model *m = make(&c, 5), *t = make(&c, 6);
    distill_args a = {.ce_weight = 1, .temperature = 1, .hidden_weight = 2, .layers = {[1] = true, [4] = true}};
    pass *p;
    kv_cache *cache;
    data d;
    float logits[VOCAB];
    make_data(&d, NULL);
    assert_ok(pass_create(&p, m));
    assert_ok(pass_create(&a.teacher, t));
    assert_ok(kv_cache_create(&cache, m, 1, 8));
    assert_ok(pass_distill(p, &a));
    const double hidden = train(p, &d.b).hidden;
    assert_ok(pass_decode(p, cache, d.ids, 3, logits));
    assert_true(hidden > 0 && pass_read(p)->hidden == hidden);
    kv_cache_destroy(cache);
    pass_destroy(a.teacher);
    pass_destroy(p);
    model_destroy(m);
    model_destroy(t);
}

/* ---- refusals ---- */

static void bad_columns(void **state) {
    (void)state;
    const model_config c = looped();
    model *m = make(&c, 5);
    pass *p;
    data d, good;
    make_data(&good, NULL);
    assert_ok(pass_create(&p, m));
    assert_ok(pass_distill(p, &both));
    const float bad[] = {NAN, INFINITY, -INFINITY, 0.5f};
    for (int i = 0; i < 4; i++) {
        make_data(&d, NULL);
        d.log_probs[3 * LISTED + 1] = bad[i];
        assert_fails(pass_train(p, &d.b, 1), "target 3: expected the logarithm of a probability of id");
        make_data(&d, NULL);
        d.rest[4] = bad[i];
        if (i != 2) assert_fails(pass_train(p, &d.b, 1), "target 4: expected the logarithm of what the others have");
    }
    make_data(&d, NULL);
    d.listed[LISTED] = VOCAB;
    assert_fails(pass_train(p, &d.b, 1), "target 1: id 60 is beyond the vocabulary of 60");
    make_data(&d, NULL);
    d.listed[1] = d.listed[0];
    assert_fails(pass_train(p, &d.b, 1), "target 0: id 0 is there twice");
    make_data(&d, NULL);
    d.teacher.k = 0;
    assert_fails(pass_train(p, &d.b, 1), "at least 1 token a target, found 0");
    d.b.teacher = NULL;
    assert_fails(pass_train(p, &d.b, 1), "teacher_weight 2: the batch has no teacher");
    assert_true(isfinite(train(p, &good.b).kl));
    pass_destroy(p);
    model_destroy(m);
}

static void bad_teachers(void **state) {
    (void)state;
    const model_config c = looped();
    model_config wide = c, deep = c;
    wide.model_dim = 64;
    deep.num_layers = 5;
    model *m = make(&c, 5), *t;
    distill_args a = {.ce_weight = 1, .temperature = 1, .hidden_weight = 1, .layers = {[4] = true}};
    pass *p;
    assert_ok(pass_create(&p, m));
    assert_fails(pass_distill(p, &a), "there is no teacher");
    for (int i = 0; i < 2; i++) {
        t = make(i ? &wide : &deep, 6);
        assert_ok(pass_create(&a.teacher, t));
        assert_fails(pass_distill(p, &a), i ? "teacher: expected 4 layers of 32 channels, as the model that learns has "
                                              "them, found 4 of 64"
                                            : "found 5 of 32");
        pass_destroy(a.teacher);
        model_destroy(t);
    }
    t = make(&c, 6);
    assert_ok(pass_create(&a.teacher, t));
    a.layers[5] = true;
    assert_fails(pass_distill(p, &a), "layer 5: expected at most 4");
    a.layers[4] = a.layers[5] = false;
    assert_fails(pass_distill(p, &a), "expected at least one layer");
    pass_destroy(a.teacher);
    pass_destroy(p);
    model_destroy(m);
    model_destroy(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_a_column),      cmocka_unit_test(plain_is_plain),
        cmocka_unit_test(gradients_of_a_column), cmocka_unit_test(gradients_of_hidden_states),
        cmocka_unit_test(sums_of_hidden_states), cmocka_unit_test(generating_in_between),
        cmocka_unit_test(bad_columns),           cmocka_unit_test(bad_teachers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
