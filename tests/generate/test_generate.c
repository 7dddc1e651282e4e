#include "disturb.h"

#include "base/progress.h"
#include "generate/generate.h"
#include "text/tokenizer_kind.h"
#include <signal.h>
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
    c.stem.bigram_buckets = 32;
    c.stem.bigram_dim = 8;
    c.residual.parallel_start_layer = 0;
    c.loop.extra_passes = 0;
    model *m;
    pass *p;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(model_init(m, 3));
    disturb(m, 9, 0.3f);
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

static const char long_prompt[] = "thequickbrownfoxjumpsoverthelazydogandthelazydogsleepson";

static void open_prompt(generation **g, pass *p, const tokenizer *tok, int64_t context, int64_t chunk) {
    const prompt_options options = {.context = context, .chunk = chunk};
    assert_ok(generation_open(g, p, tok, long_prompt, strlen(long_prompt), &options, 40));
}

static void text_of(generation *g, uint64_t seed, char text[512]) {
    generate_result result;
    const sampler warm = {.temperature = 1, .top_p = 1, .seed = seed};
    memset(text, 0, 512);
    assert_ok(generation_continue(g, &warm, collect, text, &result));
    assert_int_equal(strlen(text), result.new_tokens);
}

/* A library's caller may ask for anything. */
static void a_negative_number_of_tokens_is_refused(void **state) {
    static const int64_t wrong[] = {-1, -1000, INT64_MIN, INT64_MAX};
    tokenizer *t = make_tokenizer();
    for (int i = 0; i < 4; i++) {
        generation *g;
        assert_fails(generation_open(&g, *state, t, "", 0, &(prompt_options){0}, wrong[i]),
                     "max_tokens: expected 0 to ");
    }
    tokenizer_close(t);
}

static void what_is_read_in_chunks_is_read_as_a_whole(void **state) {
    tokenizer *t = make_tokenizer();
    char whole[512], chunked[512];
    for (int64_t chunk = 1; chunk < 60; chunk += 7) {
        generation *g;
        open_prompt(&g, *state, t, 0, 1000);
        text_of(g, 5, whole);
        generation_close(g);
        open_prompt(&g, *state, t, 0, chunk);
        text_of(g, 5, chunked);
        assert_int_equal(generation_prompt(g).read, 1 + strlen(long_prompt));
        generation_close(g);
        assert_string_equal(chunked, whole);
    }
    tokenizer_close(t);
}

/* Also the first text once more, after others: keys, values and what SmearGate carries are those behind the prompt. */
static void each_text_begins_behind_the_prompt(void **state) {
    tokenizer *t = make_tokenizer();
    char alone[512], text[512];
    generation *one, *many;
    open_prompt(&many, *state, t, 0, 16);
    for (uint64_t i = 0; i < 8; i++) {
        open_prompt(&one, *state, t, 0, 16);
        text_of(one, i % 4, alone);
        generation_close(one);
        text_of(many, i % 4, text);
        assert_string_equal(text, alone);
    }
    generation_close(many);
    tokenizer_close(t);
}

static void a_prompt_is_cut_from_the_front(void **state) {
    tokenizer *t = make_tokenizer();
    char cut[512], text[512];
    generate_result result;
    const sampler warm = {.temperature = 1, .top_p = 1, .seed = 2};
    for (int64_t context = 1; context < 80; context += 13) {
        const size_t all = strlen(long_prompt), kept = context - 1 < (int64_t)all ? (size_t)context - 1 : all;
        generation *g;
        open_prompt(&g, *state, t, context, 0);
        assert_int_equal(generation_prompt(g).tokens, 1 + all);
        assert_int_equal(generation_prompt(g).read, 1 + kept); /* BOS stays */
        text_of(g, 2, cut);
        generation_close(g);
        memset(text, 0, sizeof text);
        assert_ok(generate(*state, t, long_prompt + all - kept, &warm, 40, collect, text, &result));
        assert_string_equal(cut, text);
    }
    tokenizer_close(t);
}

/* The last test: the flag stays. */
static void an_interruption_ends_the_reading(void **state) {
    tokenizer *t = make_tokenizer();
    generation *g;
    open_prompt(&g, *state, t, 0, 16);
    interrupt_catch();
    raise(SIGINT);
    assert_int_equal(generation_read(g), STATUS_INTERRUPTED);
    assert_string_equal(error_message(), "interrupted: 0 of the prompt's 57 tokens were read");
    generation_close(g);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_no_piece_is_never_drawn),
        cmocka_unit_test(any_end_token_ends_the_text),
        cmocka_unit_test(a_negative_number_of_tokens_is_refused),
        cmocka_unit_test(what_is_read_in_chunks_is_read_as_a_whole),
        cmocka_unit_test(each_text_begins_behind_the_prompt),
        cmocka_unit_test(a_prompt_is_cut_from_the_front),
        cmocka_unit_test(an_interruption_ends_the_reading),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
