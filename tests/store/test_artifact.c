/* The artifact: what comes back, what a budget does, and every kind of damaged file. */
#include "packed.h"

#include "quant/quantize.h"
#include "store/artifact_format.h"
#include "text/sentencepiece.h"
#include <math.h>

/* √(Σ (a − b)² / Σ a²) of one parameter */
static double difference(const param *a, const param *b, const kernels *k) {
    const int64_t count = param_count(a);
    float *x = xmalloc((size_t)count * sizeof *x), *y = xmalloc((size_t)count * sizeof *y);
    tensor_read(k, &a->value, x);
    tensor_read(k, &b->value, y);
    const double error = hessian_error(x, y, NULL, 1, count), size = hessian_error(x, NULL, NULL, 1, count);
    free(x);
    free(y);
    return sqrt(error / size);
}

static void a_model_comes_back(void **state) {
    fixture *f = *state;
    for (int bits = 4; bits <= 8; bits += 2) {
        pack_options o = tiny_options();
        pack_report r;
        model *back;
        int context = 0;
        o.quant.bits = bits;
        assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, &r));
        assert_true(artifact_is(f->path));
        assert_ok(artifact_read(f->path, f->m->k, MODEL_VALUES, &back, NULL, &context));
        assert_int_equal(context, LENGTH);
        assert_int_equal(back->param_count, f->m->param_count);
        for (int i = 0; i < back->param_count; i++) {
            const param *p = f->m->params[i];
            const bool kept = !p->is_matrix || param_count(p) <= o.quant.keep_float_elements;
            const double d = difference(p, back->params[i], f->m->k);
            /* rounding alone gives about 1.9 / 2^bits; GPTQ also moves weights to make up for others */
            assert_true(d < (kept ? 0x1p-11 : 4.0 / (1 << bits)));
        }
        int64_t bytes = r.config_bytes + r.tokenizer_bytes + r.weight_bytes + HEADER_BYTES + CHECKSUM_BYTES +
                        SECTION_COUNT * SECTION_ENTRY_BYTES;
        assert_int_equal(r.artifact_bytes, bytes);
        assert_int_equal(r.raw_bytes, 4 * model_param_total(f->m));
        model_destroy(back);
    }
}

static float *logits_of(model *m, const batch *b) {
    float *logits = xmalloc(BATCH * LENGTH * 96 * sizeof *logits);
    pass *p;
    assert_ok(pass_create(&p, m));
    assert_ok(pass_logits(p, b, logits));
    pass_destroy(p);
    return logits;
}

/* Σ (x − y)² / Σ x² */
static double relative_error(const float *x, const float *y) {
    double error = 0, size = 0;
    for (int i = 0; i < BATCH * LENGTH * 96; i++) {
        error += (double)(x[i] - y[i]) * (double)(x[i] - y[i]);
        size += (double)x[i] * (double)x[i];
    }
    return error / size;
}

/* The read model computes what the packed values compute: its logits are near the original's; and run from the codes as
 * they lie it computes the same as from float32 values. */
static void logits_come_back(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    model *values, *codes, *packed, *four;
    int32_t ids[BATCH * LENGTH];
    batch b = tiny_batch(ids, 99);
    o.quant.bits = o.quant.embed_bits = 8;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_ok(artifact_read(f->path, f->m->k, MODEL_VALUES, &values, NULL, NULL));
    assert_ok(artifact_read(f->path, f->m->k, MODEL_RUN, &codes, NULL, NULL));
    assert_true(values->config.loop.on && values->config.moe.layers[1]);
    const param *expert = model_find(codes, "blocks.1.mlp.experts_fc.1.weight");
    assert_true(expert->matrix.quantized && !expert->matrix.plain && !expert->value.data && !expert->grad);
    float *x = logits_of(f->m, &b), *y = logits_of(values, &b), *z = logits_of(codes, &b);
    assert_true(relative_error(x, y) < 0.001);
    assert_true(relative_error(y, z) < 1e-9);
    /* In integers, with inputs of 16 bits, it is next to the same; with 4 bits for blocks it is not. */
    assert_ok(artifact_read(f->path, f->m->k, MODEL_RUN_STORED, &packed, NULL, NULL));
    assert_ok(artifact_read(f->path, f->m->k, MODEL_RUN_4, &four, NULL, NULL));
    const weight *in_8 = &model_find(packed, expert->name)->matrix, *in_4 = &model_find(four, expert->name)->matrix;
    assert_true(in_8->packed && in_4->packed && in_8->packed_bytes > in_4->packed_bytes);
    float *u = logits_of(packed, &b), *v = logits_of(four, &b);
    assert_true(relative_error(y, u) < 1e-6);
    assert_true(relative_error(y, v) > 1e-6 && relative_error(y, v) < 0.3);
    model_destroy(packed), model_destroy(four);
    free(u), free(v);
    float *first = xmalloc(tensor_bytes(&expert->value)), *second = xmalloc(tensor_bytes(&expert->value));
    assert_ok(param_get(expert, f->m->k, first));
    assert_ok(param_get(model_find(values, expert->name), f->m->k, second));
    assert_memory_equal(first, second, tensor_bytes(&expert->value));
    model_destroy(values);
    model_destroy(codes);
    free(x), free(y), free(z), free(first), free(second);
}

static void gptq_has_the_smaller_error(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    pack_report gptq, rounded;
    o.quant.bits = o.quant.embed_bits = 4;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, &gptq));
    o.quant.gptq = false;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, &rounded));
    for (int i = 0; i < COMPONENTS; i++) {
        if (gptq.components[i].weight == 0 || i == COMPONENT_BIGRAM) continue; /* floats, and a table without inputs */
        assert_true(gptq.components[i].error < 0.5 * rounded.components[i].error);
    }
    o.quant.gptq = true;
    assert_fails(artifact_write(f->path, f->m, NULL, NULL, &o, NULL), "Hessian");
}

/* How many inputs a weight's product saw; −1: it has no Hessian. */
static int64_t rows_of(fixture *f, hessians *h, const char *name) {
    const float *hessian;
    int64_t rows;
    assert_ok(hessians_of(h, model_find(f->m, name), &hessian, &rows));
    return hessian ? rows : -1;
}

static void experts_have_hessians_of_their_own_tokens(void **state) {
    fixture *f = *state;
    const int64_t dense = rows_of(f, f->h, "blocks.0.mlp.fc.weight");
    assert_int_equal(dense, 4 * BATCH * LENGTH);
    assert_int_equal(rows_of(f, f->h, "blocks.1.mlp.experts_fc.0.weight") +
                         rows_of(f, f->h, "blocks.1.mlp.experts_fc.1.weight"),
                     2 * dense); /* layer 1 runs twice, each token goes to one expert */
    assert_int_equal(rows_of(f, f->h, "tok_emb.weight"), dense);
    assert_int_equal(rows_of(f, f->h, "bigram_emb.weight"), -1);
}

/* Where only one layer's fit the memory, every layer is collected in its turn, and nothing changes. Queries, keys and values
 * have one between them. */
static void hessians_are_streamed(void **state) {
    fixture *f = *state;
    hessians *streamed = calibrated(f->p, 1);
    for (int i = 0; i < f->m->param_count; i++) {
        const param *p = f->m->params[i];
        const float *whole, *part;
        if (!p->is_matrix) continue;
        assert_ok(hessians_of(f->h, p, &whole, NULL));
        assert_ok(hessians_of(streamed, p, &part, NULL));
        assert_int_equal(whole == NULL, part == NULL);
        const size_t count = (size_t)(p->matrix.cols * p->matrix.cols);
        if (whole) assert_memory_equal(whole, part, count * sizeof *whole);
    }
    const float *q, *v;
    assert_ok(hessians_of(streamed, model_find(f->m, "blocks.2.attn.c_q.weight"), &q, NULL));
    assert_ok(hessians_of(streamed, model_find(f->m, "blocks.2.attn.c_v.weight"), &v, NULL));
    assert_ptr_equal(q, v);
    hessians_destroy(streamed);
}

static void the_same_model_gives_the_same_bytes(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    uint8_t *first, *second;
    size_t first_count, second_count;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_ok(file_read(f->path, FILE_ANY_SIZE, &first, &first_count));
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_ok(file_read(f->path, FILE_ANY_SIZE, &second, &second_count));
    assert_int_equal(first_count, second_count);
    assert_memory_equal(first, second, first_count);
    free(first);
    free(second);
}

static void budgets_are_kept(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    pack_report r;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, &r));
    assert_ok(folder_remove(f->folder));
    assert_ok(folder_create(f->folder));
    o.budget_bytes = r.artifact_bytes * 9 / 10;
    assert_fails(artifact_write(f->path, f->m, NULL, f->h, &o, NULL), "budget");
    assert_false(path_exists(f->path));
}

static void bad_weights_and_options_are_refused(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    o.quant.bits = 1;
    assert_fails(artifact_write(f->path, f->m, NULL, f->h, &o, NULL), "bits");
    const double steps[] = {-0.1, 1.5, NAN};
    for (int i = 0; i < 3; i++) {
        o = tiny_options();
        o.quant.least_step = steps[i];
        assert_fails(artifact_write(f->path, f->m, NULL, f->h, &o, NULL), "step: expected a number from 0 to 1.2");
        o = tiny_options();
        o.quant.embed_least_step = steps[i];
        assert_fails(artifact_write(f->path, f->m, NULL, f->h, &o, NULL),
                     "embed_step: expected a number from 0 to 1.2");
    }
    o = tiny_options();
    o.context_tokens = 0;
    assert_fails(artifact_write(f->path, f->m, NULL, f->h, &o, NULL), "context_tokens: expected at least one token");
    o = tiny_options();
    for (int kind = 0; kind < 2; kind++) {
        const char *name = kind ? "blocks.2.resid_mix" : "blocks.0.attn.c_k.weight";
        param *p = model_find(f->m, name);
        float *values = xmalloc(tensor_bytes(&p->value));
        tensor_read(f->m->k, &p->value, values);
        const float kept = values[3];
        values[3] = NAN;
        tensor_write(f->m->k, &p->value, values);
        assert_fails(artifact_write(f->path, f->m, NULL, f->h, &o, NULL), name);
        values[3] = kept;
        tensor_write(f->m->k, &p->value, values);
        free(values);
    }
}

static void weights_of_any_size_come_back(void **state) {
    fixture *f = *state; /* beyond float16, and far below its smallest */
    const kernels *k = f->m->k;
    const char *names[] = {"blocks.0.attn.c_q.weight", "blocks.0.attn_scale", "blocks.1.mlp.router.weight"};
    const float factors[] = {1e-20f, 1e8f, 1e-12f};
    pack_options o = tiny_options();
    model *back;
    for (int i = 0; i < 3; i++) {
        param *p = model_find(f->m, names[i]);
        float *values = xmalloc(tensor_bytes(&p->value));
        tensor_read(k, &p->value, values);
        for (int64_t n = 0; n < param_count(p); n++) values[n] *= factors[i];
        tensor_write(k, &p->value, values);
        free(values);
    }
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_ok(artifact_read(f->path, k, MODEL_VALUES, &back, NULL, NULL));
    for (int i = 0; i < 3; i++)
        assert_true(difference(model_find(f->m, names[i]), model_find(back, names[i]), k) < (i ? 1e-3 : 0.07));
    model_destroy(back);
}

/* The header, the sections' table and the small sections byte by byte, then one byte in 13. */
static size_t next_place(size_t at) {
    return at < 1500 ? at + 1 : at + 13;
}

static void every_truncation_is_an_error(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    uint8_t *bytes;
    size_t count;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_ok(file_read(f->path, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(artifact_parse(bytes, count, "whole", NULL, MODEL_RUN, NULL, NULL, NULL));
    for (size_t left = 0; left < count; left = next_place(left)) {
        uint8_t *part = malloc(left + 1); /* its own block, so that a sanitizer sees a read beyond it */
        memcpy(part, bytes, left);
        part = realloc(part, left ? left : 1);
        assert_fails(artifact_parse(part, left, "part.moec", NULL, MODEL_RUN, NULL, NULL, NULL), "part.moec");
        free(part);
    }
    free(bytes);
}

static void every_flipped_bit_is_an_error(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    uint8_t *bytes;
    size_t count;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_ok(file_read(f->path, FILE_ANY_SIZE, &bytes, &count));
    for (size_t at = 0; at < count; at = next_place(at)) {
        bytes[at] ^= (uint8_t)(1 << at % 8);
        assert_fails(artifact_parse(bytes, count, "flip.moec", NULL, MODEL_RUN, NULL, NULL, NULL), "flip.moec");
        bytes[at] ^= (uint8_t)(1 << at % 8);
    }
    bytes[4] = ARTIFACT_VERSION + 1;
    assert_fails(artifact_parse(bytes, count, "new.moec", NULL, MODEL_RUN, NULL, NULL, NULL), "newer");
    free(bytes);
}

/* With the right checksum, so that the checks behind it are reached: it may be read or refused, never worse. */
static void damage_behind_the_checksum_is_survived(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    uint8_t *bytes;
    size_t count;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_ok(file_read(f->path, FILE_ANY_SIZE, &bytes, &count));
    rng r = rng_seed(1);
    int refused = 0;
    for (int trial = 0; trial < 800; trial++) {
        /* the header and the table first, then anywhere */
        const size_t at = trial < 8 * 248 / 4 ? (size_t)trial / 2 : rng_below(&r, count);
        const uint8_t kept = bytes[at];
        bytes[at] = (uint8_t)rng_next(&r);
        model *m;
        if (artifact_decode(bytes, count, "x", false, f->m->k, trial % 2 ? MODEL_RUN : MODEL_VALUES, &m, NULL, NULL) ==
            STATUS_OK)
            model_destroy(m);
        else
            refused++;
        bytes[at] = kept;
    }
    assert_true(refused > 200);
    free(bytes);
}

static bool next_line(void *context, const char **text, size_t *bytes) {
    static const char *const lines[] = {"the quick brown fox\n", "jumps over the lazy dog\n", "again and again\n"};
    int *left = context;
    if (*left == 0) return false;
    *text = lines[--*left % 3];
    *bytes = strlen(*text);
    return true;
}

static void the_tokenizer_comes_back(void **state) {
    fixture *f = *state;
    int lines = 60;
    tokenizer *tok, *back_tok;
    model *big, *back;
    assert_ok(sentencepiece_train(&tok, 300, next_line, &lines, 1));
    pack_options o = tiny_options();
    o.quant.gptq = false;
    assert_fails(artifact_write(f->path, f->m, tok, NULL, &o, NULL), "tokenizer"); /* 300 pieces, 96 embeddings */
    model_config c = tiny_config();
    c.vocab_size = tokenizer_vocab_size(tok);
    assert_ok(model_create(&big, &c, f->m->k, MODEL_VALUES));
    assert_ok(model_init(big, 1));
    assert_ok(artifact_write(f->path, big, tok, NULL, &o, NULL));
    assert_ok(artifact_read(f->path, f->m->k, MODEL_VALUES, &back, &back_tok, NULL));
    const void *bytes, *back_bytes;
    size_t count, back_count;
    tokenizer_bytes(tok, &bytes, &count);
    tokenizer_bytes(back_tok, &back_bytes, &back_count);
    assert_int_equal(count, back_count);
    assert_memory_equal(bytes, back_bytes, count);
    tokenizer_close(back_tok);
    model_destroy(back);

    /* Without a device there is no model, but there is a tokenizer. */
    uint8_t *file;
    assert_ok(file_read(f->path, FILE_ANY_SIZE, &file, &count));
    assert_ok(artifact_parse(file, count, "x.moec", NULL, MODEL_RUN, &back, &back_tok, NULL));
    assert_null(back);
    assert_int_equal(tokenizer_vocab_size(back_tok), c.vocab_size);
    free(file);
    tokenizer_close(tok);
    tokenizer_close(back_tok);
    model_destroy(big);
}

static void other_files_are_named(void **state) {
    fixture *f = *state;
    model *m;
    assert_fails(artifact_read(f->path, f->m->k, MODEL_VALUES, &m, NULL, NULL), f->path);
    assert_false(artifact_is(f->path));
    assert_ok(file_write_whole(f->path, "GGUF, not ours", 14));
    assert_fails(artifact_read(f->path, f->m->k, MODEL_VALUES, &m, NULL, NULL), "magic");
    assert_false(artifact_is(f->path));
    tokenizer *tok;
    pack_options o = tiny_options();
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_fails(artifact_read(f->path, f->m->k, MODEL_VALUES, &m, &tok, NULL), "tokenizer");
    assert_null(m);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_model_comes_back),
        CASE(logits_come_back),
        CASE(gptq_has_the_smaller_error),
        CASE(experts_have_hessians_of_their_own_tokens),
        CASE(hessians_are_streamed),
        CASE(the_same_model_gives_the_same_bytes),
        CASE(budgets_are_kept),
        CASE(bad_weights_and_options_are_refused),
        CASE(weights_of_any_size_come_back),
        CASE(every_truncation_is_an_error),
        CASE(every_flipped_bit_is_an_error),
        CASE(damage_behind_the_checksum_is_survived),
        CASE(the_tokenizer_comes_back),
        CASE(other_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
