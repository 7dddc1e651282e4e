#include "test.h"

#include "generate/generate.h"
#include "text/tokenizer_kind.h"
#include <stdio.h>

/* A vocabulary of the 26 letters behind BOS; a model of 64 tokens has room for more. */
enum { PIECES = 27, VOCABULARY = 64 };

static status encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    (void)t;
    *ids = xmalloc((bytes + 1) * sizeof **ids);
    *count = bytes;
    for (size_t i = 0; i < bytes; i++) (*ids)[i] = text[i] - 'a' + 1;
    return STATUS_OK;
}

static void release(void *own) {
    (void)own;
}

static const tokenizer_kind letters = {.name = "letters", .encode = encode, .release = release};

static tokenizer *make_tokenizer(void) {
    tokenizer *t = tokenizer_create(&letters, NULL, "", 0);
    tokenizer_add_boundary(t, "<s>");
    for (char letter = 'a'; letter <= 'z'; letter++) tokenizer_add_token(t, (char[]){letter, 0}, &letter, 1, false);
    t->bos = 0;
    return t;
}

static int create(void **state) {
    model_config c = model_config_default();
    c.vocab_size = VOCABULARY;
    c.num_layers = 1;
    c.model_dim = 16;
    c.attention.heads = c.attention.kv_heads = 1;
    c.mlp.mult = 1;
    c.rotary.dims = 8;
    c.stem.bigram_buckets = 0;
    c.residual.parallel_start_layer = 0;
    c.loop.extra_passes = 0;
    model *m;
    pass *p;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(model_init(m, 3));
    assert_ok(pass_create(&p, m));
    *state = p;
    return 0;
}

static int destroy(void **state) {
    model *m = pass_model(*state);
    pass_destroy(*state);
    model_destroy(m);
    return 0;
}

static bool collect(void *context, const char *text, size_t bytes) {
    char *all = context;
    assert_int_equal(strlen(text), bytes);
    assert_true(strlen(all) + bytes < 512);
    strcat(all, text);
    return true;
}

/* At this temperature every id is as likely as another, also those that no piece belongs to. */
static void what_has_no_piece_is_never_drawn(void **state) {
    tokenizer *t = make_tokenizer();
    int64_t drawn = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        char text[512] = "";
        generate_result result;
        const sampler hot = {.temperature = 1e6f, .top_p = 1, .seed = seed};
        assert_ok(generate(*state, t, "ab", &hot, 100, collect, text, &result));
        assert_int_equal(strlen(text), result.new_tokens);
        drawn += result.new_tokens;
    }
    assert_true(drawn > 40 * 10);
    tokenizer_close(t);
}

static void any_end_token_ends_the_text(void **state) {
    tokenizer *t = make_tokenizer();
    const sampler warm = {.temperature = 1e6f, .top_p = 1, .seed = 8};
    char text[512] = "", shorter[512] = "";
    generate_result result;
    assert_ok(generate(*state, t, "ab", &warm, 20, collect, text, &result));
    assert_true(strlen(text) > 6);
    tokenizer_add_end(t, text[3] - 'a' + 1);
    tokenizer_add_end(t, text[5] - 'a' + 1);
    assert_ok(generate(*state, t, "ab", &warm, 20, collect, shorter, &result));
    size_t expected = strcspn(text, (char[]){text[3], text[5], 0});
    assert_int_equal(result.new_tokens, expected);
    assert_memory_equal(shorter, text, expected);
    assert_int_equal(strlen(shorter), expected);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_no_piece_is_never_drawn),
        cmocka_unit_test(any_end_token_ends_the_text),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
