/* Artifacts that are made by hand, and claim more than a small file can hold. */
#include "test.h"

#include "store/artifact_format.h"

/* What the sections of a file say; those that are NULL are empty. */
typedef struct claim {
    const char *config;
    byte_buffer packed_config; /* instead of it, LZMA of `config_bytes` */
    size_t config_bytes;
    int64_t rows, cols; /* of its one tensor */
    size_t code_bytes;  /* which it says it has */
    unsigned trellis, flags, group, twin;
} claim;

static void add_section(byte_buffer *table, byte_buffer *body, int kind, bool lzma, const void *bytes, size_t count,
                        size_t raw) {
    const size_t offset = HEADER_BYTES + SECTION_COUNT * SECTION_ENTRY_BYTES + body->count;
    buffer_add_number(table, (uint64_t)kind, 4);
    buffer_add_number(table, lzma, 4);
    buffer_add_number(table, offset, 8);
    buffer_add_number(table, count, 8);
    buffer_add_number(table, raw, 8);
    buffer_add(body, bytes, count);
}

static void add_directory(byte_buffer *table, byte_buffer *body, const claim *c) {
    byte_buffer directory = {0};
    buffer_add_number(&directory, 1, 4);
    buffer_add_number(&directory, 1, 2);
    buffer_add(&directory, "w", 1);
    buffer_add_number(&directory, CODING_BINARY, 1);
    buffer_add_number(&directory, 4, 1);
    buffer_add_number(&directory, 2, 1);
    buffer_add_number(&directory, c->trellis, 1);
    buffer_add_number(&directory, c->flags, 1);
    buffer_add_number(&directory, c->group, 4);
    buffer_add_number(&directory, c->twin, 4);
    buffer_add_number(&directory, (uint64_t)c->rows, 8);
    buffer_add_number(&directory, (uint64_t)c->cols, 8);
    buffer_add_number(&directory, c->code_bytes, 8);
    add_section(table, body, SECTION_TENSORS, false, directory.bytes, directory.count, directory.count);
    free(directory.bytes);
}

static byte_buffer make(const claim *c) {
    byte_buffer file = {0}, table = {0}, body = {0}, scales = {0};
    uint8_t *zeros = xcalloc((size_t)c->rows, 2);
    assert_ok(lzma_pack(zeros, 2 * (size_t)c->rows, &scales));
    if (c->config)
        add_section(&table, &body, SECTION_CONFIG, false, c->config, strlen(c->config), strlen(c->config));
    else
        add_section(&table, &body, SECTION_CONFIG, true, c->packed_config.bytes, c->packed_config.count,
                    c->config_bytes);
    add_section(&table, &body, SECTION_TOKENIZER, false, NULL, 0, 0);
    add_directory(&table, &body, c);
    add_section(&table, &body, SECTION_SCALES, true, scales.bytes, scales.count, 2 * (size_t)c->rows);
    add_section(&table, &body, SECTION_HALVES, false, NULL, 0, 0);
    add_section(&table, &body, SECTION_FLOATS, false, NULL, 0, 0);
    add_section(&table, &body, SECTION_CODES, false, "\0\1\0", 3, 3);
    buffer_add(&file, ARTIFACT_MAGIC, 4);
    buffer_add_number(&file, ARTIFACT_VERSION, 4);
    buffer_add_number(&file, HEADER_BYTES + table.count + body.count + CHECKSUM_BYTES, 8);
    buffer_add_number(&file, SECTION_COUNT, 4);
    buffer_add_number(&file, 0, 4);
    buffer_add(&file, table.bytes, table.count);
    buffer_add(&file, body.bytes, body.count);
    buffer_add_number(&file, crc64(0, file.bytes, file.count), CHECKSUM_BYTES);
    free(zeros), free(scales.bytes), free(body.bytes), free(table.bytes);
    return file;
}

static status parse(const claim *c) {
    byte_buffer file = make(c);
    status s = artifact_parse(file.bytes, file.count, "claim.moec", NULL, MODEL_RUN, NULL, NULL, NULL);
    free(file.bytes);
    return s;
}

/* A config of the test's own model, with `context` tokens. */
static char *config_text(const char *context) {
    model_config c = model_config_default();
    c.vocab_size = 96;
    cJSON *model = model_config_to_json(&c);
    char *json = cJSON_PrintUnformatted(model),
         *text = xasprintf("{\"context_tokens\":%s,\"model\":%s}", context, json);
    cJSON_Delete(model);
    cJSON_free(json);
    return text;
}

static void a_context_has_a_token(void **state) {
    (void)state;
    const char *const bad[] = {"0", "-1", "0.5", "1e300", "\"8\"", "null"};
    claim c = {.rows = 8, .cols = 8, .code_bytes = 3};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = config_text(bad[i]);
        c.config = text;
        assert_fails(parse(&c), "claim.moec: section config: context_tokens: expected at least one token");
        free(text);
    }
    char *text = config_text("8");
    c.config = text;
    assert_ok(parse(&c));
    free(text);
}

/* Rows of zeros have no codes: without a bound they cost a file nothing. */
static void weights_are_bounded_by_the_file(void **state) {
    (void)state;
    char *text = config_text("8");
    claim c = {.config = text, .rows = 1000, .cols = 4000000, .code_bytes = 3};
    assert_fails(parse(&c), "claim.moec: tensor w: expected at most ");
    c.cols = 1000; /* a thousand a byte */
    assert_fails(parse(&c), "claim.moec: tensor w: expected at most ");
    c.cols = 100;
    assert_ok(parse(&c));
    c.code_bytes = 100000; /* as many bytes of codes as weights: nobody writes that */
    assert_fails(parse(&c), "claim.moec: tensor w: expected 3 to under 100000 bytes of codes");
    free(text);
}

static void what_no_grid_has_is_refused(void **state) {
    (void)state;
    char *text = config_text("8");
    const claim good = {.config = text, .rows = 8, .cols = 8, .code_bytes = 3};
    claim c = good;
    c.trellis = 5;
    assert_fails(parse(&c), "claim.moec: tensor w: found a trellis of 5 states");
    c = good, c.flags = 16;
    assert_fails(parse(&c),
                 "claim.moec: tensor w: found a trellis of 0 states, groups of 0 columns of 8, a grid with flags 16");
    c = good, c.flags = 8; /* nothing of a correction follows */
    assert_fails(parse(&c), "claim.moec: ");
    c = good, c.group = 3;
    assert_fails(parse(&c), "claim.moec: tensor w: found a trellis of 0 states, groups of 3 columns of 8");
    c = good, c.twin = 1; /* before the first tensor */
    assert_fails(parse(&c), "claim.moec: tensor w: expected a twin of its shape, found 1 tensors before it none");
    c = good, c.group = 4; /* more scales than there are */
    assert_fails(parse(&c), "claim.moec: section scales: expected 32 bytes for its tensors, found 16");
    c = good, c.trellis = 4;
    assert_ok(parse(&c));
    free(text);
}

/* Frozen weights cost a file nothing and a reader d³ operations a block. */
static void frozen_weights_are_bounded_by_the_file(void **state) {
    (void)state;
    model_config config = model_config_default();
    config.random_up.layers[0] = true;
    config.model_dim = 4096;
    const directory d = {.elements = (uint64_t)model_budget_count(&config).total};
    const container small = {.where = "claim.moec", .file_bytes = 5000}, large = {.where = "x", .file_bytes = 4 << 20};
    assert_fails(directory_check_size(&d, &small, &config), "claim.moec: random_up_layers: expected frozen weights");
    config = model_config_default(); /* published ones */
    for (int i = 0; i < 5; i++) config.random_up.layers[i] = true;
    config.random_up.experts = 2;
    const directory published = {.elements = (uint64_t)model_budget_count(&config).total};
    assert_ok(directory_check_size(&published, &large, &config));
}

static void a_config_is_bounded(void **state) {
    (void)state;
    claim c = {.rows = 8, .cols = 8, .code_bytes = 3, .config_bytes = 2 << 20};
    char *spaces = xmalloc(c.config_bytes);
    memset(spaces, ' ', c.config_bytes);
    assert_ok(lzma_pack(spaces, c.config_bytes, &c.packed_config));
    assert_fails(parse(&c), "claim.moec: section config: expected at most 1048576 bytes, found 2097152");
    free(c.packed_config.bytes);
    free(spaces);
}

/* What no reader would take is not written. */
static void a_model_of_zeros_is_refused(void **state) {
    char *path = path_join(*state, "zeros.moec");
    model_config config = model_config_default();
    config.vocab_size = 65536, config.num_layers = 2, config.model_dim = 32, config.mlp.mult = 2;
    config.attention.heads = 2, config.attention.kv_heads = 1, config.rotary.dims = 8;
    config.residual.parallel_start_layer = 2, config.loop.extra_passes = 0, config.stem.bigram_buckets = 0;
    model *m;
    assert_ok(model_create(&m, &config, kernels_for(DTYPE_F32), MODEL_VALUES));
    for (int i = 0; i < m->param_count; i++) {
        float *zeros = xcalloc((size_t)param_count(m->params[i]), sizeof *zeros);
        tensor_write(m->k, &m->params[i]->value, zeros);
        free(zeros);
    }
    pack_options o = pack_options_default();
    o.quant.gptq = false;
    o.quant.keep_float_elements = INT64_MAX; /* floats that are all zero cost nothing */
    o.context_tokens = 8;
    assert_fails(artifact_write(path, m, NULL, NULL, &o, NULL), "expected at most 256 weights a byte of the artifact");
    assert_false(path_exists(path));
    model_destroy(m);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_has_a_token),
        cmocka_unit_test(weights_are_bounded_by_the_file),
        cmocka_unit_test(what_no_grid_has_is_refused),
        cmocka_unit_test(a_config_is_bounded),
        cmocka_unit_test(frozen_weights_are_bounded_by_the_file),
        in_scratch(a_model_of_zeros_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
