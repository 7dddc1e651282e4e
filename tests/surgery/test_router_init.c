/* What routers know at first: from prompts, against computations by hand, and from clusters that were planted. */
#include "parents.h"

#include "letters_tokenizer.h"
#include "surgery/router_init.h"

static char *const cooking[] = {(char *)"eggs", (char *)"flour"}, *const code[] = {(char *)"main"},
                   *const story[] = {(char *)"once", (char *)"king", (char *)"a"};

static const expert_prompts three[] = {
    {.name = (char *)"cooking", .positive = (char **)cooking, .positive_count = 2},
    {.positive = (char **)code, .negative = (char **)story, .positive_count = 1, .negative_count = 3},
    {.name = (char *)"story", .positive = (char **)story, .positive_count = 3}};

static router_rows rows_for(const model_config *c, int experts, bool gate) {
    upcycle_options o = usual_options();
    o.experts = experts;
    o.top_k = 1;
    o.shared_gate = gate;
    return router_rows_create(c, &o);
}

/* ---- by hand ---- */

/* The token embeddings of BOS and a text of letters. */
static int ids_of(const char *text, int32_t ids[16]) {
    int count = 0;
    ids[count++] = 0;
    for (; *text; text++) ids[count++] = *text - 'a' + 1;
    return count;
}

static void to_unit(double *v, int d) {
    double squares = 0;
    for (int i = 0; i < d; i++) squares += v[i] * v[i];
    for (int i = 0; i < d; i++) v[i] /= sqrt(squares);
}

static void assert_row(const float *row, const double *expected, int d, double tolerance, const char *name) {
    for (int i = 0; i < d; i++)
        if (!(fabs((double)row[i] - expected[i]) <= tolerance))
            fail_msg("%s: channel %d is %g, expected %g", name, i, (double)row[i], expected[i]);
}

static void sum_of_embeddings(model *m, char *const *texts, int count, double *sum) {
    const int d = m->config.model_dim;
    const weight_source w = weight_source_of(m);
    float *table = values_of_role(&w, ROLE_TOK_EMB, -1, -1);
    int32_t ids[16];
    memset(sum, 0, (size_t)d * sizeof *sum);
    for (int i = 0; i < count; i++)
        for (int t = ids_of(texts[i], ids) - 1; t >= 0; t--)
            for (int j = 0; j < d; j++) sum[j] += (double)table[ids[t] * d + j];
    to_unit(sum, d);
    free(table);
}

static void cheap_embed(void **state) {
    (void)state;
    const model_config c = llama();
    const int d = c.model_dim;
    model *parent = random_model(&c);
    const weight_source w = weight_source_of(parent);
    tokenizer *tok = letters_tokenizer(256);
    router_rows r = rows_for(&c, 2, true);
    double first[64], second[64], without[64], gate[64];
    assert_int_equal(router_rows_count(&r), 3);
    assert_ok(router_rows_from_prompts(&r, &w, tok, parent->k, three, PROMPTS_CHEAP_EMBED));
    sum_of_embeddings(parent, cooking, 2, first);
    sum_of_embeddings(parent, code, 1, second);
    sum_of_embeddings(parent, story, 3, without);
    sum_of_embeddings(parent, story, 3, gate);
    for (int i = 0; i < d; i++) second[i] -= without[i];
    to_unit(second, d);
    for (int layer = 0; layer < c.num_layers; layer++) {
        assert_row(r.rows[layer], first, d, 1e-6, "cooking");
        assert_row(r.rows[layer] + d, second, d, 1e-6, "code");
        assert_row(r.rows[layer] + 2 * d, gate, d, 1e-6, "the shared gate");
    }
    router_rows_free(&r);
    tokenizer_close(tok);
    model_destroy(parent);
}

/* mergekit puts the token that is called BOS before a prompt even where the tokenizer would not. */
static void bos_by_its_name(void **state) {
    (void)state;
    const model_config c = llama();
    model *parent = random_model(&c);
    const weight_source w = weight_source_of(parent);
    tokenizer *tok = letters_tokenizer(VOCAB);
    router_rows added = rows_for(&c, 3, false), named = rows_for(&c, 3, false), none = rows_for(&c, 3, false);
    assert_ok(router_rows_from_prompts(&added, &w, tok, parent->k, three, PROMPTS_CHEAP_EMBED));
    tok->adds_bos = false;
    assert_ok(router_rows_from_prompts(&none, &w, tok, parent->k, three, PROMPTS_CHEAP_EMBED));
    tok->bos_text = xstrdup("<s>");
    assert_ok(router_rows_from_prompts(&named, &w, tok, parent->k, three, PROMPTS_CHEAP_EMBED));
    assert_memory_equal(added.rows[0], named.rows[0], 3 * 64 * sizeof(float));
    assert_memory_not_equal(added.rows[0], none.rows[0], 3 * 64 * sizeof(float));
    router_rows_free(&added);
    router_rows_free(&named);
    router_rows_free(&none);
    tokenizer_close(tok);
    model_destroy(parent);
}

/* ---- by a pass over the whole model ---- */

typedef struct streams {
    float last[3][64], mean[3][64]; /* by layer */
} streams;

static void observe(void *context, int layer, int pass, const void *x, int64_t N) {
    streams *s = context;
    const float *values = x; /* float32 on the CPU */
    (void)pass;
    if (layer >= 3) return;
    for (int i = 0; i < 64; i++) {
        double sum = 0;
        for (int64_t n = 0; n < N; n++) sum += (double)values[n * 64 + i];
        s->mean[layer][i] = (float)(sum / (double)N);
        s->last[layer][i] = values[(N - 1) * 64 + i];
    }
}

static void add_streams(model *m, char *const *texts, int count, double sign, bool average, double sums[3][64]) {
    pass *p;
    streams s;
    int32_t ids[16];
    assert_ok(pass_create(&p, m));
    pass_watch_stream(p, observe, &s);
    for (int i = 0; i < count; i++) {
        const batch b = {.batch = 1, .length = ids_of(texts[i], ids), .input_ids = ids};
        assert_ok(pass_observe(p, &b, 2));
        for (int layer = 0; layer < 3; layer++)
            for (int j = 0; j < 64; j++)
                sums[layer][j] += sign / count * (double)(average ? s.mean[layer][j] : s.last[layer][j]);
    }
    pass_destroy(p);
}

static void hidden(void **state) {
    (void)state;
    const model_config c = qwen2();
    model *parent = random_model(&c);
    const weight_source w = weight_source_of(parent);
    tokenizer *tok = letters_tokenizer(256);
    for (int average = 0; average < 2; average++) {
        router_rows r = rows_for(&c, 3, false);
        double sums[3][3][64] = {0};
        assert_ok(
            router_rows_from_prompts(&r, &w, tok, parent->k, three, average ? PROMPTS_HIDDEN_AVG : PROMPTS_HIDDEN));
        for (int e = 0; e < 3; e++) {
            add_streams(parent, three[e].positive, three[e].positive_count, 1, average, sums[e]);
            add_streams(parent, three[e].negative, three[e].negative_count, -1, average, sums[e]);
            for (int layer = 0; layer < 3; layer++) {
                to_unit(sums[e][layer], 64);
                assert_row(r.rows[layer] + e * 64, sums[e][layer], 64, 1e-5, average ? "hidden_avg" : "hidden");
            }
        }
        router_rows_free(&r);
    }
    tokenizer_close(tok);
    model_destroy(parent);
}

/* What the first layer gets is the embedding of the last token. */
static void hidden_of_the_first_layer_is_the_embedding(void **state) {
    (void)state;
    const model_config c = llama();
    model *parent = random_model(&c);
    const weight_source w = weight_source_of(parent);
    tokenizer *tok = letters_tokenizer(256);
    const expert_prompts one = {.positive = (char **)code, .positive_count = 1};
    router_rows r = rows_for(&c, 1, false);
    double expected[64];
    assert_ok(router_rows_from_prompts(&r, &w, tok, parent->k, &one, PROMPTS_HIDDEN));
    float *table = values_of_role(&w, ROLE_TOK_EMB, -1, -1);
    for (int i = 0; i < 64; i++) expected[i] = (double)table[('n' - 'a' + 1) * 64 + i];
    to_unit(expected, 64);
    assert_row(r.rows[0], expected, 64, 1e-6, "layer 0");
    free(table);
    router_rows_free(&r);
    tokenizer_close(tok);
    model_destroy(parent);
}

static void prompts_that_cannot_be(void **state) {
    (void)state;
    static char *const foreign[] = {(char *)"\xc3\xa9"};
    const model_config c = llama();
    model *parent = random_model(&c);
    const weight_source w = weight_source_of(parent);
    tokenizer *tok = letters_tokenizer(256);
    expert_prompts wrong[3];
    router_rows r = rows_for(&c, 3, false);
    for (int mode = PROMPTS_HIDDEN; mode <= PROMPTS_CHEAP_EMBED; mode++) {
        memcpy(wrong, three, sizeof wrong);
        wrong[2].positive_count = 0;
        assert_fails(router_rows_from_prompts(&r, &w, tok, parent->k, wrong, (prompt_mode)mode),
                     "expert 2, story: expected at least one prompt");
        wrong[2] = three[2];
        wrong[1].negative = (char **)foreign;
        wrong[1].negative_count = 1;
        assert_fails(router_rows_from_prompts(&r, &w, tok, parent->k, wrong, (prompt_mode)mode),
                     "a prompt has token 195: expected tokens below the model's vocab_size 96");
    }
    router_rows_free(&r);
    tokenizer_close(tok);
    model_destroy(parent);
}

/* ---- random ---- */

static void random_routers(void **state) {
    (void)state;
    const model_config c = llama();
    upcycle_options o = usual_options();
    o.experts = 64, o.shared_gate = true;
    o.layers[0] = o.layers[2] = true;
    router_rows r = router_rows_create(&c, &o), again = router_rows_create(&c, &o);
    router_rows_draw(&r, 0.25, 3);
    router_rows_draw(&again, 0.25, 3);
    assert_null(r.rows[1]);
    const int64_t count = 64 * r.d;
    double squares = 0;
    for (int64_t i = 0; i < count; i++) squares += (double)r.rows[0][i] * (double)r.rows[0][i];
    assert_true(fabs(sqrt(squares / (double)count) - 0.25) < 0.02);
    for (int64_t i = count; i < count + r.d; i++) assert_true(r.rows[0][i] == 0); /* the gate knows nothing */
    assert_memory_equal(r.rows[0], again.rows[0], (size_t)count * sizeof(float));
    assert_memory_not_equal(r.rows[0], r.rows[2], (size_t)count * sizeof(float));
    router_rows_draw(&again, 0.25, 4);
    assert_memory_not_equal(r.rows[0], again.rows[0], (size_t)count * sizeof(float));
    router_rows_free(&r);
    router_rows_free(&again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cheap_embed),
        cmocka_unit_test(bos_by_its_name),
        cmocka_unit_test(hidden),
        cmocka_unit_test(hidden_of_the_first_layer_is_the_embedding),
        cmocka_unit_test(prompts_that_cannot_be),
        cmocka_unit_test(random_routers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
