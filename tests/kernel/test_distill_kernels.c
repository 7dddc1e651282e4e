/* The losses with a teacher against naive ones in double precision, and their gradients against finite differences. */
#include "operation.h"

static kernels tables[MAX_TABLES];
static int table_count;

/* A teacher, and which parts of the loss naive_distill counts. */
typedef struct teacher {
    teacher_args args;
    int32_t *ids;
    float *log_probs, *rest;
    double ce, kl;
} teacher;
static teacher now;

static double naive_cap(double logit, double cap) {
    return cap > 0 ? cap * tanh(logit / cap) : logit;
}

/* x ← log softmax(x / τ) */
static void naive_temper(double *x, int count, double temperature) {
    double largest = -INFINITY, sum = 0;
    for (int c = 0; c < count; c++) largest = fmax(largest, x[c] / temperature);
    for (int c = 0; c < count; c++) sum += exp(x[c] / temperature - largest);
    for (int c = 0; c < count; c++) x[c] = x[c] / temperature - largest - log(sum);
}

static double naive_kl(const double *p, const double *q, int count) {
    double sum = 0;
    for (int c = 0; c < count; c++) sum += exp(p[c]) * (p[c] - q[c]);
    return sum;
}

/* Of one row whose log softmax is `student`. */
static double naive_divergence(const teacher *t, const double *student, int64_t n, int64_t V) {
    const double tau = (double)t->args.temperature;
    double *a = zeros(t->args.k + 1, sizeof *a), *b = zeros(t->args.k + 1, sizeof *b), rest = 0;
    bool *listed = zeros(V, sizeof *listed);
    int count = 0;
    for (; count < t->args.k && t->ids[n * t->args.k + count] >= 0; count++) {
        const int32_t id = t->ids[n * t->args.k + count];
        a[count] = (double)t->log_probs[n * t->args.k + count];
        b[count] = student[id];
        listed[id] = true;
    }
    for (int64_t v = 0; v < V; v++) rest += listed[v] ? 0 : exp(student[v]);
    if (count < V) {
        a[count] = fmax((double)t->rest[n], log(1e-30));
        b[count++] = log(rest);
    }
    naive_temper(a, count, tau);
    naive_temper(b, count, tau);
    const double D = t->args.reverse ? naive_kl(b, a, count) : naive_kl(a, b, count);
    free(a), free(b), free(listed);
    return tau * tau * D;
}

static void naive_distill(operation *op) {
    int64_t V = op->E;
    double *student = zeros(V, sizeof *student);
    for (int64_t n = 0; n < op->N; n++) {
        for (int64_t v = 0; v < V; v++) student[v] = naive_cap(op->in[0][n * V + v], op->cap);
        naive_temper(student, (int)V, 1);
        op->out[n] =
            op->ids[n] < 0 ? 0 : -now.ce * student[op->ids[n]] + now.kl * naive_divergence(&now, student, n, V);
    }
    free(student);
}

/* Row n lists k − n mod 3 tokens of a softmax of its own (at least 0, at most V); `logits`: that of these instead. */
static void make_teacher(int64_t N, int64_t V, int k, const double *logits) {
    now.ids = zeros(N * k, sizeof *now.ids);
    now.log_probs = zeros(N * k, sizeof *now.log_probs);
    now.rest = zeros(N, sizeof *now.rest);
    double *p = zeros(V, sizeof *p);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t v = 0; v < V; v++) p[v] = logits ? logits[n * V + v] : 4 * random_value();
        naive_temper(p, (int)V, 1);
        int count = k - (int)(n % 3);
        int64_t id = random_below(V);
        for (int j = 0; j < k; j++, id = (id + 1) % V) {
            const bool is_there = j < count && j < V;
            now.ids[n * k + j] = is_there ? (int32_t)id : -1;
            now.log_probs[n * k + j] = is_there ? (float)p[id] : NAN;
            if (is_there) p[id] = -INFINITY;
        }
        double rest = 0;
        for (int64_t v = 0; v < V; v++) rest += exp(p[v]);
        now.rest[n] = (float)log(rest);
    }
    now.args.k = k;
    now.args.ids = now.ids;
    now.args.log_probs = now.log_probs;
    now.args.rest = now.rest;
    free(p);
}

static void free_teacher(void) {
    free(now.ids), free(now.log_probs), free(now.rest);
    now = (teacher){0};
}

static void count_loss(double ce, double kl) {
    now.ce = ce;
    now.kl = kl;
}

static void assert_sums(const kernels *k, const char *what, operation *op, const float *got, double reach) {
    op->forward(op);
    for (int64_t n = 0; n < op->N; n++) {
        double error = 4e-5 + 4e-6 * fmax(reach, fabs(op->out[n]));
        if (!(fabs(got[n] - op->out[n]) <= error))
            fail_msg("%s: %s[%ld] is %.9g, not %.9g", k->name, what, (long)n, got[n], op->out[n]);
    }
}

static void check_distill(const kernels *k, int64_t N, int64_t V, int listed, double cap, double reach,
                          teacher_args args) {
    int32_t *targets = zeros(N, sizeof *targets);
    for (int64_t n = 0; n < N; n++) targets[n] = n % 4 == 3 ? -1 : (int32_t)random_below(V);
    operation op = {.forward = naive_distill, .N = N, .E = V, .cap = cap, .ids = targets};
    operation_input(k, &op, N * V, reach);
    now.args = args;
    make_teacher(N, V, listed, NULL);
    for (int64_t n = 0; n < N; n += 5) /* the target among the listed ones, and not */
        if (targets[n] >= 0 && now.ids[n * listed] >= 0) targets[n] = now.ids[n * listed];
    operation_run(&op, N);
    float *logits = float_array(op.in[0], N * V);
    float *nll = float_array(NULL, N), *kl = float_array(NULL, N), *alone = float_array(NULL, N);
    double *weights = zeros(N, sizeof(double));
    for (int64_t n = 0; n < N; n++) weights[n] = 0.125;
    gradient g = gradient_of_act(k, &op, 0, OVERWRITE);
    k->softcap_distill(nll, kl, g.data, logits, targets, &now.args, (float)cap, 0.125f, N, V);
    count_loss(1, 0);
    assert_sums(k, "nll", &op, nll, reach);
    count_loss(0, 1);
    const double tau = (double)args.temperature;
    assert_sums(k, "kl", &op, kl, reach * fmax(1, tau));
    k->softcap_distill(nll, alone, NULL, logits, targets, &now.args, (float)cap, 0.125f, N, V);
    assert_memory_equal(kl, alone, N * sizeof(float));
    for (int64_t n = 3; n < N; n += 4) {
        assert_true(nll[n] == 0 && kl[n] == 0);
        for (int64_t v = 0; v < V; v++) assert_true(act_read(k, g.data, n * V + v) == 0);
    }
    count_loss((double)args.ce_weight, (double)args.teacher_weight);
    const double largest = 0.125 * (now.ce + now.kl * tau * (args.reverse ? 10 : 1));
    for (int64_t n = 0; n < N && n < 12; n++) { /* the target, a listed token and some others */
        for (int i = 0; i < 8; i++) {
            int64_t v = i == 0 ? targets[n] : i == 1 ? now.ids[n * listed] : random_below(V), at = n * V + v;
            if (v < 0) continue;
            assert_near(k, true, "dlogits", at, act_read(k, g.data, at), operation_slope(&op, 0, at, weights), largest);
        }
    }
    free(g.before), free(g.data);
    free(targets), free(logits), free(nll), free(kl), free(alone), free(weights);
    operation_free(&op);
    free_teacher();
}

static void test_distill(void **state) {
    (void)state;
    static const double caps[] = {0, 30};
    static const float temperatures[] = {0.5f, 1, 4};
    static const int64_t shapes[][3] = {/* N, V, k */ {0, 8, 2}, {1, 1, 1},    {4, 2, 1}, {5, 17, 4},
                                        {6, 1000, 64},           {12, 515, 33}};
    for (int t = 0; t < table_count; t++)
        for (int reverse = 0; reverse < 2; reverse++)
            for (size_t tau = 0; tau < 3; tau++)
                for (size_t c = 0; c < 2; c++)
                    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                        check_distill(&tables[t], shapes[s][0], shapes[s][1], (int)shapes[s][2], caps[c], 6,
                                      (teacher_args){.ce_weight = 0.5f,
                                                     .teacher_weight = 2,
                                                     .temperature = temperatures[tau],
                                                     .reverse = reverse});
}

/* Each part alone, and with logits that are far apart. */
static void test_parts(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        const teacher_args ce = {.ce_weight = 1, .temperature = 1}, kl = {.teacher_weight = 1, .temperature = 2};
        check_distill(&tables[t], 6, 515, 9, 30, 6, ce);
        check_distill(&tables[t], 6, 515, 9, 30, 6, kl);
        check_distill(&tables[t], 6, 1031, 20, 30, 40, kl);
        check_distill(&tables[t], 6, 17, 17, 15, 6, kl); /* some rows list all tokens */
    }
}

/* Without a teacher's weight it is the cross-entropy, to the rounding of the order of sums. */
static void test_like_cross_entropy(void **state) {
    (void)state;
    enum { N = 7, V = 300 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        double *values = random_array(k, N * V, 6);
        float *logits = float_array(values, N * V), nll[N], kl[N], plain[N];
        int32_t targets[N];
        for (int n = 0; n < N; n++) targets[n] = n == 2 ? -1 : (int32_t)random_below(V);
        now.args = (teacher_args){.ce_weight = 1, .temperature = 2};
        make_teacher(N, V, 12, NULL);
        void *a = act_array(k, NULL, N * V), *b = act_array(k, NULL, N * V);
        k->softcap_distill(nll, kl, a, logits, targets, &now.args, 30, 1, N, V);
        k->softcap_cross_entropy(plain, b, logits, targets, 30, 1, N, V);
        for (int n = 0; n < N; n++) assert_true(fabsf(nll[n] - plain[n]) <= 1e-6f * plain[n]);
        for (int i = 0; i < N * V; i++) assert_near(k, true, "dlogits", i, act_read(k, a, i), act_read(k, b, i), 0.1);
        free(values), free(logits), free(a), free(b);
        free_teacher();
    }
}

/* At any temperature, either way. */
static void test_agreement_costs_nothing(void **state) {
    (void)state;
    enum { N = 9, V = 400 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        double *values = random_array(k, N * V, 6), *z = zeros(N * V, sizeof *z);
        float *logits = float_array(values, N * V), nll[N], kl[N];
        int32_t targets[N] = {0};
        for (int i = 0; i < N * V; i++) z[i] = naive_cap(values[i], 30);
        for (int i = 0; i < 6; i++) {
            now.args =
                (teacher_args){.teacher_weight = 1, .temperature = (float[]){0.5f, 1, 5}[i % 3], .reverse = i >= 3};
            make_teacher(N, V, 24, z);
            void *g = act_array(k, NULL, N * V);
            k->softcap_distill(nll, kl, g, logits, targets, &now.args, 30, 1, N, V);
            for (int n = 0; n < N; n++) assert_true(fabsf(kl[n]) < 1e-5f);
            for (int at = 0; at < N * V; at++) assert_true(fabs(act_read(k, g, at)) < 1e-5);
            free(g);
            free_teacher();
        }
        free(values), free(logits), free(z);
    }
}

/* A rest of nothing stays finite, whichever side has none. */
static void test_empty_rests(void **state) {
    (void)state;
    const float probs[2] = {-0.6931472f, -0.6931472f}, logits[4] = {50, 50, -200, -200};
    const int32_t ids[2] = {0, 1}, target = 1;
    for (int t = 0; t < table_count; t++) {
        for (int i = 0; i < 4; i++) {
            const float rest = i % 2 ? -INFINITY : -2;
            float nll, kl;
            const teacher_args args = {.k = 2,
                                       .ids = ids,
                                       .log_probs = probs,
                                       .rest = &rest,
                                       .ce_weight = 1,
                                       .teacher_weight = 1,
                                       .temperature = 20,
                                       .reverse = i >= 2};
            void *g = act_array(&tables[t], NULL, 4);
            tables[t].softcap_distill(&nll, &kl, g, logits, &target, &args, 0, 1, 1, 4);
            assert_true(fabsf(nll - 0.6931472f) < 1e-5f && isfinite(kl) && kl >= -1e-6f);
            if (i % 2) assert_true(kl < 1e-4f);
            for (int v = 0; v < 4; v++) assert_true(isfinite(act_read(&tables[t], g, v)));
            free(g);
        }
    }
}

static void test_nan_stays(void **state) {
    (void)state;
    const float probs[2] = {-1, -2}, rest = -0.7f;
    const int32_t ids[2] = {3, 26}, target = 1;
    for (int t = 0; t < table_count; t++) {
        for (int where = 0; where < 40; where += 13) { /* 26 is listed */
            float logits[40] = {0}, nll = 0, kl = 0;
            logits[where] = NAN;
            const teacher_args args = {.k = 2, .ids = ids, .log_probs = probs, .rest = &rest, .temperature = 1};
            for (float cap = 0; cap <= 30; cap += 30) {
                tables[t].softcap_distill(&nll, &kl, NULL, logits, &target, &args, cap, 1, 1, 40);
                assert_true(isnan(nll) && isnan(kl));
            }
        }
    }
}

/* ---- hidden states ---- */

static void naive_match(operation *op) {
    double distance = 0, target = 0;
    for (int64_t i = 0; i < op->count[0]; i++) {
        distance += (op->in[0][i] - op->in[1][i]) * (op->in[0][i] - op->in[1][i]);
        target += op->in[1][i] * op->in[1][i];
    }
    op->out[0] = distance / target;
}

static void check_match(const kernels *k, int64_t count, gradient_mode mode) {
    operation op = {.forward = naive_match};
    operation_input(k, &op, count, 3);
    operation_input(k, &op, count, 2);
    operation_run(&op, 1);
    void *x = act_array(k, op.in[0], count), *target = act_array(k, op.in[1], count);
    gradient g = gradient_of_act(k, &op, 0, mode);
    double sum = 1;
    float factor;
    k->match(&sum, &factor, x, target, count);
    assert_near(k, false, "sum", 0, sum - 1, op.out[0], op.out[0]);
    k->match_backward(gradient_out(g, mode), x, target, &factor, 0.25f, count);
    gradient_check(k, &op, "dx", 0, g, (double[]){0.25});
    free(x), free(target);
    operation_free(&op);
}

static void test_match(void **state) {
    (void)state;
    static const int64_t counts[] = {1, 31, 5000, 40000};
    for (int t = 0; t < table_count; t++)
        for (int c = 0; c < 4; c++)
            for (gradient_mode mode = OVERWRITE; mode <= UNWANTED; mode++) check_match(&tables[t], counts[c], mode);
}

/* Nothing to be near to: no loss rather than one that is not a number. */
static void test_match_of_nothing(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        double sum = 0, x[4] = {1, 2, 3, 4}, zero[4] = {0};
        void *a = act_array(&tables[t], x, 4), *b = act_array(&tables[t], zero, 4);
        float factor = 1;
        tables[t].match(&sum, &factor, a, b, 4);
        assert_true(sum == 0 && factor == 0);
        free(a), free(b);
    }
}

static void fill_avx2(kernels *k) {
    fill_loss_avx2_f32(k);
    fill_distill_avx2_f32(k);
}
static void fill_avx512(kernels *k) {
    fill_loss_avx512_f32(k);
    fill_distill_avx512_f32(k);
}
static void fill_bf16(kernels *k) {
    fill_loss_avx512bf16_bf16(k);
    fill_distill_avx512bf16_bf16(k);
}

int main(void) {
    table_count = test_tables(tables, fill_avx2, fill_avx512, fill_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distill),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_like_cross_entropy),
        cmocka_unit_test(test_agreement_costs_nothing),
        cmocka_unit_test(test_empty_rests),
        cmocka_unit_test(test_nan_stays),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_match_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
