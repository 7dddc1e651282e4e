/* Every op against finite differences. A case builds y from leaves and parameters; with fixed random weights c the scalar
 * Σ c ⊙ y is differentiated by the tape and by central differences in float32. Where the machine has bf16, its gradients
 * are held against the float32 ones, to bf16's tolerance. */
#include "base/memory.h"
#include "base/random.h"
#include "grad/op.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
    layout l;
    bool documents;
    float aux_weight;
    double aux; /* what op_moe adds to the loss */
    activation f;
    int top_k;
    gate_kind gate;
    float z_weight, noise_std;
} fixture;

typedef var *(*build_fn)(fixture *f);

static void *device_copy(const kernels *k, const void *host, size_t bytes) {
    void *pointer;
    assert_int_equal(k->alloc(&pointer, bytes), STATUS_OK);
    k->upload(pointer, host, bytes);
    return pointer;
}

static void fill(fixture *f, param *p, float std, float mean) {
    rng r = rng_named(7, p->name);
    int64_t count = param_count(p);
    float *values = xmalloc((size_t)count * sizeof *values);
    rng_normal(&r, values, (size_t)count, std);
    for (int64_t i = 0; i < count; i++) values[i] += mean;
    f->k->upload(p->value.data, values, (size_t)count * sizeof *values);
    free(values);
}

static param *add_param(fixture *f, int64_t rows, int64_t cols, bool matrix, float std, float mean) {
    char name[16];
    snprintf(name, sizeof name, "p%d", f->param_count);
    int64_t shape[2] = {rows, cols};
    param **p = &f->params[f->param_count++];
    assert_int_equal(
        rows ? param_create(p, f->k, name, 2, shape, matrix) : param_create(p, f->k, name, 1, shape + 1, 0), STATUS_OK);
    fill(f, *p, std, mean);
    return *p;
}

static void add_leaf(fixture *f, int64_t cols) {
    char name[16];
    snprintf(name, sizeof name, "leaf%d", f->leaf_count);
    int64_t shape[2] = {N, cols};
    assert_int_equal(param_create(&f->leaves[f->leaf_count], f->k, name, 2, shape, false), STATUS_OK);
    fill(f, f->leaves[f->leaf_count++], 1, 0);
}

static void start(fixture *f, dtype act, bool documents) {
    *f = (fixture){.k = kernels_for(act), .documents = documents, .f = ACTIVATION_LEAKY_RELU2, .top_k = 2};
    assert_int_equal(tape_create(&f->t, f->k), STATUS_OK);
    int32_t ids[N], targets[N], first[N];
    for (int n = 0; n < N; n++) {
        ids[n] = (n * 7 + n / 3) % VOCAB;
        targets[n] = n % 5 == 4 ? -1 : (n * 3 + 1) % VOCAB;
        first[n] = n % T >= 4 ? 4 : 0; /* a second document starts at position 4 of each row */
    }
    f->ids = device_copy(f->k, ids, sizeof ids);
    f->targets = device_copy(f->k, targets, sizeof targets);
    f->first = device_copy(f->k, first, sizeof first);
    f->l = (layout){.batch = B, .length = T, .first = documents ? f->first : NULL};
}

static void finish(fixture *f) {
    for (int i = 0; i < f->leaf_count; i++) param_destroy(f->leaves[i], f->k);
    for (int i = 0; i < f->param_count; i++) param_destroy(f->params[i], f->k);
    f->k->release(f->ids);
    f->k->release(f->targets);
    f->k->release(f->first);
    tape_destroy(f->t);
}

static float *act_to_host(fixture *f, const void *array, int64_t count) {
    float *device, *host = xmalloc((size_t)count * sizeof *host);
    assert_int_equal(f->k->alloc((void **)&device, (size_t)count * sizeof *device), STATUS_OK);
    f->k->to_float(device, array, count);
    f->k->download(host, device, (size_t)count * sizeof *host);
    f->k->release(device);
    return host;
}

static var *forward(fixture *f, build_fn build, bool recording) {
    tape_reset(f->t, recording);
    for (int i = 0; i < f->param_count; i++) assert_int_equal(param_refresh(f->params[i], f->k, 0), STATUS_OK);
    for (int i = 0; i < f->leaf_count; i++) {
        f->leaf_vars[i] = new_matrix(f->t, N, tensor_cols(&f->leaves[i]->value));
        f->k->to_act(f->leaf_vars[i]->value.data, f->leaves[i]->value.data, param_count(f->leaves[i]));
    }
    var *y = build(f);
    assert_int_equal(tape_status(f->t), STATUS_OK);
    return y;
}

static float *coefficients(int64_t count) {
    float *c = xmalloc((size_t)count * sizeof *c);
    rng r = rng_named(11, "coefficients");
    rng_normal(&r, c, (size_t)count, 1);
    return c;
}

/* A loss op has no output var: then the case's `aux` is the whole loss. */
static double loss(fixture *f, build_fn build) {
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
static float *gradients(fixture *f, build_fn build, int64_t *total) {
    var *y = forward(f, build, true);
    if (y) {
        int64_t count = tensor_count(&y->value);
        float *c = coefficients(count), *device = device_copy(f->k, c, (size_t)count * sizeof *c);
        f->k->to_act(tape_grad(f->t, y).data, device, count);
        f->k->release(device);
        free(c);
    }
    tape_backward(f->t);
    assert_int_equal(tape_status(f->t), STATUS_OK);
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
        f->k->download(at, f->params[i]->grad, (size_t)n * sizeof *at);
        at += n;
    }
    return all;
}

static double difference(fixture *f, build_fn build, param *p, int64_t index, float step) {
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

static double largest(const float *x, int64_t count) {
    double most = 1e-6;
    for (int64_t i = 0; i < count; i++) most = fabs((double)x[i]) > most ? fabs((double)x[i]) : most;
    return most;
}

/* Sample of the elements of one array: analytic against numeric, relative to the array's largest gradient. */
static void check_array(fixture *f, build_fn build, param *p, const float *analytic) {
    int64_t count = param_count(p), stride = count > 40 ? count / 40 + 1 : 1;
    double scale = largest(analytic, count);
    for (int64_t i = 0; i < count; i += stride) {
        double numeric = difference(f, build, p, i, 2e-3f);
        if (fabs(numeric - (double)analytic[i]) > 2e-2 * scale + 2e-3)
            fail_msg("%s[%lld]: tape %g, finite difference %g", p->name, (long long)i, (double)analytic[i], numeric);
    }
}

static void check(void (*prepare)(fixture *), build_fn build, bool documents) {
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

/* ---- the cases ---- */

static void one_leaf(fixture *f) {
    add_leaf(f, D);
}
static void two_leaves(fixture *f) {
    add_leaf(f, D);
    add_leaf(f, D);
}

static void prepare_embed(fixture *f) {
    add_param(f, VOCAB, D, true, 1, 0);
}
static var *build_embed(fixture *f) {
    return op_embed(f->t, f->params[0], f->ids, N);
}

static void prepare_linear(fixture *f) {
    add_leaf(f, D);
    add_param(f, HIDDEN, D, true, 0.3f, 0);
}
static var *build_linear(fixture *f) {
    return op_linear(f->t, f->leaf_vars[0], f->params[0]);
}

/* The same layer twice: gradients of a recurrence add up. */
static void prepare_recurrence(fixture *f) {
    add_leaf(f, D);
    add_param(f, D, D, true, 0.3f, 0);
}
static var *build_recurrence(fixture *f) {
    return op_linear(f->t, op_linear(f->t, f->leaf_vars[0], f->params[0]), f->params[0]);
}

static var *build_rms_norm(fixture *f) {
    return op_rms_norm(f->t, f->leaf_vars[0], 0.7f);
}

static var *build_add(fixture *f) {
    return op_add(f->t, f->leaf_vars[0], f->leaf_vars[1]);
}
static void prepare_scale_add(fixture *f) {
    two_leaves(f);
    add_param(f, 0, D, false, 1, 0);
}
static var *build_scale_add(fixture *f) {
    return op_scale_add(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0]);
}

static void prepare_mix(fixture *f) {
    two_leaves(f);
    add_param(f, 2, D, false, 1, 0);
}
static var *build_mix(fixture *f) {
    return op_mix(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0]);
}
static var *build_mix_same(fixture *f) {
    var *x = op_add(f->t, f->leaf_vars[0], f->leaf_vars[1]);
    return op_mix(f->t, x, x, f->params[0]);
}

static void prepare_smear(fixture *f) {
    add_leaf(f, D);
    add_param(f, 0, 12, false, 1, 0);
}
static var *build_smear(fixture *f) {
    return op_smear(f->t, f->leaf_vars[0], f->params[0], &f->l, NULL);
}

static void prepare_skip(fixture *f) {
    two_leaves(f);
    add_param(f, 3, D, false, 1, 0);
    add_param(f, 3, D, false, 1, 0);
}
static var *build_gated_skip(fixture *f) {
    return op_skip(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0], f->params[1], 1);
}
static var *build_plain_skip(fixture *f) {
    return op_skip(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0], NULL, 2);
}
static var *build_skip_same(fixture *f) {
    var *x = op_add(f->t, f->leaf_vars[0], f->leaf_vars[1]);
    return op_skip(f->t, x, x, f->params[0], f->params[1], 0);
}

static void prepare_head_norm(fixture *f) {
    add_leaf(f, HEADS * 8);
    add_param(f, 0, HEADS, false, 1, 2);
}
static var *build_head_norm(fixture *f) {
    return op_head_norm_rope(f->t, f->leaf_vars[0], f->params[0], &f->l, HEADS, 4, 10000);
}
static var *build_head_norm_no_gain(fixture *f) {
    return op_head_norm_rope(f->t, f->leaf_vars[0], NULL, &f->l, HEADS, 8, 10000);
}

static void prepare_attention(fixture *f) {
    add_leaf(f, HEADS * 8);
    add_leaf(f, KV_HEADS * 8);
    add_leaf(f, KV_HEADS * 8);
}
static var *build_attention(fixture *f) {
    return op_attention(f->t, f->leaf_vars[0], f->leaf_vars[1], f->leaf_vars[2], &f->l, HEADS, KV_HEADS, NULL);
}
static var *build_xsa(fixture *f) {
    return op_xsa(f->t, f->leaf_vars[0], f->leaf_vars[1], HEADS, KV_HEADS);
}
static var *build_attention_xsa(fixture *f) {
    return op_xsa(f->t, build_attention(f), f->leaf_vars[2], HEADS, KV_HEADS);
}

static void prepare_mlp(fixture *f) {
    add_leaf(f, D);
    add_param(f, HIDDEN, D, true, 0.3f, 0);
    add_param(f, D, HIDDEN, true, 0.3f, 0);
}
static void prepare_relu2(fixture *f) {
    prepare_mlp(f);
    f->f = ACTIVATION_RELU2;
}
static void prepare_swiglu(fixture *f) {
    add_leaf(f, D);
    add_param(f, 2 * HIDDEN, D, true, 0.3f, 0);
    add_param(f, D, HIDDEN, true, 0.3f, 0);
    f->f = ACTIVATION_SWIGLU;
}
static var *build_mlp(fixture *f) {
    return op_mlp(f->t, f->leaf_vars[0], f->params[0], f->params[1], f->f);
}

static void prepare_moe(fixture *f) {
    add_leaf(f, D);
    add_param(f, EXPERTS, D, false, 1, 0);
    for (int e = 0; e < EXPERTS; e++) add_param(f, HIDDEN, D, true, 0.3f, 0);
    for (int e = 0; e < EXPERTS; e++) add_param(f, D, HIDDEN, true, 0.3f, 0);
    f->aux_weight = 0.5f;
}
static void prepare_moe_top1(fixture *f) {
    prepare_moe(f);
    f->top_k = 1;
}
static void prepare_moe_renormalized(fixture *f) {
    prepare_moe(f);
    f->gate = GATE_RENORMALIZED;
}
static void prepare_moe_every(fixture *f) {
    prepare_moe(f);
    f->top_k = EXPERTS;
}
static void prepare_moe_soft(fixture *f) {
    prepare_moe(f);
    f->gate = GATE_SOFT;
    f->top_k = 1;
}
static void prepare_moe_z(fixture *f) {
    prepare_moe(f);
    f->z_weight = 0.3f;
}
static void prepare_moe_bias(fixture *f) {
    prepare_moe(f);
    f->top_k = 1;
    float far[EXPERTS] = {0, 0, 2}; /* beyond any probability: expert 2 is everyone's choice */
    int64_t shape[1] = {EXPERTS};
    assert_int_equal(param_create(&f->params[f->param_count], f->k, "bias", 1, shape, false), STATUS_OK);
    f->k->upload(f->params[f->param_count]->value.data, far, sizeof far);
    f->param_count++;
}
static var *build_moe(fixture *f) {
    const param *bias = f->param_count > 1 + 2 * EXPERTS ? f->params[1 + 2 * EXPERTS] : NULL;
    moe_args args = {.experts = EXPERTS,
                     .top_k = f->top_k,
                     .gate = f->gate,
                     .f = f->f,
                     .aux_weight = f->aux_weight,
                     .z_weight = f->z_weight,
                     .noise_std = f->noise_std,
                     .noise_seed = 3,
                     .bias = bias};
    moe_stats stats;
    var *y = op_moe(f->t, f->leaf_vars[0], f->params[0], f->params + 1, f->params + 1 + EXPERTS, &args, &stats);
    if (bias) assert_float_equal(stats.share[2], 1, 1e-6);
    f->aux = (double)f->aux_weight * stats.aux + (double)f->z_weight * stats.z;
    return y;
}

/* The straight-through gate's gradient is not that of its value: its own rule, by hand. With ȳ_e = the output of expert e and
 * one-hot gates, d/dp_e = dy · ȳ_e for every expert, so soft gates' gradient of the router is the same wherever soft
 * and hard outputs meet: at E = 1 copies. Here all experts are copies of the first, whose output y then is the same for
 * every gate: the router's gradient must vanish and the experts' must be that of one dense MLP, split by who was chosen. */
static void test_moe_straight_through(void **state) {
    (void)state;
    fixture f, dense;
    int64_t total;
    start(&f, DTYPE_F32, false);
    prepare_moe(&f);
    f.aux_weight = 0;
    f.gate = GATE_STRAIGHT_THROUGH;
    for (int e = 1; e < EXPERTS; e++) {
        f.k->copy(f.params[1 + e]->value.data, f.params[1]->value.data, HIDDEN * D * sizeof(float));
        f.k->copy(f.params[1 + EXPERTS + e]->value.data, f.params[1 + EXPERTS]->value.data, HIDDEN * D * sizeof(float));
    }
    float *g = gradients(&f, build_moe, &total);
    start(&dense, DTYPE_F32, false);
    add_leaf(&dense, D);
    add_param(&dense, HIDDEN, D, true, 0.3f, 0);
    add_param(&dense, D, HIDDEN, true, 0.3f, 0);
    dense.k->copy(dense.params[0]->value.data, f.params[1]->value.data, HIDDEN * D * sizeof(float));
    dense.k->copy(dense.params[1]->value.data, f.params[1 + EXPERTS]->value.data, HIDDEN * D * sizeof(float));
    float *h = gradients(&dense, build_mlp, &total);
    for (int i = 0; i < N * D; i++) assert_float_equal(g[i], h[i], 1e-4); /* of x */
    const float *router = g + N * D, *experts = router + EXPERTS * D, *one = h + N * D;
    for (int i = 0; i < EXPERTS * D; i++) assert_float_equal(router[i], 0, 1e-4);
    for (int i = 0; i < HIDDEN * D; i++) {
        float sum = 0;
        for (int e = 0; e < EXPERTS; e++) sum += experts[e * HIDDEN * D + i];
        assert_float_equal(sum, one[i], 1e-3);
    }
    free(g);
    free(h);
    finish(&f);
    finish(&dense);
}

/* Gates are one-hot forward, recording or not, and every expert's output reaches the router. */
static void test_moe_straight_through_router(void **state) {
    (void)state;
    fixture f;
    int64_t total;
    start(&f, DTYPE_F32, false);
    prepare_moe(&f);
    f.aux_weight = 0;
    f.gate = GATE_STRAIGHT_THROUGH;
    var *y = forward(&f, build_moe, true);
    float *recorded = act_to_host(&f, y->value.data, N * D);
    y = forward(&f, build_moe, false);
    float *plain = act_to_host(&f, y->value.data, N * D);
    for (int i = 0; i < N * D; i++) assert_float_equal(recorded[i], plain[i], 1e-5);
    float *through = gradients(&f, build_moe, &total);
    for (int i = 0; i < f.param_count; i++) param_zero_grad(f.params[i], f.k);
    f.gate = GATE_SOFT; /* d/dp_e = dy · ȳ_e is the soft gates' too: the router's gradients are equal */
    float *soft = gradients(&f, build_moe, &total);
    for (int i = N * D; i < N * D + EXPERTS * D; i++) assert_float_equal(through[i], soft[i], 1e-4);
    assert_true(largest(through + N * D, EXPERTS * D) > 0.01);
    free(recorded);
    free(plain);
    free(through);
    free(soft);
    finish(&f);
}

/* Noise is there only when recording, is the same for the same seed, and moves choices. */
static void test_moe_noise(void **state) {
    (void)state;
    fixture f;
    start(&f, DTYPE_F32, false);
    prepare_moe(&f);
    f.top_k = 1;
    float *clean = act_to_host(&f, forward(&f, build_moe, false)->value.data, N * D);
    f.noise_std = 3;
    float *evaluated = act_to_host(&f, forward(&f, build_moe, false)->value.data, N * D);
    float *noisy = act_to_host(&f, forward(&f, build_moe, true)->value.data, N * D);
    float *again = act_to_host(&f, forward(&f, build_moe, true)->value.data, N * D);
    assert_memory_equal(clean, evaluated, N * D * sizeof *clean);
    assert_memory_equal(noisy, again, N * D * sizeof *noisy);
    assert_memory_not_equal(clean, noisy, N * D * sizeof *noisy);
    free(clean);
    free(evaluated);
    free(noisy);
    free(again);
    finish(&f);
}

static void prepare_scalar_add(fixture *f) {
    two_leaves(f);
    int64_t none[1] = {0};
    assert_int_equal(param_create(&f->params[f->param_count], f->k, "scale", 0, none, false), STATUS_OK);
    fill(f, f->params[f->param_count++], 1, 0.5f);
}
static var *build_scalar_add(fixture *f) {
    return op_scalar_add(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0]);
}

static var *build_activate(fixture *f) {
    return op_activate(f->t, f->leaf_vars[0], f->f);
}
static void prepare_activate_swiglu(fixture *f) {
    add_leaf(f, 2 * D);
    f->f = ACTIVATION_SWIGLU;
}

/* Chunks of 6, 6, 5 and 5 channels. */
static void prepare_chunk_gate(fixture *f) {
    add_leaf(f, 22);
    add_leaf(f, D);
    add_param(f, 0, 22, false, 1, 1);
    add_param(f, 4, D, false, 1, 0);
}
static var *build_chunk_gate(fixture *f) {
    return op_chunk_gate(f->t, f->leaf_vars[0], f->params[0], f->leaf_vars[1], f->params[1]);
}
static var *build_chunk_gain(fixture *f) {
    return op_chunk_gate(f->t, f->leaf_vars[0], f->params[0], f->leaf_vars[1], NULL);
}
static var *build_chunk_router(fixture *f) {
    return op_chunk_gate(f->t, f->leaf_vars[0], NULL, f->leaf_vars[1], f->params[1]);
}

/* The up-projection of #1692 as a whole, with R frozen: dx comes through it, but no gradient of its own. */
static void prepare_random_up(fixture *f) {
    add_leaf(f, D);
    add_param(f, 0, HIDDEN, false, 1, 1);
    add_param(f, 3, D, false, 1, 0);
    add_param(f, HIDDEN, D, true, 0.3f, 0);
    f->f = ACTIVATION_RELU2;
}
static var *build_random_up(fixture *f) {
    var *x = f->leaf_vars[0], *u = op_linear(f->t, x, f->params[2]);
    return op_activate(f->t, op_chunk_gate(f->t, u, f->params[0], x, f->params[1]), f->f);
}
static void test_frozen(void **state) {
    (void)state;
    fixture f;
    start(&f, DTYPE_F32, false);
    prepare_random_up(&f);
    param_freeze(f.params[2], f.k);
    var *y = forward(&f, build_random_up, true);
    f.k->zero(tape_grad(f.t, y).data, tensor_bytes(&y->value));
    tape_backward(f.t);
    assert_int_equal(tape_status(f.t), STATUS_OK);
    assert_false(f.params[2]->has_grad);
    assert_true(f.params[0]->has_grad && f.params[1]->has_grad);
    finish(&f);
}

static void prepare_loss(fixture *f) {
    add_leaf(f, D);
    add_param(f, VOCAB, D, true, 1, 0);
}
static var *build_cross_entropy(fixture *f) {
    assert_int_equal(op_cross_entropy(f->t, f->leaf_vars[0], f->params[0], f->targets, 5, 1, &f->aux, NULL), STATUS_OK);
    return NULL;
}

#define CASE(name, prepare, build)                                                                                     \
    static void test_##name(void **state) {                                                                            \
        (void)state;                                                                                                   \
        check(prepare, build, false);                                                                                  \
        check(prepare, build, true);                                                                                   \
    }
CASE(embed, prepare_embed, build_embed)
CASE(linear, prepare_linear, build_linear)
CASE(recurrence, prepare_recurrence, build_recurrence)
CASE(rms_norm, one_leaf, build_rms_norm)
CASE(add, two_leaves, build_add)
CASE(scale_add, prepare_scale_add, build_scale_add)
CASE(mix, prepare_mix, build_mix)
CASE(mix_same, prepare_mix, build_mix_same)
CASE(smear, prepare_smear, build_smear)
CASE(gated_skip, prepare_skip, build_gated_skip)
CASE(plain_skip, prepare_skip, build_plain_skip)
CASE(skip_same, prepare_skip, build_skip_same)
CASE(head_norm, prepare_head_norm, build_head_norm)
CASE(head_norm_no_gain, prepare_head_norm, build_head_norm_no_gain)
CASE(attention, prepare_attention, build_attention)
CASE(xsa, prepare_attention, build_xsa)
CASE(attention_xsa, prepare_attention, build_attention_xsa)
CASE(mlp, prepare_mlp, build_mlp)
CASE(mlp_relu2, prepare_relu2, build_mlp)
CASE(mlp_swiglu, prepare_swiglu, build_mlp)
CASE(moe_top1, prepare_moe_top1, build_moe)
CASE(moe_top2, prepare_moe, build_moe)
CASE(moe_renormalized, prepare_moe_renormalized, build_moe)
CASE(moe_every, prepare_moe_every, build_moe)
CASE(moe_soft, prepare_moe_soft, build_moe)
CASE(moe_z, prepare_moe_z, build_moe)
CASE(moe_bias, prepare_moe_bias, build_moe)
CASE(scalar_add, prepare_scalar_add, build_scalar_add)
CASE(activate, one_leaf, build_activate)
CASE(activate_swiglu, prepare_activate_swiglu, build_activate)
CASE(chunk_gate, prepare_chunk_gate, build_chunk_gate)
CASE(chunk_gain, prepare_chunk_gate, build_chunk_gain)
CASE(chunk_router, prepare_chunk_gate, build_chunk_router)
CASE(random_up, prepare_random_up, build_random_up)
CASE(cross_entropy, prepare_loss, build_cross_entropy)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_recurrence),
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_scale_add),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_mix_same),
        cmocka_unit_test(test_smear),
        cmocka_unit_test(test_gated_skip),
        cmocka_unit_test(test_plain_skip),
        cmocka_unit_test(test_skip_same),
        cmocka_unit_test(test_head_norm),
        cmocka_unit_test(test_head_norm_no_gain),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_xsa),
        cmocka_unit_test(test_attention_xsa),
        cmocka_unit_test(test_mlp),
        cmocka_unit_test(test_mlp_relu2),
        cmocka_unit_test(test_mlp_swiglu),
        cmocka_unit_test(test_moe_top1),
        cmocka_unit_test(test_moe_top2),
        cmocka_unit_test(test_moe_renormalized),
        cmocka_unit_test(test_moe_every),
        cmocka_unit_test(test_moe_soft),
        cmocka_unit_test(test_moe_z),
        cmocka_unit_test(test_moe_bias),
        cmocka_unit_test(test_moe_straight_through),
        cmocka_unit_test(test_moe_straight_through_router),
        cmocka_unit_test(test_moe_noise),
        cmocka_unit_test(test_scalar_add),
        cmocka_unit_test(test_activate),
        cmocka_unit_test(test_activate_swiglu),
        cmocka_unit_test(test_chunk_gate),
        cmocka_unit_test(test_chunk_gain),
        cmocka_unit_test(test_chunk_router),
        cmocka_unit_test(test_random_up),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_cross_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
