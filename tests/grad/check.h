/* Ops against finite differences. A case builds y from leaves and parameters; with fixed random weights c the scalar
 * Σ c ⊙ y is differentiated by the tape and by central differences in float32. Where the machine has bf16, its gradients
 * are held against the float32 ones, to bf16's tolerance. */
#ifndef MOEC_TESTS_GRAD_CHECK_H
#define MOEC_TESTS_GRAD_CHECK_H

#include "test.h"

#include "base/random.h"
#include "grad/op.h"
#include <math.h>

enum {
    B = 2,
    T = 7,
    N = B * T,
    D = 16,
    HEADS = 4,
    KV_HEADS = 2,
    HIDDEN = 24,
    VOCAB = 20,
    EXPERTS = 3,
    MAX_PARAMS = 16
};

/* Leaves are parameters too (never matrices): their values become vars at the start of each pass. */
typedef struct fixture {
    const kernels *k;
    tape *t;
    param *leaves[3]; /* [N, cols] */
    var *leaf_vars[3];
    int leaf_count;
    param *params[MAX_PARAMS];
    int param_count;
    int32_t *ids, *targets, *first; /* device [N] */
    int32_t *positions;
    rotary *rotary;
    layout l;
    bool documents;
    float aux_weight;
    double aux; /* what op_moe adds to the loss */
    activation f;
    int top_k;
    gate_kind gate;
    float z_weight, noise_std;
    mlp experts[EXPERTS];
    const int32_t *labels; /* device [N]; NULL: none */
    float label_weight;
    bool by_label;
    float *mask;  /* device [B, EXPERTS]; NULL: all */
    double *sums; /* device [ROUTING_SUMS(EXPERTS) + LABEL_SUMS] */
    double found[ROUTING_SUMS(EXPERTS) + LABEL_SUMS];
} fixture;

typedef var *(*build_fn)(fixture *f);

static inline void *device_copy(const kernels *k, const void *host, size_t bytes) {
    void *pointer;
    assert_ok(k->alloc(&pointer, bytes));
    k->upload(pointer, host, bytes);
    return pointer;
}

static inline void fill(fixture *f, param *p, float std, float mean) {
    rng r = rng_named(7, p->name);
    int64_t count = param_count(p);
    float *values = xmalloc((size_t)count * sizeof *values);
    rng_normal(&r, values, (size_t)count, std);
    for (int64_t i = 0; i < count; i++) values[i] += mean;
    f->k->upload(p->value.data, values, (size_t)count * sizeof *values);
    free(values);
}

static inline float *device_zeros(fixture *f, int64_t count) {
    void *pointer;
    assert_ok(f->k->alloc(&pointer, (size_t)count * sizeof(float)));
    f->k->zero(pointer, (size_t)count * sizeof(float));
    return pointer;
}

/* A parameter with its own memory, of any shape. */
static inline param *new_param(fixture *f, const char *name, int ndim, const int64_t *shape, bool matrix, float std,
                               float mean) {
    param *p = param_create(name, ndim, shape);
    p->value.data = device_zeros(f, param_count(p));
    p->grad = device_zeros(f, param_count(p));
    if (matrix) assert_ok(f->k->weight_create(&p->matrix, shape[0], shape[1], NULL));
    p->is_matrix = matrix;
    fill(f, p, std, mean);
    return p;
}

static inline void free_param(fixture *f, param *p) {
    f->k->release(p->value.data);
    f->k->release(p->grad);
    param_destroy(p, f->k);
}

/* rows 0: a vector */
static inline param *add_param(fixture *f, int64_t rows, int64_t cols, bool matrix, float std, float mean) {
    char name[16];
    snprintf(name, sizeof name, "p%d", f->param_count);
    int64_t shape[2] = {rows, cols};
    param *p =
        rows ? new_param(f, name, 2, shape, matrix, std, mean) : new_param(f, name, 1, shape + 1, false, std, mean);
    f->params[f->param_count++] = p;
    return p;
}

static inline void add_leaf(fixture *f, int64_t cols) {
    char name[16];
    snprintf(name, sizeof name, "leaf%d", f->leaf_count);
    f->leaves[f->leaf_count++] = new_param(f, name, 2, (int64_t[]){N, cols}, false, 1, 0);
}

/* Rotation of the first `dims` of head_dim channels, by either convention. */
static inline void set_rotary(fixture *f, int head_dim, int dims, rotary_style style) {
    const rotary_config config = {.base = 10000, .dims = dims, .style = style};
    assert_ok(rotary_create(&f->rotary, f->k, &config, head_dim));
    f->l.rotary = rotary_reserve(f->rotary, T);
    assert_non_null(f->l.rotary);
}

static inline void start(fixture *f, dtype act, bool documents) {
    *f = (fixture){.k = kernels_for(act), .documents = documents, .f = ACTIVATION_LEAKY_RELU2, .top_k = 2};
    assert_ok(tape_create(&f->t, f->k));
    int32_t ids[N], targets[N], first[N], positions[N];
    for (int n = 0; n < N; n++) {
        ids[n] = (n * 7 + n / 3) % VOCAB;
        targets[n] = n % 5 == 4 ? -1 : (n * 3 + 1) % VOCAB;
        positions[n] = n % T;
        first[n] = n % T >= 4 ? 4 : 0; /* a second document starts at position 4 of each row */
    }
    f->ids = device_copy(f->k, ids, sizeof ids);
    f->targets = device_copy(f->k, targets, sizeof targets);
    f->first = device_copy(f->k, first, sizeof first);
    f->positions = device_copy(f->k, positions, sizeof positions);
    f->sums = device_copy(f->k, f->found, sizeof f->found);
    f->l = (layout){.batch = B, .length = T, .first = documents ? f->first : NULL, .positions = f->positions};
}

static inline void finish(fixture *f) {
    for (int i = 0; i < f->leaf_count; i++) free_param(f, f->leaves[i]);
    for (int i = 0; i < f->param_count; i++) free_param(f, f->params[i]);
    rotary_destroy(f->rotary);
    f->k->release(f->positions);
    f->k->release(f->sums);
    f->k->release(f->mask);
    f->k->release(f->ids);
    f->k->release(f->targets);
    f->k->release(f->first);
    tape_destroy(f->t);
}

static inline float *act_to_host(fixture *f, const void *array, int64_t count) {
    float *device, *host = xmalloc((size_t)count * sizeof *host);
    assert_ok(f->k->alloc((void **)&device, (size_t)count * sizeof *device));
    f->k->to_float(device, array, count);
    f->k->download(host, device, (size_t)count * sizeof *host);
    f->k->release(device);
    return host;
}

static inline var *forward(fixture *f, build_fn build, bool recording) {
    tape_reset(f->t, recording);
    for (int i = 0; i < f->param_count; i++) assert_ok(param_refresh(f->params[i], f->k, 0));
    for (int i = 0; i < f->leaf_count; i++) {
        f->leaf_vars[i] = new_matrix(f->t, N, tensor_cols(&f->leaves[i]->value));
        f->k->to_act(f->leaf_vars[i]->value.data, f->leaves[i]->value.data, param_count(f->leaves[i]));
    }
    var *y = build(f);
    assert_ok(tape_status(f->t));
    return y;
}

static inline float *coefficients(int64_t count) {
    float *c = xmalloc((size_t)count * sizeof *c);
    rng r = rng_named(11, "coefficients");
    rng_normal(&r, c, (size_t)count, 1);
    return c;
}

/* A loss op has no output var: then the case's `aux` is the whole loss. */
static inline double loss(fixture *f, build_fn build) {
    var *y = forward(f, build, false);
    double sum = f->aux;
    if (!y) return sum;
    int64_t count = tensor_count(&y->value);
    float *values = act_to_host(f, y->value.data, count), *c = coefficients(count);
    for (int64_t i = 0; i < count; i++) sum += (double)values[i] * (double)c[i];
    free(values);
    free(c);
    return sum;
}

/* Gradients of every leaf and parameter, concatenated. */
static inline float *gradients(fixture *f, build_fn build, int64_t *total) {
    for (int i = 0; i < f->param_count; i++)
        if (f->params[i]->grad) f->k->zero(f->params[i]->grad, tensor_bytes(&f->params[i]->value));
    var *y = forward(f, build, true);
    if (y) {
        int64_t count = tensor_count(&y->value);
        float *c = coefficients(count), *device = device_copy(f->k, c, (size_t)count * sizeof *c);
        f->k->to_act(tape_grad(f->t, y).data, device, count);
        f->k->release(device);
        free(c);
    }
    tape_backward(f->t);
    assert_ok(tape_status(f->t));
    *total = 0;
    for (int i = 0; i < f->leaf_count; i++) *total += param_count(f->leaves[i]);
    for (int i = 0; i < f->param_count; i++) *total += param_count(f->params[i]);
    float *all = xcalloc((size_t)*total, sizeof *all), *at = all;
    for (int i = 0; i < f->leaf_count; i++) {
        int64_t n = param_count(f->leaves[i]);
        if (f->leaf_vars[i]->grad) {
            float *g = act_to_host(f, f->leaf_vars[i]->grad, n);
            memcpy(at, g, (size_t)n * sizeof *g);
            free(g);
        }
        at += n;
    }
    for (int i = 0; i < f->param_count; i++) {
        int64_t n = param_count(f->params[i]);
        if (f->params[i]->grad) f->k->download(at, f->params[i]->grad, (size_t)n * sizeof *at);
        at += n;
    }
    return all;
}

static inline double difference(fixture *f, build_fn build, param *p, int64_t index, float step) {
    float *values = xmalloc(tensor_bytes(&p->value)), kept;
    f->k->download(values, p->value.data, tensor_bytes(&p->value));
    kept = values[index];
    double sides[2];
    for (int side = 0; side < 2; side++) {
        values[index] = kept + (side ? step : -step);
        f->k->upload(p->value.data, values, tensor_bytes(&p->value));
        sides[side] = loss(f, build);
    }
    values[index] = kept;
    f->k->upload(p->value.data, values, tensor_bytes(&p->value));
    free(values);
    return (sides[1] - sides[0]) / (2 * (double)step);
}

static inline double largest(const float *x, int64_t count) {
    double most = 1e-6;
    for (int64_t i = 0; i < count; i++) most = fabs((double)x[i]) > most ? fabs((double)x[i]) : most;
    return most;
}

/* Sample of the elements of one array: analytic against numeric, relative to the array's largest gradient. */
static inline void check_array(fixture *f, build_fn build, param *p, const float *analytic) {
    int64_t count = param_count(p), stride = count > 40 ? count / 40 + 1 : 1;
    double scale = largest(analytic, count);
    for (int64_t i = 0; i < count; i += stride) {
        double numeric = difference(f, build, p, i, 2e-3f);
        if (fabs(numeric - (double)analytic[i]) > 2e-2 * scale + 2e-3)
            fail_msg("%s[%lld]: tape %g, finite difference %g", p->name, (long long)i, (double)analytic[i], numeric);
    }
}

static inline void check(void (*prepare)(fixture *), build_fn build, bool documents) {
    fixture f;
    int64_t total, again;
    start(&f, DTYPE_F32, documents);
    prepare(&f);
    float *reference = gradients(&f, build, &total), *at = reference;
    for (int i = 0; i < f.leaf_count; at += param_count(f.leaves[i++])) check_array(&f, build, f.leaves[i], at);
    for (int i = 0; i < f.param_count; at += param_count(f.params[i++])) check_array(&f, build, f.params[i], at);
    finish(&f);
    if (kernels_for(DTYPE_BF16)) {
        start(&f, DTYPE_BF16, documents);
        prepare(&f);
        float *rounded = gradients(&f, build, &again);
        assert_int_equal(total, again);
        double scale = largest(reference, total);
        for (int64_t i = 0; i < total; i++)
            if (fabs((double)rounded[i] - (double)reference[i]) > 6e-2 * scale)
                fail_msg("bf16 gradient %lld: %g, float32 %g", (long long)i, (double)rounded[i], (double)reference[i]);
        free(rounded);
        finish(&f);
    }
    free(reference);
}

/* ---- leaves that several files use ---- */

static inline void one_leaf(fixture *f) {
    add_leaf(f, D);
}
static inline void two_leaves(fixture *f) {
    add_leaf(f, D);
    add_leaf(f, D);
}
static inline linear only(param *weight) {
    return (linear){.weight = weight};
}

#define CASE(name, prepare, build)                                                                                     \
    static void test_##name(void **state) {                                                                            \
        (void)state;                                                                                                   \
        check(prepare, build, false);                                                                                  \
        check(prepare, build, true);                                                                                   \
    }

#endif
