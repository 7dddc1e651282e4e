/* Hash embeddings: which rows of their tables tokens read, by hand; that they can learn. */
#include "families.h"

#include <math.h>

/* Row `id` of a table, found out by asking which one has a gradient. */
static bool row_is_used(model *m, const char *table, int64_t row) {
    param *p = model_find(m, table);
    int64_t cols = tensor_cols(&p->value);
    float *g = xmalloc(tensor_bytes(&p->value)), most = 0;
    m->k->download(g, p->grad, tensor_bytes(&p->value));
    for (int64_t c = 0; c < cols; c++) most = fmaxf(most, fabsf(g[row * cols + c]));
    free(g);
    return most > 0;
}

/* By hand, with wrapping int32: 36313 · 60000 = 2178780000 is −2116187296 there; xor with 27191 · 3 = 81573 it is −2116241979,
 * which mod 32 (floor) is 5. 36313 · 5 = 181565 xor 27191 · 60000 = 1631460000 is 1631379357, mod 32: 29. */
static void hashes_by_hand(void **state) {
    (void)state;
    model_config c = soft();
    c.vocab_size = 65536;
    c.stem.trigram_buckets = 29, c.stem.trigram_dim = 16;
    model *m = make(c);
    const int32_t ids[3] = {3, 60000, 5}, targets[3] = {1, 2, 3};
    batch b = {.batch = 1, .length = 3, .input_ids = ids, .target_ids = targets};
    pass *p = make_pass(m);
    trained(p, &b);
    pass_destroy(p);
    int32_t mixed_ids = (int32_t)(36313u * 60000u) ^ (int32_t)(27191u * 3u);
    int second = ((mixed_ids % 32) + 32) % 32;
    assert_true(mixed_ids < 0);
    assert_int_equal(second, 5);
    int third = 29;
    for (int row = 0; row < 33; row++)
        assert_int_equal(row_is_used(m, "bigram_emb.weight", row), row == 32 || row == second || row == third);
    int three = (961 * 3 + 31 * 60000 + 5) % 29;
    for (int row = 0; row < 29; row++)
        assert_int_equal(row_is_used(m, "trigram_emb.weight", row), row == 0 || row == three);
    model_destroy(m);
}

/* Neither factor of a hash embedding may start where both have no gradient. */
static void hashes_can_learn(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        model_config c = soft();
        c.init.projection = PROJECTION_ORTHOGONAL;
        c.stem.bigram_dim = i == 2 ? 64 : 16;
        c.init.hash = i == 1 ? HASH_ZERO_PROJECTION : HASH_ZERO_TABLE;
        model *m;
        int32_t ids[LENGTH];
        make_ids(ids, 2);
        assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
        assert_ok(model_init(m, 1));
        batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids};
        pass *p = make_pass(m);
        trained(p, &b);
        pass_destroy(p);
        double squares = 0;
        param *table = model_find(m, "bigram_emb.weight"), *proj = model_find(m, "bigram_proj.weight");
        assert_int_equal(proj == NULL, i == 2);
        m->k->add_squares(&squares, table->grad, param_count(table));
        if (proj) m->k->add_squares(&squares, proj->grad, param_count(proj));
        assert_true(squares > 0);
        model_destroy(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_by_hand),
        cmocka_unit_test(hashes_can_learn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
