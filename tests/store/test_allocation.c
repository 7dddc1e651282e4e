/* Artifacts whose bytes are shared out by sensitivities. */
#include "allocated.h"

#include "base/file.h"
#include "store/candidate_file.h"
#include <math.h>
#include <unistd.h>

static void every_matrix_has_a_curvature(void **state) {
    const shared *t = *state;
    assert_int_equal(sensitivities_tokens(t->s), 4 * BATCH * LENGTH);
    assert_float_equal(sensitivities_bpb_of_nat(t->s), 1 / (3 * log(2)), 1e-12);
    for (int i = 0; i < t->f->m->param_count; i++) {
        const param *p = t->f->m->params[i];
        matrix_curvature c;
        double sum = 0;
        if (!p->is_matrix || p->role == ROLE_ROUTER) continue;
        assert_ok(matrix_curvature_of(&c, t->s, t->f->h, p));
        for (int64_t r = 0; r < tensor_rows(&p->value); r++) {
            assert_true(c.row_weight[r] > 0 && isfinite(c.row_weight[r]));
            sum += c.row_weight[r];
        }
        assert_true(sum > 0);
        if (p->role == ROLE_TOK_EMB) assert_non_null(c.mixed); /* it is the head too */
        matrix_curvature_free(&c);
    }
}

static void bits_are_what_was_asked(void **state) {
    const shared *t = *state;
    double loss = 0;
    for (double bits = 5; bits >= 2; bits -= 1.5) {
        pack_options o = shared_options(t, bits);
        pack_report r;
        model *m;
        assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r));
        assert_true(r.grid_bits <= bits && r.grid_bits >= 0.995 * bits);
        assert_true(r.loss > loss && r.loss_a_byte > 0);
        assert_int_equal(r.tensor_count, t->f->m->param_count);
        assert_ok(artifact_read(t->f->path, t->f->m->k, MODEL_RUN, &m, NULL, NULL));
        loss = r.loss;
        pack_report_free(&r);
        model_destroy(m);
    }
}

static void budgets_are_filled(void **state) {
    const shared *t = *state;
    pack_options o = shared_options(t, 0);
    pack_report r;
    o.budget_bytes = 14000;
    assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r));
    assert_true(r.artifact_bytes <= 14000 && r.artifact_bytes >= 0.99 * 14000);
    pack_report_free(&r);
    unlink(t->f->path);
    o.budget_bytes = 3000;
    assert_fails(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r), "expected a budget of at least about");
    assert_false(path_exists(t->f->path));
    /* what it says is enough, within what a coarse file's size can be foretold */
    long long least;
    assert_int_equal(sscanf(strstr(error_message(), "about "), "about %lld", &least), 1);
    o.budget_bytes = least * 23 / 20;
    assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r));
    assert_true(r.artifact_bytes <= o.budget_bytes);
    pack_report_free(&r);
    o = shared_options(t, 0.3);
    assert_fails(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r), "bits a weight");
    o = shared_options(t, 9);
    assert_fails(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r),
                 "bits: expected 0.25 to 8 a weight, found 9");
    o = shared_options(t, 0);
    assert_fails(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r), "found neither");
}

/* A second packing, and one whose candidates were cut, gives the same file. */
static void packing_goes_on(void **state) {
    const shared *t = *state;
    const pack_options o = shared_options(t, 3);
    uint8_t *first, *again, *text;
    size_t first_count, again_count, text_count;
    assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, NULL));
    assert_ok(file_read(t->f->path, FILE_ANY_SIZE, &first, &first_count));
    assert_ok(file_read(t->candidates, FILE_ANY_SIZE, &text, &text_count));
    for (int i = 0; i < 3; i++) {
        assert_ok(file_write_whole(t->candidates, text, text_count * (size_t)i / 2 - (i == 2 ? 7 : 0)));
        assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, NULL));
        assert_ok(file_read(t->f->path, FILE_ANY_SIZE, &again, &again_count));
        assert_int_equal(again_count, first_count);
        assert_memory_equal(again, first, first_count);
        free(again);
    }
    free(first);
    free(text);
}

static void lines_that_are_none_are_passed_over(void **state) {
    (void)state;
    static const char text[] = "\n00000000000000ab 3.000000 100 0.5\n00000000000000ab 4.0 nan 0.5\nrubbish\n"
                               "00000000000000ab 2.000000 -1 0.5\n00000000000000ab 99 1 1\n"
                               "00000000000000ab 5.0 1 1 1\n00000000000000ab 6.000000 200 0.1";
    candidate_file *f;
    candidate c;
    candidate_file_parse(&f, text, sizeof text - 1);
    assert_true(candidate_file_find(f, 0xab, 3, &c) && c.bytes == 100 && c.error == 0.5);
    static const double none[] = {2, 4, 5, 6}; /* the last line was cut */
    for (int i = 0; i < 4; i++) assert_false(candidate_file_find(f, 0xab, none[i], &c));
    assert_false(candidate_file_find(f, 0xac, 3, &c));
    candidate_file_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_that_are_none_are_passed_over),
        cmocka_unit_test_setup_teardown(every_matrix_has_a_curvature, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(bits_are_what_was_asked, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(budgets_are_filled, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(packing_goes_on, shared_setup, shared_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
