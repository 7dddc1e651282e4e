/* Gradients are final from their stage on, and no sooner: of looped layers, of embeddings that are the head too, of experts, of blocks that
 * backward runs again. */
#include "disturb.h"

#include "base/memory.h"
#include "base/random.h"
#include "nn/pass.h"
#include "nn/roles.h"
#include "nn/stages.h"
#include "record_family.h"
#include <string.h>

enum { BATCH = 2, LENGTH = 24, MOST_STAGES = 16 };

/* All gradients as they were when a stage had come; told[stage]: it has. */
typedef struct seen {
    model *m;
    float *at[MOST_STAGES];
    bool told[MOST_STAGES];
    int latest, between;
} seen;

static float *copy_of_gradients(const model *m) {
    float *copy = xmalloc((size_t)m->gradients.count * sizeof *copy);
    m->k->download(copy, m->gradients.data, (size_t)m->gradients.count * sizeof *copy);
    return copy;
}

static void look(void *context, int stage) {
    seen *s = context;
    if (stage < 0) {
        s->between++;
        return;
    }
    assert_true(stage < MOST_STAGES && stage == s->latest + 1);
    s->latest = stage;
    s->told[stage] = true;
    s->at[stage] = copy_of_gradients(s->m);
}

static bool is_same(const param *p, const float *a, const float *b) {
    return memcmp(a + p->offset, b + p->offset, tensor_bytes(&p->value)) == 0;
}

/* Backward of some random tokens, and what its gradients were on the way. */
static void check(const model_config *c, bool recompute) {
    int32_t ids[BATCH * LENGTH + 1];
    rng r = rng_seed(9);
    for (int i = 0; i <= BATCH * LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
    const batch b = {.batch = BATCH, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1};
    seen s = {.latest = -1};
    pass *p;
    assert_ok(model_create(&s.m, c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(s.m, 5));
    disturb(s.m, 6, 0.05f); /* a head of its own begins as zeros, behind which nothing has a gradient */
    assert_ok(pass_create(&p, s.m));
    pass_set_recompute(p, recompute);
    pass_watch_backward(p, look, &s);
    model_zero_grad(s.m);
    assert_ok(pass_train(p, &b, 1));

    const int last = model_stages(s.m) - 1;
    float *final = copy_of_gradients(s.m);
    bool moved[MOST_STAGES] = {false};
    assert_int_equal(s.latest, last - 1);
    assert_true(s.between > 10 * c->num_layers);
    for (int i = 0; i < s.m->param_count; i++) {
        const param *w = s.m->params[i];
        const int stage = model_stage_of(s.m, w);
        assert_in_range(stage, 0, last);
        if (!w->grad) continue;
        for (int now = stage; now < last; now++)
            if (!is_same(w, s.at[now], final)) fail_msg("%s was not final at stage %d", w->name, now);
        if (stage == 0 || !is_same(w, s.at[stage - 1], final)) moved[stage] = true;
    }
    /* Something of each stage was not final before it. */
    for (int stage = 1; stage <= last; stage++) assert_true(moved[stage]);
    assert_int_equal(model_stage_of(s.m, model_param(s.m, ROLE_TOK_EMB, -1, -1)), last);
    const param *head = model_param(s.m, ROLE_HEAD, -1, -1);
    assert_true(c->head.tied == !head);
    if (head) assert_int_equal(model_stage_of(s.m, head), 0);

    free(final);
    for (int i = 0; i < MOST_STAGES; i++) free(s.at[i]);
    pass_destroy(p);
    model_destroy(s.m);
}

static void looped_and_tied(void **state) {
    (void)state;
    model_config c = record_family();
    c.head.tied = true;
    check(&c, false);
    check(&c, true);
}

static void plain_with_a_head(void **state) {
    (void)state;
    model_config c = record_family();
    c.loop.on = false;
    c.head.tied = false;
    check(&c, false);
    check(&c, true);
}

static void experts(void **state) {
    (void)state;
    for (gate_kind gate = GATE_RENORMALIZED; gate <= GATE_STRAIGHT_THROUGH; gate++) {
        const model_config c = record_mixture(gate);
        check(&c, false);
        check(&c, true);
    }
}

/* Backward comes out of layers in the reverse of the order in which they first run. */
static void order(void **state) {
    (void)state;
    model_config c = record_family();
    const forward_path path = model_path(&c);
    int expected = c.num_layers;
    for (int i = 0; i < path.length; i++) assert_int_equal(path_stage(&path, i), path.pass[i] == 0 ? expected-- : -1);
    assert_int_equal(expected, 0);
}

/* A pass that only evaluates has no backward, and one that nobody watches tells nobody. */
static void nobody(void **state) {
    (void)state;
    model_config c = record_family();
    int32_t ids[LENGTH + 1];
    for (int i = 0; i <= LENGTH; i++) ids[i] = i;
    const batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1};
    seen s = {.latest = -1};
    pass *p;
    assert_ok(model_create(&s.m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(s.m, 5));
    assert_ok(pass_create(&p, s.m));
    pass_watch_backward(p, look, &s);
    assert_ok(pass_evaluate(p, &b, NULL));
    pass_watch_backward(p, NULL, NULL);
    assert_ok(pass_train(p, &b, 1));
    assert_true(s.latest == -1 && s.between == 0);
    pass_destroy(p);
    model_destroy(s.m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looped_and_tied), cmocka_unit_test(plain_with_a_head),
        cmocka_unit_test(experts),         cmocka_unit_test(order),
        cmocka_unit_test(nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
