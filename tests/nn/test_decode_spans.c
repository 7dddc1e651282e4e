/* Sequences of different lengths in one pass: each gets to the last bit what it gets alone; caches are cut and copied;
 * each sequence has its own control of experts. */
#include "looking_back.h"

#include "base/random.h"
#include "float_rows.h"
#include "nn/pass.h"

enum { VOCAB = 90, EXPERTS = LOOKING_BACK_EXPERTS, SEQUENCES = 7, CAPACITY = 64, LAYERS = LOOKING_BACK_LAYERS };

static model *make(dtype type, float bias_rate) {
    model_config c = looking_back_config(VOCAB);
    c.moe.bias_rate = bias_rate;
    return looking_back_model(&c, type, 0.2f);
}

typedef struct fixture {
    model *m;
    pass *p;
    kv_cache *cache;
} fixture;

static fixture open_model(dtype type) {
    fixture f = {.m = make(type, 0)};
    assert_ok(pass_create(&f.p, f.m));
    assert_ok(kv_cache_create(&f.cache, f.m, SEQUENCES, CAPACITY));
    return f;
}

static void close_model(fixture *f) {
    kv_cache_destroy(f->cache);
    pass_destroy(f->p);
    model_destroy(f->m);
}

/* To the last bit, where rows of products do not depend on each other. */
static void assert_logits(const float *found, const float *expected, int64_t count) {
    if (float_rows_are_equal())
        assert_memory_equal(found, expected, (size_t)count * sizeof *found);
    else
        for (int64_t i = 0; i < count; i++) assert_float_equal(found[i], expected[i], 1e-3);
}

static void make_ids(int32_t *ids, int count, uint64_t seed) {
    rng r = rng_seed(seed);
    for (int i = 0; i < count; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
}

/* The logits behind each token, one sequence alone, cut into the same pieces. */
static void alone(const fixture *f, const int32_t *ids, const int *pieces, int count, const expert_control *control,
                  float *logits) {
    kv_cache *cache;
    int at = 0;
    assert_ok(kv_cache_create(&cache, f->m, 1, CAPACITY));
    for (int i = 0; i < count; i++) {
        const decode_span span = {.count = pieces[i], .logits = pieces[i], .experts = control};
        assert_ok(pass_decode_spans(f->p, cache, &span, 1, ids + at, logits + at * VOCAB));
        at += pieces[i];
    }
    kv_cache_destroy(cache);
}

enum { PIECES = 4 };
static const int pieces_of[SEQUENCES][PIECES] = {{11, 1, 1, 1}, {1, 5, 1, 9}, {3, 3, 3, 3}, {1, 1, 1, 1},
                                                 {20, 6, 1, 7}, {2, 1, 4, 1}, {9, 2, 13, 1}};

static void a_sequence_does_not_feel_the_others(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++) {
        if (t && !kernels_for(DTYPE_BF16)) continue;
        fixture f = open_model(t ? DTYPE_BF16 : DTYPE_F32);
        int32_t ids[SEQUENCES][CAPACITY], step[SEQUENCES * CAPACITY];
        float *one = xmalloc(sizeof(float) * CAPACITY * VOCAB),
              *all = xmalloc(sizeof(float) * SEQUENCES * CAPACITY * VOCAB);
        int at[SEQUENCES] = {0};
        for (int s = 0; s < SEQUENCES; s++) make_ids(ids[s], CAPACITY, 7 + s);
        for (int i = 0; i < PIECES; i++) {
            decode_span spans[SEQUENCES];
            int64_t rows = 0, from[SEQUENCES];
            for (int j = 0; j < SEQUENCES; j++) { /* in another order each time */
                const int s = (j * 3 + i) % SEQUENCES, count = pieces_of[s][i];
                spans[j] = (decode_span){.sequence = s, .count = count, .logits = count};
                memcpy(step + rows, ids[s] + at[s], (size_t)count * sizeof *step);
                from[s] = rows;
                rows += count;
            }
            assert_ok(pass_decode_spans(f.p, f.cache, spans, SEQUENCES, step, all));
            float *kept = xmalloc(sizeof(float) * (size_t)rows * VOCAB);
            memcpy(kept, all, sizeof(float) * (size_t)rows * VOCAB);
            for (int s = 0; s < SEQUENCES; s++) {
                alone(&f, ids[s], pieces_of[s], i + 1, NULL, one);
                assert_logits(kept + from[s] * VOCAB, one + at[s] * VOCAB, (int64_t)pieces_of[s][i] * VOCAB);
                at[s] += pieces_of[s][i];
                assert_int_equal(kv_cache_length(f.cache, s), at[s]);
                assert_memory_equal(kv_cache_tokens(f.cache, s), ids[s], (size_t)at[s] * sizeof(int32_t));
            }
            free(kept);
        }
        free(one);
        free(all);
        close_model(&f);
    }
}

/* Tokens that are read together, one by one, get to the last bit what each gets in a pass of its own; together they do not. */
static void tokens_one_by_one_are_as_in_passes_of_their_own(void **state) {
    enum { PROMPT = 9, COUNT = 30 };
    int passes[1 + COUNT] = {PROMPT};
    (void)state;
    for (int i = 1; i <= COUNT; i++) passes[i] = 1;
    for (int t = 0; t < 2; t++) {
        if (t && !kernels_for(DTYPE_BF16)) continue;
        fixture f = open_model(t ? DTYPE_BF16 : DTYPE_F32);
        int32_t ids[PROMPT + COUNT];
        float *one = xmalloc(sizeof(float) * (PROMPT + COUNT) * VOCAB), *all = xmalloc(sizeof(float) * COUNT * VOCAB);
        make_ids(ids, PROMPT + COUNT, 12);
        alone(&f, ids, passes, 1 + COUNT, NULL, one);
        for (int count = 1; count <= COUNT; count += count < 7 ? 1 : 23) {
            const decode_span prompt = {.sequence = 2, .count = PROMPT};
            const decode_span rest = {.sequence = 2, .count = count, .logits = count, .one_by_one = true};
            kv_cache_cut(f.cache, 2, 0);
            assert_ok(pass_decode_spans(f.p, f.cache, &prompt, 1, ids, NULL));
            assert_ok(pass_decode_spans(f.p, f.cache, &rest, 1, ids + PROMPT, all));
            assert_logits(all, one + PROMPT * VOCAB, count * VOCAB);
        }
        free(one);
        free(all);
        close_model(&f);
    }
}

/* More sequences than the memory for an op's records has at once. */
static void thousands_of_sequences_are_one_pass(void **state) {
    enum { MANY = 2500 };
    (void)state;
    fixture f = open_model(DTYPE_F32);
    kv_cache *cache;
    decode_span *spans = xcalloc(MANY, sizeof *spans);
    int32_t *ids = xmalloc(MANY * sizeof *ids);
    float *all = xmalloc(sizeof(float) * MANY * VOCAB), one[VOCAB];
    const int single = 1;
    assert_ok(kv_cache_create(&cache, f.m, MANY, 1));
    make_ids(ids, MANY, 13);
    for (int i = 0; i < MANY; i++) spans[i] = (decode_span){.sequence = i, .count = 1, .logits = 1};
    assert_ok(pass_decode_spans(f.p, cache, spans, MANY, ids, all));
    for (int i = 0; i < MANY; i += MANY - 1) {
        alone(&f, ids + i, &single, 1, NULL, one);
        assert_logits(all + i * VOCAB, one, VOCAB);
    }
    kv_cache_destroy(cache);
    free(spans);
    free(ids);
    free(all);
    close_model(&f);
}

static void only_the_wanted_logits_are_made(void **state) {
    (void)state;
    fixture f = open_model(DTYPE_F32);
    int32_t ids[12];
    float all[12 * VOCAB], some[4 * VOCAB];
    make_ids(ids, 12, 1);
    const decode_span whole[] = {{.sequence = 0, .count = 7, .logits = 7}, {.sequence = 1, .count = 5, .logits = 5}};
    const decode_span parts[] = {{.sequence = 2, .count = 7, .logits = 3}, {.sequence = 3, .count = 5, .logits = 1}};
    const decode_span none[] = {{.sequence = 4, .count = 7}, {.sequence = 5, .count = 5}};
    assert_ok(pass_decode_spans(f.p, f.cache, whole, 2, ids, all));
    assert_ok(pass_decode_spans(f.p, f.cache, parts, 2, ids, some));
    assert_ok(pass_decode_spans(f.p, f.cache, none, 2, ids, NULL));
    assert_logits(some, all + 4 * VOCAB, 3 * VOCAB);
    assert_logits(some + 3 * VOCAB, all + 11 * VOCAB, VOCAB);
    assert_int_equal(kv_cache_length(f.cache, 4), 7);
    close_model(&f);
}

/* A sequence that begins as a copy of another's beginning goes on as if it had read it; and so does one that was cut. */
static void caches_are_cut_and_copied(void **state) {
    (void)state;
    fixture f = open_model(DTYPE_F32);
    int32_t ids[30];
    float one[30 * VOCAB], other[30 * VOCAB];
    make_ids(ids, 30, 4);
    for (int kept = 0; kept < 20; kept += 3) {
        const int read[2] = {kept, 30 - kept};
        alone(&f, ids, kept ? read : read + 1, kept ? 2 : 1, NULL, one);
        int32_t different[30];
        make_ids(different, 30, 5);
        memcpy(different, ids, (size_t)kept * sizeof *ids);
        kv_cache_cut(f.cache, 1, 0);
        const decode_span first[2] = {{.sequence = 1, .count = kept}, {.sequence = 1, .count = 30 - kept}};
        if (kept) assert_ok(pass_decode_spans(f.p, f.cache, first, 1, different, NULL));
        assert_ok(pass_decode_spans(f.p, f.cache, first + 1, 1, different + kept, NULL));
        kv_cache_copy(f.cache, 4, 1, kept);
        kv_cache_cut(f.cache, 1, kept);
        for (int s = 1; s < 5; s += 3) {
            const decode_span rest = {.sequence = s, .count = 30 - kept, .logits = 30 - kept};
            assert_ok(pass_decode_spans(f.p, f.cache, &rest, 1, ids + kept, other));
            assert_logits(other, one + kept * VOCAB, (30 - kept) * VOCAB);
        }
    }
    assert_true(kv_cache_token_bytes(f.cache) > 4 * 2 * 16 * 4);
    assert_int_equal(kv_cache_capacity(f.cache), CAPACITY);
    const decode_span many = {.sequence = 1, .count = CAPACITY, .logits = 0};
    assert_fails(pass_decode_spans(f.p, f.cache, &many, 1, ids, NULL), "64 more do not fit behind 30");
    assert_int_equal(kv_cache_length(f.cache, 1), 30);
    close_model(&f);
}

/* ---- experts ---- */

typedef struct seen {
    int rows, most[8], least[8]; /* of each pass through a router: choices of a token */
    bool used[EXPERTS];
    int entries;
} seen;

static void see(void *context, int layer, int pass, const moe_choice *choice) {
    seen *s = context;
    const int entry = s->entries++;
    (void)layer;
    (void)pass;
    s->most[entry] = 0;
    s->least[entry] = EXPERTS;
    for (int64_t n = 0; n < choice->tokens; n++) {
        int own = 0;
        float sum = 0;
        for (int j = 0; j < choice->k; j++) {
            const int e = choice->chosen[n * choice->k + j];
            sum += choice->gates[n * choice->k + j];
            if (e < 0) continue;
            s->used[e] = true;
            own++;
        }
        assert_true(sum > 0 && sum < 1.001f);
        if (own > s->most[entry]) s->most[entry] = own;
        if (own < s->least[entry]) s->least[entry] = own;
    }
}

static const bool only[EXPERTS] = {false, true, false, true}, lone[EXPERTS] = {false, false, true, false};
static const int by_layer[LAYERS] = {0, 1, 3};
static const expert_control controls[] = {{0},
                                          {.top_k = 1},
                                          {.top_k = 4},
                                          {.allowed = only},
                                          {.allowed = lone, .top_k = 2},
                                          {.layer_top_k = by_layer, .top_k = 2}};
enum { CONTROLS = sizeof controls / sizeof *controls };

static void a_control_changes_the_routing(void **state) {
    (void)state;
    fixture f = open_model(DTYPE_F32);
    int32_t ids[24];
    float logits[CONTROLS][24 * VOCAB];
    const int whole = 24;
    make_ids(ids, 24, 8);
    /* entries: layer 1, layer 1 again, layer 2 */
    const int expected[CONTROLS][2] = {{2, 2}, {1, 1}, {4, 4}, {2, 2}, {1, 1}, {1, 3}};
    for (int i = 0; i < CONTROLS; i++) {
        seen s = {0};
        pass_watch_routing(f.p, see, &s);
        alone(&f, ids, &whole, 1, &controls[i], logits[i]);
        assert_int_equal(s.entries, 3);
        for (int e = 0; e < 3; e++) {
            assert_int_equal(s.most[e], expected[i][e == 2]);
            assert_int_equal(s.least[e], expected[i][e == 2]);
        }
        for (int e = 0; e < EXPERTS && controls[i].allowed; e++)
            if (!controls[i].allowed[e]) assert_false(s.used[e]);
        for (int j = 0; j < i; j++) assert_memory_not_equal(logits[i], logits[j], sizeof logits[i]);
    }
    pass_watch_routing(f.p, NULL, NULL);
    close_model(&f);
}

/* What a control does is what the whole model does with such a top_k, or with such experts allowed. */
static void a_control_is_what_the_model_would_be(void **state) {
    (void)state;
    fixture f = open_model(DTYPE_F32);
    int32_t ids[24];
    float controlled[24 * VOCAB], model_wide[24 * VOCAB];
    const int whole = 24;
    make_ids(ids, 24, 8);
    for (int k = 1; k <= EXPERTS; k++) {
        const expert_control c = {.top_k = k};
        alone(&f, ids, &whole, 1, &c, controlled);
        assert_ok(model_set_top_k(f.m, k));
        alone(&f, ids, &whole, 1, NULL, model_wide);
        assert_ok(model_set_top_k(f.m, 2));
        assert_logits(controlled, model_wide, 24 * VOCAB);
    }
    for (int i = 3; i < 5; i++) {
        alone(&f, ids, &whole, 1, &controls[i], controlled);
        assert_ok(pass_allow_experts(f.p, controls[i].allowed, 1));
        alone(&f, ids, &whole, 1, NULL, model_wide);
        assert_ok(pass_allow_experts(f.p, NULL, 0));
        assert_logits(controlled, model_wide, 24 * VOCAB);
    }
    close_model(&f);
}

static void each_sequence_has_its_own_control(void **state) {
    (void)state;
    fixture f = open_model(DTYPE_F32);
    int32_t ids[CONTROLS + 1][9], all_ids[(CONTROLS + 1) * 9];
    float all[(CONTROLS + 1) * 9 * VOCAB], one[9 * VOCAB];
    decode_span spans[CONTROLS + 1];
    for (int i = 0; i <= CONTROLS; i++) {
        make_ids(ids[i], 9, 30 + i);
        memcpy(all_ids + i * 9, ids[i], sizeof ids[i]);
        spans[i] = (decode_span){.sequence = i, .count = 9, .logits = 9, .experts = i ? &controls[i - 1] : NULL};
    }
    assert_ok(pass_decode_spans(f.p, f.cache, spans, CONTROLS + 1, all_ids, all));
    for (int i = 0; i <= CONTROLS; i++) {
        const int whole = 9;
        alone(&f, ids[i], &whole, 1, spans[i].experts, one);
        assert_logits(all + i * 9 * VOCAB, one, 9 * VOCAB);
    }
    close_model(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_does_not_feel_the_others),
        cmocka_unit_test(tokens_one_by_one_are_as_in_passes_of_their_own),
        cmocka_unit_test(thousands_of_sequences_are_one_pass),
        cmocka_unit_test(only_the_wanted_logits_are_made),
        cmocka_unit_test(caches_are_cut_and_copied),
        cmocka_unit_test(a_control_changes_the_routing),
        cmocka_unit_test(a_control_is_what_the_model_would_be),
        cmocka_unit_test(each_sequence_has_its_own_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
