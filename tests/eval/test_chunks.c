/* llama.cpp's perplexity: which tokens are scored, and from which context. */
#include "letters_tokenizer.h"

#include "base/random.h"
#include "eval/chunks.h"
#include <math.h>

enum { LENGTH = 8, TEXT = 3 * LENGTH + 3 };

static model *make(void) {
    model_config c = model_config_default();
    c.vocab_size = 32;
    c.num_layers = 2;
    c.model_dim = 32;
    c.attention.heads = 2;
    c.attention.kv_heads = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 2;
    c.stem.bigram_buckets = 0;
    c.loop = (loop_config){0};
    c.init.projection = PROJECTION_ORTHOGONAL;
    model *m;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(model_init(m, 3));
    return m;
}

/* Letters by chance; the tokenizer gives BOS and one id for each. */
static void write_text(char text[TEXT]) {
    rng r = rng_seed(4);
    for (int i = 0; i < TEXT; i++) text[i] = (char)('a' + rng_below(&r, 26));
}

/* One chunk on its own: the nll of the tokens behind its first half and one. */
static void score_alone(pass *p, const int32_t *ids, double *nll, double *squares, int64_t *tokens) {
    int32_t input[LENGTH];
    float found[LENGTH];
    memcpy(input, ids, sizeof input);
    input[0] = 0; /* BOS */
    int32_t target[LENGTH] = {0};
    memcpy(target, ids + 1, (LENGTH - 1) * sizeof *target);
    assert_ok(
        pass_evaluate(p, &(batch){.batch = 1, .length = LENGTH, .input_ids = input, .target_ids = target}, found));
    for (int t = LENGTH / 2; t < LENGTH - 1; t++) {
        *nll += found[t];
        *squares += (double)found[t] * found[t];
        ++*tokens;
    }
}

static void chunks(void **state) {
    (void)state;
    char text[TEXT];
    int32_t ids[TEXT + 1] = {0};
    model *m = make();
    pass *p;
    assert_ok(pass_create(&p, m));
    tokenizer *tok = letters_tokenizer(27);
    write_text(text);
    for (int i = 0; i < TEXT; i++) ids[i + 1] = text[i] - 'a' + 1;
    double nll = 0, squares = 0;
    int64_t tokens = 0;
    for (int chunk = 0; chunk < 3; chunk++) score_alone(p, ids + chunk * LENGTH, &nll, &squares, &tokens);
    for (int64_t batch = 1; batch <= 4; batch++) { /* 28 tokens are three chunks and a rest */
        chunk_score found;
        assert_ok(chunks_score(p, tok, text, TEXT, &(chunk_options){.length = LENGTH, .batch = batch}, &found));
        assert_int_equal(found.chunks, 3);
        assert_int_equal(found.tokens, tokens);
        assert_float_equal(found.nll, nll, 1e-4);
        assert_float_equal(chunks_perplexity(&found), exp(nll / (double)tokens), 1e-4);
        const double mean = nll / (double)tokens;
        const double error = sqrt((squares / (double)tokens - mean * mean) / (double)(tokens - 1)) * exp(mean);
        assert_float_equal(chunks_error(&found), error, 1e-3);
        double sum = 0;
        for (int chunk = 0; chunk < 3; chunk++) {
            double one = 0, one_squares = 0;
            int64_t one_tokens = 0;
            score_alone(p, ids + chunk * LENGTH, &one, &one_squares, &one_tokens);
            assert_float_equal(found.each[chunk], one, 1e-4);
            sum += found.each[chunk];
        }
        assert_true(sum == found.nll);
        chunk_score_free(&found);
    }
    tokenizer_close(tok);
    pass_destroy(p);
    model_destroy(m);
}

static void limits(void **state) {
    (void)state;
    char text[TEXT];
    model *m = make();
    pass *p;
    chunk_score found;
    assert_ok(pass_create(&p, m));
    tokenizer *tok = letters_tokenizer(27);
    write_text(text);
    assert_ok(chunks_score(p, tok, text, TEXT, &(chunk_options){.length = LENGTH, .batch = 2, .tokens = 4}, &found));
    assert_int_equal(found.chunks, 2);
    chunk_score_free(&found);
    assert_fails(chunks_score(p, tok, text, 14, &(chunk_options){.length = LENGTH, .batch = 1}, &found),
                 "16 tokens, found 15");
    assert_fails(chunks_score(p, tok, text, TEXT, &(chunk_options){.length = 2, .batch = 1}, &found), "at least 3");
    tokenizer_close(tok);
    pass_destroy(p);
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(chunks), cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
