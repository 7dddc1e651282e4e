/* Losses with a teacher: gradients through the head and its cap, and what the sums are. */
#include "check.h"

enum { LISTED = 5 };

/* Row n lists n mod (LISTED + 1) tokens; on the device, for as long as a case. */
static struct {
    teacher_args args;
    float *log_probs, *rest;
    int32_t *ids;
} teacher;

static void make_teacher(const fixture *f) {
    int32_t ids[N * LISTED];
    float log_probs[N * LISTED], rest[N];
    for (int n = 0; n < N; n++) {
        double left = 1;
        for (int j = 0; j < LISTED; j++) {
            const bool is_there = j < n % (LISTED + 1);
            const double p = 0.4 * left;
            ids[n * LISTED + j] = is_there ? (n * 3 + 1 + 4 * j) % VOCAB : -1; /* the target is the first */
            log_probs[n * LISTED + j] = is_there ? (float)log(p) : -INFINITY;
            if (is_there) left -= p;
        }
        rest[n] = (float)log(left);
    }
    teacher.ids = device_copy(f->k, ids, sizeof ids);
    teacher.log_probs = device_copy(f->k, log_probs, sizeof log_probs);
    teacher.rest = device_copy(f->k, rest, sizeof rest);
    teacher.args.k = LISTED;
    teacher.args.ids = teacher.ids;
    teacher.args.log_probs = teacher.log_probs;
    teacher.args.rest = teacher.rest;
}

static void free_teacher(const fixture *f) {
    f->k->release(teacher.ids);
    f->k->release(teacher.log_probs);
    f->k->release(teacher.rest);
}

static void prepare_loss(fixture *f) {
    add_leaf(f, D);
    add_param(f, VOCAB, D, true, 1, 0);
}

/* The op's loss from the sums that it leaves. */
static var *build_distill(fixture *f) {
    const linear head = only(f->params[0]);
    double sums[2];
    make_teacher(f);
    f->k->zero(f->sums, sizeof sums);
    assert_ok(op_distill(f->t, f->leaf_vars[0], &head, f->targets, &teacher.args, 5, 1, f->sums));
    f->k->download(sums, f->sums, sizeof sums);
    f->aux = (double)teacher.args.ce_weight * sums[0] + (double)teacher.args.teacher_weight * sums[1];
    free_teacher(f);
    return NULL;
}

static void check_distill(float ce, float kl, float temperature, bool reverse) {
    teacher.args =
        (teacher_args){.ce_weight = ce, .teacher_weight = kl, .temperature = temperature, .reverse = reverse};
    check(prepare_loss, build_distill, false);
}

static void test_forward(void **state) {
    (void)state;
    check_distill(0, 1, 1, false);
    check_distill(0, 1, 3, false);
    check_distill(0.5f, 2, 0.7f, false);
}

static void test_reverse(void **state) {
    (void)state;
    check_distill(0, 1, 1, true);
    check_distill(0, 1, 3, true);
    check_distill(1, 0.5f, 0.7f, true);
}

/* More rows than a block of the op has: each row finds its own teacher. */
static void test_blocks(void **state) {
    (void)state;
    enum { ROWS = 1100 };
    fixture f;
    int32_t targets[ROWS], *device_targets, ids[ROWS];
    float log_probs[ROWS], rest[ROWS];
    double sums[2] = {0}, kl = 0;
    start(&f, DTYPE_F32, false);
    param *head_weight = add_param(&f, VOCAB, D, true, 1, 0);
    assert_ok(param_refresh(head_weight, f.k, 0));
    tape_reset(f.t, false);
    var *x = new_matrix(f.t, ROWS, D);
    f.k->zero(x->value.data, tensor_bytes(&x->value)); /* logits 0: the student is uniform */
    for (int n = 0; n < ROWS; n++) {
        const double p = 0.1 + 0.8 * n / ROWS;
        targets[n] = 0;
        ids[n] = n % VOCAB;
        log_probs[n] = (float)log(p);
        rest[n] = (float)log(1 - p);
        kl += (p * log(p * VOCAB) + (1 - p) * log((1 - p) * VOCAB / (VOCAB - 1))) / ROWS;
    }
    device_targets = device_copy(f.k, targets, sizeof targets);
    teacher.ids = device_copy(f.k, ids, sizeof ids);
    teacher.log_probs = device_copy(f.k, log_probs, sizeof log_probs);
    teacher.rest = device_copy(f.k, rest, sizeof rest);
    const teacher_args args = {.k = 1,
                               .ids = teacher.ids,
                               .log_probs = teacher.log_probs,
                               .rest = teacher.rest,
                               .ce_weight = 1,
                               .teacher_weight = 1,
                               .temperature = 1};
    const linear head = only(head_weight);
    assert_ok(op_distill(f.t, x, &head, device_targets, &args, 0, 1, f.sums));
    f.k->download(sums, f.sums, sizeof sums);
    assert_true(fabs(sums[0] - log(VOCAB)) < 1e-5 && fabs(sums[1] - kl) < 1e-5);
    f.k->release(device_targets);
    free_teacher(&f);
    finish(&f);
}

/* ---- hidden states ---- */

static void prepare_match(fixture *f) {
    add_leaf(f, D);
}

/* The target is another model's: nothing flows there. x is read by another op too: both gradients arrive. */
static var *build_match(fixture *f) {
    float values[N * D];
    rng r = rng_named(5, "target");
    rng_normal(&r, values, N * D, 1);
    void *wanted = device_copy(f->k, values, sizeof values);
    var *target = new_matrix(f->t, N, D), *x = f->leaf_vars[0];
    f->k->to_act(target->value.data, wanted, N * D);
    f->k->release(wanted);
    f->k->zero(f->sums, sizeof *f->sums);
    assert_ok(op_match(f->t, x, target->value.data, 30, f->sums));
    f->k->download(&f->aux, f->sums, sizeof f->aux);
    f->aux *= 30;
    return op_rms_norm(f->t, x, NULL, 1, 1e-6f);
}

CASE(match, prepare_match, build_match)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_reverse),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
