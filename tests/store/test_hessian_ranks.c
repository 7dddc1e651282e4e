/* Hessians and sensitivities that several ranks collect together are those of one process, to the bit. */
#include "packed.h"

#include "comm/ranks.h"
#include "quant/sensitivity.h"

enum { BATCHES = 5, ASKED = 6 };
static const int layouts[] = {2, 3, 4, MOST_RANKS}; /* more of them than batches, too */

typedef struct rank_state {
    model *m;
    pass *p;
    hessians *h;
    sensitivities *s;
    int failed; /* comparisons; cmocka's asserts are the main thread's */
} rank_state;

typedef struct study {
    model_config config;
    rank_state ranks[MOST_RANKS], one; /* one: a process alone */
    char *path;                        /* of rank 0's artifact */
    void (*ask)(struct study *s, comm *c, rank_state *r);
} study;

/* Even ones have tokens that no other one has, so that some experts and rows are seen by few ranks. */
static batch batch_of(int32_t ids[BATCH * LENGTH + 1], int number) {
    rng r = rng_seed((uint64_t)number);
    for (int i = 0; i <= BATCH * LENGTH; i++)
        ids[i] = (int32_t)rng_below(&r, number % 2 ? 96 : 20 + 10 * (uint64_t)number);
    return (batch){.batch = BATCH, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1};
}

static void open_rank(rank_state *r, const model_config *c, size_t memory) {
    int32_t ids[BATCH * LENGTH + 1];
    r->m = model_of(c);
    assert_ok(pass_create(&r->p, r->m));
    r->h = hessians_create(r->p, memory);
    r->s = sensitivities_create(r->p);
    r->failed = 0;
    for (int i = 0; i < BATCHES; i++) {
        const batch b = batch_of(ids, i);
        hessians_add(r->h, &b);
    }
}

static void close_rank(rank_state *r) {
    sensitivities_destroy(r->s);
    hessians_destroy(r->h);
    pass_destroy(r->p);
    model_destroy(r->m);
}

/* What a rank has of a weight is what the process alone has. */
static void compare(study *s, rank_state *r, int param) {
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    const struct param *weight = r->m->params[param];
    const float *mine, *expected;
    int64_t rows, expected_rows;
    const status found = hessians_of(r->h, weight, &mine, &rows);
    pthread_mutex_lock(&one_at_a_time);
    if (found != STATUS_OK || hessians_of(s->one.h, s->one.m->params[param], &expected, &expected_rows) != STATUS_OK)
        abort();
    const size_t bytes = (size_t)(weight->matrix.cols * weight->matrix.cols) * sizeof *mine;
    if (!mine != !expected || rows != expected_rows || (mine && memcmp(mine, expected, bytes) != 0)) {
        print_error("%s: another Hessian, of %lld rows instead of %lld\n", weight->name, (long long)rows,
                    (long long)expected_rows);
        r->failed++;
    }
    pthread_mutex_unlock(&one_at_a_time);
}

/* All ranks at once, layer by layer. */
static void ask_together(study *s, comm *c, rank_state *r) {
    (void)c;
    for (int layer = -1, last; layer < r->m->config.num_layers; layer = last + 1) {
        last = hessians_last(r->h, layer);
        if (hessians_hold(r->h, layer) != STATUS_OK) abort();
        for (int i = 0; i < r->m->param_count; i++) {
            const struct param *p = r->m->params[i];
            if (p->is_matrix && p->layer >= layer && p->layer <= last) compare(s, r, i);
        }
    }
}

/* Rank 0 alone, in an order of its own, while the others follow; its own failure is not theirs. */
static void ask_alone(study *s, comm *c, rank_state *r) {
    if (c->rank > 0) {
        if (hessians_follow(r->h) != STATUS_OK) abort();
        return;
    }
    for (int i = r->m->param_count - 1; i >= 0; i--)
        if (r->m->params[i]->is_matrix) compare(s, r, i);
    for (int i = 0; i < ASKED; i++) compare(s, r, (7 * i + 3) % r->m->param_count);
    if (hessians_dismiss(r->h, STATUS_FAILED) != STATUS_FAILED) abort();
}

static void run_rank(comm *c, void *context) {
    study *s = context;
    rank_state *r = &s->ranks[c->rank];
    hessians_share(r->h, c);
    s->ask(s, c, r);
}

static void ranks_have_the_hessians_of_one(void (*ask)(study *s, comm *c, rank_state *r), size_t memory) {
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        study s = {.config = tiny_config(), .ask = ask};
        open_rank(&s.one, &s.config, HESSIANS_MEMORY);
        for (int rank = 0; rank < layouts[i]; rank++) open_rank(&s.ranks[rank], &s.config, memory);
        run_ranks(layouts[i], run_rank, &s);
        for (int rank = 0; rank < layouts[i]; rank++) {
            assert_int_equal(s.ranks[rank].failed, 0);
            close_rank(&s.ranks[rank]);
        }
        close_rank(&s.one);
    }
}

static void together(void **state) {
    (void)state;
    ranks_have_the_hessians_of_one(ask_together, HESSIANS_MEMORY);
    ranks_have_the_hessians_of_one(ask_together, 1); /* a layer at a time */
}

static void rank_0_alone(void **state) {
    (void)state;
    ranks_have_the_hessians_of_one(ask_alone, HESSIANS_MEMORY);
    ranks_have_the_hessians_of_one(ask_alone, 1);
}

/* A rank that does not lead has nobody who would follow. */
static void others_do_not_ask(void **state) {
    (void)state;
    rank_state r;
    const float *hessian;
    comm c = {.rank = 1, .ranks = 2};
    const model_config config = tiny_config();
    open_rank(&r, &config, HESSIANS_MEMORY);
    hessians_share(r.h, &c);
    assert_fails(hessians_of(r.h, model_find(r.m, "blocks.0.mlp.fc.weight"), &hessian, NULL),
                 "the Hessians of layer 0: expected them to be held, found none");
    close_rank(&r);
}

/* ---- loops ---- */

/* A mixture and a dense layer, three times each. */
static model_config looped_config(void) {
    model_config c = tiny_config();
    c.loop.first = 1;
    c.loop.last = 2;
    c.loop.extra_passes = 2;
    return c;
}

static int64_t rows_of(const rank_state *r, const char *name) {
    const float *hessian;
    int64_t rows = 0;
    assert_ok(hessians_of(r->h, model_find(r->m, name), &hessian, &rows));
    assert_non_null(hessian);
    return rows;
}

static void write_artifact(study *s, comm *c, rank_state *r) {
    pack_options o = tiny_options();
    o.allocation.ranks = c;
    if (artifact_write(s->path, r->m, NULL, r->h, &o, NULL) != STATUS_OK) abort();
}

static void assert_same_file(const char *a, const char *b) {
    uint8_t *first, *second;
    size_t first_bytes, second_bytes;
    assert_ok(file_read(a, 1 << 24, &first, &first_bytes));
    assert_ok(file_read(b, 1 << 24, &second, &second_bytes));
    assert_int_equal(first_bytes, second_bytes);
    assert_memory_equal(first, second, first_bytes);
    free(first);
    free(second);
}

/* What each pass of a looped layer reads counts, wherever its batch runs: the same numbers, and the same file of them. */
static void loops_are_those_of_one(void **state) {
    (void)state;
    char *folder = scratch_create(), *alone = path_join(folder, "one.moec");
    const pack_options o = tiny_options();
    const int64_t tokens = BATCHES * BATCH * LENGTH;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        study s = {.config = looped_config(), .ask = ask_together, .path = path_join(folder, "ranks.moec")};
        open_rank(&s.one, &s.config, HESSIANS_MEMORY);
        assert_int_equal(rows_of(&s.one, "blocks.0.attn.c_q.weight"), tokens);
        for (int layer = 1; layer <= 2; layer++) {
            char name[64];
            snprintf(name, sizeof name, "blocks.%d.attn.c_q.weight", layer);
            assert_int_equal(rows_of(&s.one, name), 3 * tokens);
        }
        assert_ok(artifact_write(alone, s.one.m, NULL, s.one.h, &o, NULL));
        for (int rank = 0; rank < layouts[i]; rank++) open_rank(&s.ranks[rank], &s.config, HESSIANS_MEMORY);
        run_ranks(layouts[i], run_rank, &s);
        for (int rank = 0; rank < layouts[i]; rank++) {
            assert_int_equal(s.ranks[rank].failed, 0);
            close_rank(&s.ranks[rank]);
            open_rank(&s.ranks[rank], &s.config, 1); /* a layer at a time, while rank 0 writes */
        }
        s.ask = write_artifact;
        run_ranks(layouts[i], run_rank, &s);
        assert_same_file(alone, s.path);
        for (int rank = 0; rank < layouts[i]; rank++) close_rank(&s.ranks[rank]);
        close_rank(&s.one);
        free(s.path);
    }
    free(alone);
    scratch_remove(folder);
}

/* ---- what errors cost ---- */

static void add_rounds(comm *c, void *context) {
    study *s = context;
    sensitivities *own = s->ranks[c->rank].s;
    int32_t ids[BATCH * LENGTH + 1];
    for (int i = c->rank; i < BATCHES + c->rank; i += c->ranks) {
        const batch b = batch_of(ids, i);
        if (sensitivities_add_round(own, c, i < BATCHES ? &b : NULL, 100 + i) != STATUS_OK) abort();
    }
}

static void sensitivities_are_those_of_one(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        study s = {.config = tiny_config()};
        int32_t ids[BATCH * LENGTH + 1];
        open_rank(&s.one, &s.config, HESSIANS_MEMORY);
        for (int n = 0; n < BATCHES; n++) {
            const batch b = batch_of(ids, n);
            assert_ok(sensitivities_add(s.one.s, &b, 100 + n));
        }
        for (int rank = 0; rank < layouts[i]; rank++) open_rank(&s.ranks[rank], &s.config, HESSIANS_MEMORY);
        run_ranks(layouts[i], add_rounds, &s);
        for (int rank = 0; rank < layouts[i]; rank++) {
            rank_state *r = &s.ranks[rank];
            assert_int_equal(sensitivities_tokens(r->s), BATCHES * BATCH * LENGTH);
            assert_true(sensitivities_bpb_of_nat(r->s) == sensitivities_bpb_of_nat(s.one.s));
            for (int j = 0; j < r->m->param_count; j++) {
                matrix_curvature mine, expected;
                const struct param *p = r->m->params[j];
                if (!p->is_matrix) continue;
                assert_ok(matrix_curvature_of(&mine, r->s, NULL, p));
                assert_ok(matrix_curvature_of(&expected, s.one.s, NULL, s.one.m->params[j]));
                assert_memory_equal(mine.row_weight, expected.row_weight,
                                    (size_t)tensor_rows(&p->value) * sizeof *mine.row_weight);
                matrix_curvature_free(&mine);
                matrix_curvature_free(&expected);
            }
            close_rank(r);
        }
        close_rank(&s.one);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together),
        cmocka_unit_test(rank_0_alone),
        cmocka_unit_test(others_do_not_ask),
        cmocka_unit_test(loops_are_those_of_one),
        cmocka_unit_test(sensitivities_are_those_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
