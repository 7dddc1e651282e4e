#include "tiny.h"

#include "nn/roles.h"
#include "store/tensor_file.h"
#include "train/average.h"
#include "train/schedule.h"
#include <math.h>

typedef struct expected_group {
    const char *name;
    param_group group;
} expected_group;

static void assert_group(const model *m, const char *name, param_group expected) {
    const param *p = model_find(m, name);
    if (!p) fail_msg("no parameter %s", name);
    if (optimizer_group(p) != expected)
        fail_msg("%s is in group %s, not %s", name, param_group_name(optimizer_group(p)), param_group_name(expected));
}

static status upcycle(model *m, optimizer *o, average *e);

static void groups_follow_roles(void **state) {
    (void)state;
    model *m = tiny_model_create();
    assert_ok(upcycle(m, NULL, NULL));
    static const expected_group expected[] = {
        {"tok_emb.weight", GROUP_EMBED},
        {"bigram_emb.weight", GROUP_EMBED},
        {"bigram_proj.weight", GROUP_MATRIX},
        {"blocks.0.attn.c_q.weight", GROUP_MATRIX},
        {"blocks.0.attn.proj.weight", GROUP_MATRIX},
        {"blocks.0.mlp.fc.weight", GROUP_MATRIX},
        {"blocks.1.mlp.experts_fc.0.weight", GROUP_MATRIX},
        {"blocks.1.mlp.experts_proj.1.weight", GROUP_MATRIX},
        {"blocks.1.mlp.router.weight", GROUP_ROUTER},
        {"blocks.0.attn.q_gain", GROUP_SCALAR},
        {"blocks.0.attn_scale", GROUP_SCALAR},
        {"blocks.0.mlp_scale", GROUP_SCALAR},
        {"blocks.0.resid_mix", GROUP_SCALAR},
        {"blocks.0.smear_w", GROUP_SCALAR},
        {"skip_weights", GROUP_SCALAR},
        {"skip_gates", GROUP_SCALAR},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_group(m, expected[i].name, expected[i].group);
    for (int i = 0; i < m->param_count; i++) /* nothing is forgotten, as the script forgot the bigram table */
        assert_int_not_equal(optimizer_group(m->params[i]), GROUP_FROZEN);
    model_destroy(m);
    param head = {.name = (char *)"lm_head.weight", .role = ROLE_HEAD, .value = {.ndim = 2}, .grad = &(float){0}};
    assert_int_equal(optimizer_group(&head), GROUP_HEAD);
    head.grad = NULL;
    assert_int_equal(optimizer_group(&head), GROUP_FROZEN);
}

static optimizer_config rates(void) {
    return (optimizer_config){.matrix_lr = 0.02,
                              .embed_lr = 0.03,
                              .head_lr = 0.01,
                              .scalar_lr = 0.05,
                              .muon_momentum = 0.9,
                              .muon_momentum_warmup_start = 0.5,
                              .muon_momentum_warmup_steps = 4,
                              .newton_schulz_steps = 5,
                              .muon_nesterov = true,
                              .muon_row_normalize = true,
                              .muon_wd = 0.1,
                              .embed_wd = 0.2,
                              .beta1 = 0.9,
                              .beta2 = 0.95,
                              .adam_eps = 1e-8};
}

/* Adam, written out for one array: decoupled decay, bias correction. */
static void reference_adam(double *w, double *first, double *second, const float *grad, int64_t count, double lr,
                           double decay, int step) {
    for (int64_t i = 0; i < count; i++) {
        first[i] = 0.9 * first[i] + 0.1 * grad[i];
        second[i] = 0.95 * second[i] + 0.05 * grad[i] * grad[i];
        double mean = first[i] / (1 - pow(0.9, step)), square = second[i] / (1 - pow(0.95, step));
        w[i] -= lr * decay * w[i] + lr * mean / (sqrt(square) + 1e-8);
    }
}

static float *gradient_of(const model *m, const param *p) {
    float *host = xmalloc(tensor_bytes(&p->value));
    m->k->download(host, p->grad, tensor_bytes(&p->value));
    return host;
}

static void check_adam_of(optimizer_config c, const char *name, double lr, double decay) {
    model *m = tiny_model_create();
    optimizer *o;
    assert_ok(optimizer_create(&o, &c, m));
    param *p = model_find(m, name);
    int64_t count = param_count(p);
    double *w = xmalloc(3 * (size_t)count * sizeof *w), *first = w + count, *second = first + count;
    float *start = tiny_values(m, p);
    for (int64_t i = 0; i < count; i++) {
        w[i] = start[i];
        first[i] = second[i] = 0;
    }
    for (int step = 1; step <= 3; step++) {
        double norm;
        tiny_gradients(m, (uint64_t)step, 0.1f);
        float *grad = gradient_of(m, p);
        assert_ok(optimizer_step(o, step - 1, 0.5, &norm));
        reference_adam(w, first, second, grad, count, 0.5 * lr, decay, step);
        free(grad);
    }
    float *found = tiny_values(m, p);
    for (int64_t i = 0; i < count; i++) assert_float_equal(found[i], w[i], 2e-6);
    free(found);
    free(start);
    free(w);
    optimizer_destroy(o);
    model_destroy(m);
}

static void check_adam(const char *name, double lr, double decay) {
    check_adam_of(rates(), name, lr, decay);
}

static void matrices_may_follow_adamw(void **state) {
    (void)state;
    optimizer_config c = rates();
    c.matrix_optimizer = MATRIX_ADAMW;
    check_adam_of(c, "blocks.0.mlp.fc.weight", 0.02, 0.1);
    check_adam_of(c, "blocks.0.resid_mix", 0.05, 0);
}

static void embeddings_and_scalars_follow_adam(void **state) {
    (void)state;
    check_adam("bigram_emb.weight", 0.03, 0.2);
    check_adam("blocks.0.resid_mix", 0.05, 0);
}

/* The same three steps by the kernel itself, with the warmed-up momentum and the scaled rate. */
static void matrices_follow_muon(void **state) {
    (void)state;
    model *m = tiny_model_create(), *twin = tiny_model_create();
    optimizer *o;
    optimizer_config c = rates();
    assert_ok(optimizer_create(&o, &c, m));
    param *p = model_find(m, "blocks.0.mlp.fc.weight"), *q = model_find(twin, p->name);
    void *buffer;
    assert_ok(m->k->alloc(&buffer, tensor_bytes(&p->value)));
    m->k->zero(buffer, tensor_bytes(&p->value));
    for (int step = 0; step < 3; step++) {
        double norm;
        tiny_gradients(m, (uint64_t)step, 0.1f);
        tiny_gradients(twin, (uint64_t)step, 0.1f);
        assert_ok(optimizer_step(o, step, 0.5, &norm));
        muon_args args = {.lr = (float)(0.02 * 0.5),
                          .momentum = (float)schedule_momentum(&c, step),
                          .weight_decay = 0.1f,
                          .newton_schulz_steps = 5,
                          .nesterov = true,
                          .row_normalize = true};
        twin->k->muon(q->value.data, buffer, q->grad, NULL, 64, 32, &args);
    }
    float *a = tiny_values(m, p), *b = tiny_values(twin, q);
    assert_memory_equal(a, b, tensor_bytes(&p->value));
    free(a);
    free(b);
    m->k->release(buffer);
    optimizer_destroy(o);
    model_destroy(m);
    model_destroy(twin);
}

/* As if every gradient had been smaller by the same factor. */
static void the_global_norm_is_clipped(void **state) {
    (void)state;
    model *m = tiny_model_create(), *twin = tiny_model_create();
    optimizer *o, *unclipped;
    optimizer_config c = rates();
    c.grad_clip = 0;
    assert_ok(optimizer_create(&unclipped, &c, twin));
    c.grad_clip = 0.25;
    assert_ok(optimizer_create(&o, &c, m));
    tiny_gradients(m, 1, 0.1f);
    double expected = 0, norm, smaller;
    for (int i = 0; i < m->param_count; i++) {
        float *g = gradient_of(m, m->params[i]);
        for (int64_t j = 0; j < param_count(m->params[i]); j++) expected += (double)g[j] * g[j];
        free(g);
    }
    expected = sqrt(expected);
    assert_true(expected > 1);
    tiny_gradients(twin, 1, (float)(0.1 * 0.25 / (expected + 1e-6)));
    assert_ok(optimizer_step(o, 0, 1, &norm));
    assert_ok(optimizer_step(unclipped, 0, 1, &smaller));
    assert_float_equal(norm, expected, 1e-6 * norm);
    assert_float_equal(smaller, 0.25, 1e-5);
    for (int i = 0; i < m->param_count; i++) {
        float *x = tiny_values(m, m->params[i]), *y = tiny_values(twin, twin->params[i]);
        for (int64_t j = 0; j < param_count(m->params[i]); j++) assert_float_equal(x[j], y[j], 2e-5);
        free(x);
        free(y);
    }
    optimizer_destroy(o);
    optimizer_destroy(unclipped);
    model_destroy(m);
    model_destroy(twin);
}

static void a_gradient_that_is_not_finite_changes_nothing(void **state) {
    (void)state;
    model *m = tiny_model_create();
    optimizer *o;
    optimizer_config c = rates();
    assert_ok(optimizer_create(&o, &c, m));
    tiny_gradients(m, 1, 0.1f);
    param *bad = model_find(m, "blocks.2.attn.c_k.weight"), *other = model_find(m, "tok_emb.weight");
    float nan = NAN;
    m->k->upload(bad->grad, &nan, sizeof nan);
    float *before = tiny_values(m, other);
    double norm;
    assert_fails(optimizer_step(o, 0, 1, &norm), "blocks.2.attn.c_k.weight");
    float *after = tiny_values(m, other);
    assert_memory_equal(before, after, tensor_bytes(&other->value));
    free(before);
    free(after);
    optimizer_destroy(o);
    model_destroy(m);
}

/* ---- upcycling ---- */

typedef struct followers {
    optimizer *o;
    average *e;
} followers;

static void follow(void *context, const param *new_param, const param *old_param) {
    followers *f = context;
    if (f->o) optimizer_replaced(f->o, new_param, old_param);
    if (f->e) average_replaced(f->e, new_param, old_param);
}

static status upcycle(model *m, optimizer *o, average *e) {
    followers f = {o, e};
    bool layers[MODEL_MAX_LAYERS] = {[1] = true};
    return model_upcycle(m, layers, 2, 1, 5, follow, &f);
}

static float *tensor_of(const safetensors *s, const char *name, int64_t count) {
    const safetensor *t = safetensors_find(s, name);
    if (!t) fail_msg("%s has no %s", s->path, name);
    assert_int_equal(t->bytes, (size_t)count * sizeof(float));
    float *copy = xmalloc(t->bytes);
    memcpy(copy, t->data, t->bytes);
    return copy;
}

static void assert_same_tensor(const safetensors *before, const char *old, const safetensors *after, const char *now,
                               int64_t count) {
    float *a = tensor_of(before, old, count), *b = tensor_of(after, now, count);
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
    double size = 0;
    for (int64_t i = 0; i < count; i++) size += fabs((double)a[i]);
    assert_true(size > 0); /* two arrays of zeros would prove nothing */
    free(a);
    free(b);
}

static void save_both(optimizer *o, average *e, const char *folder, const char *name, safetensors out[2]) {
    char *path[2] = {xasprintf("%s/%s.optimizer", folder, name), xasprintf("%s/%s.ema", folder, name)};
    assert_ok(optimizer_save(o, path[0], NULL));
    assert_ok(average_save(e, path[1], NULL));
    for (int i = 0; i < 2; i++) {
        assert_ok(safetensors_open(&out[i], path[i]));
        free(path[i]);
    }
}

static void experts_inherit_states_and_averages(void **state) {
    model *m = tiny_model_create();
    optimizer *o;
    average *e;
    optimizer_config c = rates();
    average_config ema = {.kind = AVERAGE_EMA, .ema_decay = 0.9};
    double norm;
    assert_ok(optimizer_create(&o, &c, m));
    assert_ok(average_create(&e, &ema, 0, m));
    tiny_gradients(m, 1, 0.1f);
    assert_ok(optimizer_step(o, 0, 1, &norm));
    assert_ok(average_update(e, 0, 0));
    safetensors before[2], after[2];
    save_both(o, e, *state, "before", before);
    assert_ok(upcycle(m, o, e));
    save_both(o, e, *state, "after", after);
    for (int expert = 0; expert < 2; expert++) {
        char *fc = xasprintf("muon.blocks.1.mlp.experts_fc.%d.weight", expert);
        char *proj = xasprintf("muon.blocks.1.mlp.experts_proj.%d.weight", expert);
        assert_same_tensor(&before[0], "muon.blocks.1.mlp.fc.weight", &after[0], fc, 64 * 32);
        assert_same_tensor(&before[0], "muon.blocks.1.mlp.proj.weight", &after[0], proj, 64 * 32);
        assert_same_tensor(&before[1], "blocks.1.mlp.fc.weight", &after[1], fc + 5, 64 * 32);
        free(fc);
        free(proj);
    }
    assert_same_tensor(&before[0], "adam_v.tok_emb.weight", &after[0], "adam_v.tok_emb.weight", TINY_VOCAB * 32);
    assert_null(safetensors_find(&after[0], "muon.blocks.1.mlp.fc.weight"));
    assert_null(safetensors_find(&after[1], "blocks.1.mlp.fc.weight"));
    float *fresh = tensor_of(&after[0], "adam_m.blocks.1.mlp.router.weight", 2 * 32);
    for (int i = 0; i < 2 * 32; i++) assert_true(fresh[i] == 0);
    int32_t steps;
    assert_ok(safetensors_read_i32(&after[0], "adam_steps.blocks.1.mlp.router.weight", 1, (int64_t[]){1}, &steps));
    assert_int_equal(steps, 0);
    param *router = model_find(m, "blocks.1.mlp.router.weight"); /* its average starts at its value */
    float *average = tensor_of(&after[1], router->name, 2 * 32), *value = tiny_values(m, router);
    assert_memory_equal(average, value, 2 * 32 * sizeof(float));
    free(fresh);
    free(average);
    free(value);
    for (int i = 0; i < 2; i++) {
        safetensors_close(&before[i]);
        safetensors_close(&after[i]);
    }
    tiny_gradients(m, 2, 0.1f); /* and it goes on */
    assert_ok(optimizer_step(o, 1, 1, &norm));
    assert_ok(average_update(e, 1, 0));
    optimizer_destroy(o);
    average_destroy(e);
    model_destroy(m);
}

static void assert_same_weights(const model *m, const model *twin) {
    for (int i = 0; i < m->param_count; i++) {
        float *a = tiny_values(m, m->params[i]), *b = tiny_values(twin, twin->params[i]);
        assert_memory_equal(a, b, tensor_bytes(&m->params[i]->value));
        free(a);
        free(b);
    }
}

static void states_survive_a_file(void **state) {
    model *m = tiny_model_create(), *twin = tiny_model_create();
    optimizer *o, *p;
    optimizer_config c = rates();
    double norm;
    assert_ok(optimizer_create(&o, &c, m));
    assert_ok(optimizer_create(&p, &c, twin));
    for (uint64_t step = 0; step < 2; step++) {
        tiny_gradients(m, step, 0.1f);
        assert_ok(optimizer_step(o, (int64_t)step, 1, &norm));
    }
    char *path = path_join(*state, "o.safetensors"), *weights = path_join(*state, "m.safetensors");
    assert_ok(optimizer_save(o, path, NULL));
    assert_ok(weights_save(m, weights, NULL));
    assert_ok(optimizer_load(p, path, NULL));
    assert_ok(weights_load(twin, weights));
    tiny_gradients(m, 9, 0.1f);
    tiny_gradients(twin, 9, 0.1f);
    assert_ok(optimizer_step(o, 2, 1, &norm));
    assert_ok(optimizer_step(p, 2, 1, &norm));
    assert_same_weights(m, twin);
    assert_ok(upcycle(twin, p, NULL)); /* a file of another architecture */
    assert_fails(optimizer_load(p, path, NULL), "blocks.1.mlp.router.weight");
    int lacking;
    assert_ok(optimizer_load(p, path, &lacking));
    assert_int_equal(lacking, 1 + 2 * 2); /* the router and two experts of two matrices */
    assert_fails(weights_load(twin, weights), "blocks.1.mlp.router.weight");
    model_config shorter = tiny_model(); /* fewer parameters than the file has */
    shorter.stem.bigram_buckets = 0;
    model *other;
    assert_ok(model_create(&other, &shorter, m->k, MODEL_RUN));
    assert_fails(weights_load(other, weights), "bigram_emb.weight");
    model_destroy(other);
    free(path);
    free(weights);
    optimizer_destroy(o);
    optimizer_destroy(p);
    model_destroy(m);
    model_destroy(twin);
}

/* In half the space: the file has them in bf16, goes on to the bit, and upcycling takes them along. */
static void bf16_states_survive_a_file(void **state) {
    model *m = tiny_model_create(), *twin = tiny_model_create();
    optimizer *o, *p;
    optimizer_config c = rates();
    c.state_dtype = STATES_BF16;
    double norm;
    assert_ok(optimizer_create(&o, &c, m));
    assert_ok(optimizer_create(&p, &c, twin));
    for (int64_t step = 0; step < 3; step++) {
        tiny_gradients(m, (uint64_t)step, 0.1f);
        assert_ok(optimizer_step(o, step, 1, &norm));
    }
    char *path = path_join(*state, "half.safetensors"), *weights = path_join(*state, "half-m.safetensors");
    safetensors file;
    assert_ok(optimizer_save(o, path, NULL));
    assert_ok(weights_save(m, weights, NULL));
    assert_ok(safetensors_open(&file, path));
    assert_int_equal(safetensors_find(&file, "muon.blocks.0.mlp.fc.weight")->type, DTYPE_BF16);
    assert_int_equal(safetensors_find(&file, "adam_v.tok_emb.weight")->bytes, TINY_VOCAB * 32 * 2);
    safetensors_close(&file);
    assert_ok(optimizer_load(p, path, NULL));
    assert_ok(weights_load(twin, weights));
    assert_ok(upcycle(m, o, NULL));
    assert_ok(upcycle(twin, p, NULL));
    for (int64_t step = 3; step < 5; step++) {
        tiny_gradients(m, (uint64_t)step, 0.1f);
        tiny_gradients(twin, (uint64_t)step, 0.1f);
        assert_ok(optimizer_step(o, step, 1, &norm));
        assert_ok(optimizer_step(p, step, 1, &norm));
    }
    assert_same_weights(m, twin);
    free(path);
    free(weights);
    optimizer_destroy(o);
    optimizer_destroy(p);
    model_destroy(m);
    model_destroy(twin);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_follow_roles),
        cmocka_unit_test(embeddings_and_scalars_follow_adam),
        cmocka_unit_test(matrices_may_follow_adamw),
        cmocka_unit_test(matrices_follow_muon),
        cmocka_unit_test(the_global_norm_is_clipped),
        cmocka_unit_test(a_gradient_that_is_not_finite_changes_nothing),
        in_scratch(experts_inherit_states_and_averages),
        in_scratch(states_survive_a_file),
        in_scratch(bf16_states_survive_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
