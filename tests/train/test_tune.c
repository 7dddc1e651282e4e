/* Tuning of an artifact: gradients against finite differences, what becomes better, and what is left as it was. */
#include "tiny.h"

#include "base/progress.h"
#include "store/artifact.h"
#include "store/artifact_numbers.h"
#include "store/open.h"
#include "train/pack.h"
#include "train/tune.h"
#include "train/tune_values.h"
#include <math.h>
#include <signal.h>

typedef struct scene {
    char *folder, *path; /* of the artifact */
    run_config c;
    model *m; /* float */
    tokenizer *tok;
    pass *teacher;
    uint8_t *packed;
    size_t packed_bytes;
} scene;

/* A run that has learned something, packed coarsely. */
static int create(void **state) {
    scene *s = xcalloc(1, sizeof *s);
    train_result result;
    s->folder = scratch_create();
    s->path = path_join(s->folder, "small.moec");
    char *data = path_join(s->folder, "data");
    tiny_data(data);
    free(data);
    s->c = tiny_run(s->folder, "run", 60);
    s->c.events.count = 2;
    for (int i = 0; i < s->c.events.count; i++) /* a router that may change its mind makes the loss jump */
        if (s->c.events.items[i].kind == EVENT_UPCYCLE) s->c.events.items[i].top_k = s->c.events.items[i].experts;
    assert_ok(train_run(&s->c, TRAIN_NEW, &result));
    assert_ok(open_model(s->c.train.run, kernels_for(DTYPE_F32), "chosen", MODEL_VALUES, &s->m, &s->tok, NULL));
    assert_ok(pass_create(&s->teacher, s->m));
    pack_options o = pack_options_of(&s->c.pack, s->c.train.seq);
    pack_report report;
    o.budget_bytes = 0;
    o.allocation = (pack_allocation){.on = true, .bits = 2, .quantizer = QUANTIZER_TRELLIS};
    assert_ok(pack_model(s->path, &s->c, s->m, s->tok, &o, &report));
    pack_report_free(&report);
    assert_ok(file_read(s->path, FILE_ANY_SIZE, &s->packed, &s->packed_bytes));
    *state = s;
    return 0;
}

static int destroy(void **state) {
    scene *s = *state;
    pass_destroy(s->teacher);
    model_destroy(s->m);
    tokenizer_close(s->tok);
    run_config_free(&s->c);
    free(s->packed), free(s->path);
    scratch_remove(s->folder);
    free(s);
    return 0;
}

static void assert_file_is_as_it_was(const scene *s) {
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(s->path, FILE_ANY_SIZE, &bytes, &count));
    assert_int_equal(count, s->packed_bytes);
    assert_memory_equal(bytes, s->packed, count);
    free(bytes);
}

static void put_back(const scene *s) {
    assert_ok(file_write_whole(s->path, s->packed, s->packed_bytes));
}

/* ---- gradients ---- */

enum { ROWS = 2, LENGTH = 32, N = ROWS * LENGTH };

static double loss(pass *p, const batch *b) {
    float nll[N];
    double sum = 0;
    assert_ok(pass_evaluate(p, b, nll));
    for (int i = 0; i < N; i++) sum += nll[i];
    return sum / N;
}

static int64_t steepest(const float *slopes, int64_t first, int64_t count) {
    int64_t best = first;
    for (int64_t i = first; i < first + count; i++)
        if (fabsf(slopes[i]) > fabsf(slopes[best])) best = i;
    return best;
}

/* Central differences; a scale moves by whole steps of its format, so how far it went is read off. */
static void assert_slope(tune_values *v, pass *p, const batch *b, float slope, int64_t which, const float *scale) {
    const double by = scale ? 0.02 : 0.01;
    const float before = scale ? *scale : 1;
    double way = 2 * by;
    assert_ok(tune_values_move(v, which, by));
    const double above = loss(p, b);
    if (scale) way = log((double)*scale / before);
    assert_ok(tune_values_move(v, which, -2 * by));
    const double below = loss(p, b);
    if (scale) way -= log((double)*scale / before);
    assert_ok(tune_values_return(v));
    const double found = (above - below) / way;
    if (fabs(found - slope) > 0.12 * fabs(found) + 5e-4)
        fail_msg("number %lld: expected a slope of %g, found %g", (long long)which, found, (double)slope);
}

static void slopes_are_those_of_the_loss(void **state) {
    scene *s = *state;
    artifact_numbers n;
    model *m;
    pass *p;
    int32_t ids[N], targets[N];
    rng r = rng_seed(3);
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)rng_below(&r, TINY_VOCAB), targets[i] = (int32_t)rng_below(&r, TINY_VOCAB);
    const batch b = {.batch = ROWS, .length = LENGTH, .input_ids = ids, .target_ids = targets};
    assert_ok(artifact_numbers_read(&n, s->packed, s->packed_bytes, s->path));
    assert_ok(artifact_parse(s->packed, s->packed_bytes, s->path, s->m->k, MODEL_TRAIN, &m, NULL, NULL));
    assert_ok(pass_create(&p, m));
    m->config.moe.aux_weight = 0;
    for (int part = 0; part < TUNED_PARTS; part++) {
        bool parts[TUNED_PARTS] = {false};
        parts[part] = true;
        tune_values *v = tune_values_create(&n, m, parts);
        float *slopes = xmalloc((size_t)tune_values_count(v) * sizeof *slopes);
        int64_t first = 0;
        int tried = 0;
        model_zero_grad(m);
        assert_ok(pass_train(p, &b, 1));
        assert_ok(tune_values_gradients(v, slopes));
        for (int i = 0, next = 0; i < m->param_count; i++) {
            const stored_numbers *t = m->params[i]->derived ? NULL : &n.tensors[next++];
            if (!t || !m->params[i]->grad || (part == TUNED_FLOATS) == (t->q.q != NULL)) continue;
            const int64_t count = part == TUNED_FLOATS ? t->count : part == TUNED_ROWS ? t->q.rows : t->q.cols;
            const float *scales = part == TUNED_ROWS ? t->q.scale : t->q.input_scale;
            const int64_t which = steepest(slopes, first, count);
            assert_slope(v, p, &b, slopes[which], which, part == TUNED_FLOATS ? NULL : scales + which - first);
            first += count;
            tried++;
        }
        assert_int_equal(first, tune_values_count(v));
        assert_true(tried > 5);
        free(slopes);
        tune_values_destroy(v);
    }
    pass_destroy(p);
    model_destroy(m);
    artifact_numbers_free(&n);
}

/* ---- a whole tuning ---- */

static double kept_loss(const scene *s) {
    loader *text;
    model *m;
    pass *p;
    batch b;
    double sum = 0;
    assert_ok(artifact_read(s->path, s->m->k, MODEL_RUN, &m, NULL, NULL));
    assert_ok(pass_create(&p, m));
    assert_ok(loader_open(&text, s->c.data.path, TINY_VOCAB, tokenizer_bos(s->tok), 2, 32, true, 77));
    for (int i = 0; i < 40; i++) {
        float nll[N];
        assert_ok(loader_next(text, &b));
        assert_ok(pass_evaluate(p, &b, nll));
        for (int j = 0; j < N; j++) sum += nll[j] / (40 * N);
    }
    loader_close(text);
    pass_destroy(p);
    model_destroy(m);
    return sum;
}

static void it_becomes_better(void **state) {
    scene *s = *state;
    tune_report r;
    uint8_t *once, *twice;
    size_t count, again;
    const tune_options o = {.steps = 60};
    const double before = kept_loss(s);
    assert_ok(tune_artifact(s->path, s->teacher, s->tok, &s->c, &o, &r));
    assert_null(r.left_out);
    assert_int_equal(r.steps, 60);
    assert_true(r.check_tokens > 0 && r.tokens == 60 * N);
    assert_true(r.kl_after < 0.95 * r.kl_before && r.ce_after <= r.ce_before);
    assert_true(kept_loss(s) < before);
    assert_ok(file_read(s->path, FILE_ANY_SIZE, &once, &count));
    assert_int_equal(count, r.bytes_after);
    assert_int_equal(s->packed_bytes, r.bytes_before);
    assert_true(count < s->packed_bytes * 11 / 10);
    put_back(s);
    assert_ok(tune_artifact(s->path, s->teacher, s->tok, &s->c, &o, &r));
    assert_ok(file_read(s->path, FILE_ANY_SIZE, &twice, &again));
    assert_int_equal(count, again);
    assert_memory_equal(once, twice, count);
    free(once), free(twice);
    put_back(s);
}

static void a_time_is_kept(void **state) {
    scene *s = *state;
    tune_report r;
    assert_ok(tune_artifact(s->path, s->teacher, s->tok, &s->c, &(tune_options){.minutes = 1e-9}, &r));
    assert_int_equal(r.steps, 1);
    put_back(s);
}

static void what_may_not_be_is_left_out(void **state) {
    scene *s = *state;
    tune_report r;
    tune_options o = {.steps = 60, .most_bytes = 1000};
    assert_ok(tune_artifact(s->path, s->teacher, s->tok, &s->c, &o, &r));
    assert_string_equal(r.left_out, "the file would be larger than it may be");
    assert_true(r.bytes_after == r.bytes_before && r.kl_after == r.kl_before);
    assert_file_is_as_it_was(s);
    s->c.train.seq = 4096; /* one row of text, of which none can be spared */
    o.most_bytes = 0;
    const status found = tune_artifact(s->path, s->teacher, s->tok, &s->c, &o, &r);
    s->c.train.seq = 32;
    assert_ok(found);
    assert_non_null(strstr(r.left_out, "too short"));
    assert_file_is_as_it_was(s);
}

static void interrupted_in_one_piece(void **state) {
    scene *s = *state;
    tune_report r;
    interrupt_catch();
    raise(SIGINT);
    assert_int_equal(tune_artifact(s->path, s->teacher, s->tok, &s->c, &(tune_options){.steps = 50}, &r),
                     STATUS_INTERRUPTED);
    interrupt_forget();
    assert_file_is_as_it_was(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slopes_are_those_of_the_loss),
        cmocka_unit_test(it_becomes_better),
        cmocka_unit_test(a_time_is_kept),
        cmocka_unit_test(what_may_not_be_is_left_out),
        cmocka_unit_test(interrupted_in_one_piece),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
