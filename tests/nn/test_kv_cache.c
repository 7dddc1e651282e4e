/* The pool of blocks: sequences get to the last bit what they get where their rows lie one behind another; those that begin
 * alike hold the same blocks until one of them writes; what nobody holds is free again. */
#include "looking_back.h"

#include "base/random.h"
#include "nn/pass.h"

enum { VOCAB = 90, CAPACITY = 70, BLOCK = 16 };

/* Its one layer of experts is looped. */
static model *make(dtype type, cache_type cache) {
    model_config c = looking_back_config(VOCAB);
    c.moe.layers[2] = false;
    model *m = looking_back_model(&c, type, 0.2f);
    m->cache = cache;
    return m;
}

typedef struct fixture {
    model *m;
    pass *p;
    int32_t ids[CAPACITY], other[CAPACITY]; /* two texts */
} fixture;

static fixture open_model(dtype type, cache_type cache) {
    fixture f = {.m = make(type, cache)};
    rng r = rng_seed(8);
    assert_ok(pass_create(&f.p, f.m));
    for (int i = 0; i < CAPACITY; i++) {
        f.ids[i] = (int32_t)rng_below(&r, VOCAB);
        f.other[i] = (int32_t)rng_below(&r, VOCAB);
    }
    return f;
}

static void close_model(fixture *f) {
    pass_destroy(f->p);
    model_destroy(f->m);
}

static kv_cache *pool(const fixture *f, int64_t sequences, int64_t block, int64_t full_sequences) {
    kv_cache *c;
    const kv_cache_size size = {
        .sequences = sequences, .capacity = CAPACITY, .block = block, .full_sequences = full_sequences};
    assert_ok(kv_cache_create_sized(&c, f->m, &size));
    return c;
}

static void decode(const fixture *f, kv_cache *c, int sequence, const int32_t *ids, int count, bool one_by_one,
                   float *logits) {
    const decode_span span = {.sequence = sequence, .count = count, .logits = 1, .one_by_one = one_by_one};
    assert_ok(pass_decode_spans(f->p, c, &span, 1, ids, logits));
}

static void assert_counts(const kv_cache *c, int64_t used, int64_t shared) {
    const kv_cache_blocks n = kv_cache_count(c);
    assert_int_equal(n.all - n.free, used);
    assert_int_equal(n.shared, shared);
}

/* ---- where rows lie ---- */

enum { STEPS = 5 };

/* A prompt of `length`, then a token, four, seven one by one, and a token; the logits behind each. */
static void write(const fixture *f, kv_cache *c, int sequence, int length, float logits[STEPS][VOCAB]) {
    const int32_t *ids = f->ids;
    decode(f, c, sequence, ids, length, false, logits[0]);
    decode(f, c, sequence, ids + length, 1, false, logits[1]);
    decode(f, c, sequence, ids + length + 1, 4, false, logits[2]);
    decode(f, c, sequence, ids + length + 5, 7, true, logits[3]);
    decode(f, c, sequence, ids + length + 12, 1, false, logits[4]);
}

static void blocks_of_any_size_are_one_block(void **state) {
    static const int64_t blocks[] = {1, 3, BLOCK, 64};
    static const int lengths[] = {1, 2, BLOCK - 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 50};
    static float whole[STEPS][VOCAB], found[STEPS][VOCAB];
    (void)state;
    for (int t = 0; t < 6; t++) {
        if (t > 2 && !kernels_for(DTYPE_BF16)) continue;
        fixture f = open_model(t > 2 ? DTYPE_BF16 : DTYPE_F32, (cache_type)(t % 3));
        for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
            kv_cache *one = pool(&f, 1, CAPACITY, 0);
            write(&f, one, 0, lengths[n], whole);
            assert_counts(one, 1, 0);
            kv_cache_destroy(one);
            for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
                kv_cache *c = pool(&f, 3, blocks[b], 0);
                /* others hold blocks between them */
                decode(&f, c, 1, f.other, 9, false, found[0]);
                write(&f, c, 2, lengths[n], found);
                assert_memory_equal(found, whole, sizeof whole);
                kv_cache_cut(c, 1, 0);
                kv_cache_cut(c, 2, 0);
                write(&f, c, 0, lengths[n], found);
                assert_memory_equal(found, whole, sizeof whole);
                kv_cache_cut(c, 0, 0);
                assert_counts(c, 0, 0);
                kv_cache_destroy(c);
            }
        }
        close_model(&f);
    }
}

/* ---- sharing ---- */

/* What a sequence of its own gets that reads `common` tokens of the first text and then some of either. */
static void alone(const fixture *f, int length, int common, const int32_t *then, float *logits) {
    kv_cache *c = pool(f, 1, CAPACITY, 0);
    decode(f, c, 0, f->ids, length, false, logits);
    kv_cache_cut(c, 0, common);
    for (int i = 0; i < 20; i += 5) decode(f, c, 0, then + i, 5, false, logits);
    kv_cache_destroy(c);
}

/* Two go on from a beginning that ends before, at or behind a block's end, in turns. */
static void who_writes_to_a_shared_block_copies_it(void **state) {
    float first[VOCAB], second[VOCAB], one[VOCAB], other[VOCAB];
    (void)state;
    for (int type = CACHE_ACT; type <= CACHE_INT8; type++) {
        fixture f = open_model(DTYPE_F32, (cache_type)type);
        for (int common = 2 * BLOCK - 1; common <= 2 * BLOCK + 1; common++) {
            enum { LENGTH = 3 * BLOCK - 6 };
            const int holds = (common + BLOCK - 1) / BLOCK, parts = common % BLOCK > 0;
            kv_cache *c = pool(&f, 2, BLOCK, 0);
            decode(&f, c, 0, f.ids, LENGTH, false, one);
            assert_counts(c, 3, 0);
            kv_cache_copy(c, 1, 0, common);
            kv_cache_cut(c, 0, common);
            assert_counts(c, holds, holds);
            assert_int_equal(kv_cache_missing(c, 1, BLOCK - 5), common % BLOCK == 1 ? 1 : 1 + parts);
            for (int i = 0; i < 20; i += 5) {
                decode(&f, c, 0, f.ids + i, 5, false, one);
                if (i == 0) assert_counts(c, 3 + parts, common / BLOCK);
                decode(&f, c, 1, f.other + i, 5, false, other);
            }
            assert_int_equal(kv_cache_count(c).shared, common / BLOCK);
            assert_int_equal(kv_cache_held(c, 0, 1), (common + 20 + BLOCK - 1) / BLOCK);
            assert_int_equal(kv_cache_held(c, 0, 2), 2 * ((common + 20 + BLOCK - 1) / BLOCK) - common / BLOCK);
            alone(&f, LENGTH, common, f.ids, first);
            alone(&f, LENGTH, common, f.other, second);
            assert_memory_equal(one, first, sizeof one);
            assert_memory_equal(other, second, sizeof other);
            kv_cache_cut(c, 0, 0);
            assert_int_equal(kv_cache_count(c).shared, 0);
            kv_cache_cut(c, 1, 0);
            assert_counts(c, 0, 0);
            kv_cache_destroy(c);
        }
        close_model(&f);
    }
}

/* Many hold a beginning; it stays as long as one of them does. */
static void a_beginning_outlives_who_read_it(void **state) {
    enum { MANY = 9, LENGTH = 2 * BLOCK + 5 };
    float logits[VOCAB], expected[VOCAB];
    (void)state;
    fixture f = open_model(DTYPE_F32, CACHE_ACT);
    kv_cache *c = pool(&f, MANY, BLOCK, 0);
    decode(&f, c, 0, f.ids, LENGTH, false, logits);
    for (int i = 1; i < MANY; i++) kv_cache_copy(c, i, i - 1, LENGTH);
    assert_counts(c, 3, 3);
    for (int i = 0; i < MANY - 1; i++) kv_cache_cut(c, i, i % 2 ? 0 : 1);
    assert_counts(c, 3, 1); /* five of them hold their first token */
    assert_memory_equal(kv_cache_tokens(c, MANY - 1), f.ids, LENGTH * sizeof *f.ids);
    decode(&f, c, MANY - 1, f.other, 1, false, logits);
    kv_cache *own = pool(&f, 1, CAPACITY, 0);
    decode(&f, own, 0, f.ids, LENGTH, false, expected);
    decode(&f, own, 0, f.other, 1, false, expected);
    assert_memory_equal(logits, expected, sizeof logits);
    kv_cache_copy(c, MANY - 1, MANY - 1, 3); /* of itself: it is cut */
    assert_counts(c, 1, 1);
    kv_cache_destroy(own);
    kv_cache_destroy(c);
    close_model(&f);
}

/* ---- too few ---- */

static void a_pool_that_is_empty_says_so(void **state) {
    float logits[2 * VOCAB];
    (void)state;
    fixture f = open_model(DTYPE_F32, CACHE_ACT);
    kv_cache *c = pool(&f, 2, BLOCK, 1); /* five blocks */
    decode(&f, c, 0, f.ids, 3 * BLOCK, false, logits);
    assert_false(kv_cache_reserve(c, 1, 2 * BLOCK + 1));
    assert_counts(c, 3, 0);
    assert_true(kv_cache_reserve(c, 1, BLOCK + 1));
    assert_counts(c, 5, 0);
    assert_int_equal(kv_cache_room(c, 1), 2 * BLOCK);
    assert_true(kv_cache_reserve(c, 1, 2 * BLOCK));
    const decode_span spans[2] = {{.sequence = 1, .count = 2, .logits = 1}, {.sequence = 0, .count = 1, .logits = 1}};
    assert_fails(pass_decode_spans(f.p, c, spans, 2, f.ids, logits), "expected 1 free blocks of 16 tokens, found 0");
    assert_int_equal(kv_cache_length(c, 0), 3 * BLOCK);
    assert_int_equal(kv_cache_length(c, 1), 0);
    kv_cache_cut(c, 1, 0);
    assert_counts(c, 3, 0);
    assert_ok(pass_decode_spans(f.p, c, spans, 2, f.ids, logits));
    assert_counts(c, 5, 0);
    kv_cache_destroy(c);
    const int64_t least = 5 * BLOCK * kv_cache_token_bytes(c = pool(&f, 1, BLOCK, 0));
    kv_cache_destroy(c);
    kv_cache_size size = {.sequences = 9, .capacity = CAPACITY, .block = BLOCK, .bytes = least - 1};
    assert_fails(kv_cache_create_sized(&c, f.m, &size), "5 blocks of 16 tokens for a text of 70, found");
    size.bytes = least;
    assert_ok(kv_cache_create_sized(&c, f.m, &size));
    assert_int_equal(kv_cache_count(c).all, 5);
    kv_cache_destroy(c);
    close_model(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_any_size_are_one_block),
        cmocka_unit_test(who_writes_to_a_shared_block_copies_it),
        cmocka_unit_test(a_beginning_outlives_who_read_it),
        cmocka_unit_test(a_pool_that_is_empty_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
