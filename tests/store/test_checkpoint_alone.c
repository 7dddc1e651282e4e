/* A checkpoint of weights that pass by: what comes back, what a damaged one says, and that a failure leaves nothing. */
#include "foreign.h"
#include "letters_tokenizer.h"

#include "base/json.h"
#include "base/progress.h"
#include "formats/storage.h"
#include "store/checkpoint_alone.h"
#include "store/open.h"
#include "store/source.h"
#include <signal.h>
#include <sys/stat.h>

static float *values_of(const weight_source *w, const param_spec *spec) {
    float *values = xmalloc((size_t)(spec_rows(spec) * spec_cols(spec)) * sizeof *values);
    assert_ok(w->read(w->context, spec, 0, spec_rows(spec), values));
    return values;
}

/* What a matrix is after it was stored so. */
static void round_to(storage type, float *values, int64_t count) {
    uint8_t *bytes = xmalloc(storage_bytes(type, count));
    storage_write(type, values, count, bytes);
    storage_read(type, bytes, count, values);
    free(bytes);
}

static void assert_same_weights(const weight_source *found, const weight_source *expected, storage type) {
    int count;
    param_spec *specs = stored_specs(&expected->config, &count);
    for (int i = 0; i < count; i++) {
        const int64_t size = spec_rows(&specs[i]) * spec_cols(&specs[i]);
        float *a = values_of(found, &specs[i]), *b = values_of(expected, &specs[i]);
        if (role_is_matrix(specs[i].role)) round_to(type, b, size);
        assert_memory_equal(a, b, (size_t)size * sizeof *a);
        free(a);
        free(b);
    }
    free(specs);
}

static status write_alone(const char *path, const model *m, storage type, const tokenizer *tok, int64_t *bytes) {
    const weight_source w = weight_source_of(m);
    cJSON *origin = cJSON_CreateObject();
    cJSON_AddStringToObject(origin, "parent", "a test");
    return checkpoint_write_alone(path, &w, type, tok, 77, origin, bytes);
}

/* ---- what comes back ---- */

static void assert_opens_as_source(const char *path, const model *m, storage type, bool with_tokenizer) {
    model_source *s;
    const weight_source w = weight_source_of(m);
    assert_ok(model_source_open(&s, path, "chosen"));
    assert_string_equal(model_source_kind(s), "checkpoint");
    assert_string_equal(model_source_path(s), path);
    assert_int_equal(model_source_context(s), 77);
    assert_same_weights(model_source_weights(s), &w, type);
    assert_true((model_source_tokenizer(s) != NULL) == with_tokenizer);
    if (with_tokenizer) assert_int_equal(tokenizer_bos(model_source_tokenizer(s)), 0);
    model_source_close(s);
}

static void assert_opens_as_model(const char *path, model *m) {
    static float expected[LENGTH * VOCAB], found[LENGTH * VOCAB];
    model *back;
    tokenizer *tok;
    int context;
    assert_ok(open_model(path, m->k, "chosen", MODEL_RUN, &back, &tok, &context));
    assert_int_equal(context, 77);
    logits_of(m, expected);
    logits_of(back, found);
    assert_true(difference(expected, found) == 0);
    model_destroy(back);
    tokenizer_close(tok);
}

static void weights_come_back(void **state) {
    static const storage types[] = {STORAGE_F32, STORAGE_F16, STORAGE_BF16};
    tokenizer *tok = letters_tokenizer(VOCAB);
    for (int i = 0; i < FAMILIES; i++) {
        const model_config c = families[i].make();
        model *m = random_model(&c);
        for (int t = 0; t < 3; t++) {
            char *path = xasprintf("%s/%s-%s", (char *)*state, families[i].family, storage_name(types[t]));
            char *weights = path_join(path, "model.safetensors");
            int64_t bytes = 0;
            struct stat size;
            assert_ok(write_alone(path, m, types[t], tok, &bytes));
            assert_opens_as_source(path, m, types[t], true);
            if (types[t] == STORAGE_F32) assert_opens_as_model(path, m);
            assert_int_equal(stat(weights, &size), 0);
            assert_true(bytes < size.st_size && bytes > size.st_size - (16 << 10)); /* the header is not counted */
            free(weights);
            free(path);
        }
        model_destroy(m);
    }
    tokenizer_close(tok);
}

static void the_manifest_tells_where_it_comes_from(void **state) {
    char *path = path_join(*state, "x"), *manifest = path_join(path, "checkpoint.json");
    const model_config c = llama();
    model *m = random_model(&c);
    cJSON *json;
    assert_ok(write_alone(path, m, STORAGE_F32, NULL, NULL));
    assert_opens_as_source(path, m, STORAGE_F32, false);
    assert_ok(json_read_file(manifest, &json));
    const cJSON *origin = cJSON_GetObjectItem(json, "origin");
    assert_string_equal(cJSON_GetObjectItem(origin, "parent")->valuestring, "a test");
    cJSON_Delete(json);
    model_destroy(m);
    free(manifest);
    free(path);
}

/* ---- damage ---- */

static void assert_refused(const char *path, const char *part) {
    model_source *s;
    assert_fails(model_source_open(&s, path, "chosen"), part);
}

/* One byte changed, the last ones cut off, and the file away. The very last one of JSON is an end of line. */
static void damage(const char *path, const char *name) {
    char *file = path_join(path, name);
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read(file, FILE_ANY_SIZE, &bytes, &count));
    const size_t places[] = {0, count / 2, count - 2};
    for (int i = 0; i < 3; i++) {
        bytes[places[i]] ^= 0x20;
        assert_ok(file_write_whole(file, bytes, count));
        assert_refused(path, name);
        bytes[places[i]] ^= 0x20;
    }
    assert_ok(file_write_whole(file, bytes, count - 2));
    assert_refused(path, name);
    assert_int_equal(remove(file), 0);
    assert_refused(path, strcmp(name, "checkpoint.json") == 0 ? path : name);
    assert_ok(file_write_whole(file, bytes, count));
    free(bytes);
    free(file);
}

static void damaged_files_are_named(void **state) {
    char *path = path_join(*state, "x");
    tokenizer *tok = letters_tokenizer(VOCAB);
    const model_config c = qwen3_moe();
    model *m = random_model(&c);
    assert_ok(write_alone(path, m, STORAGE_BF16, tok, NULL));
    damage(path, "config.json");
    damage(path, "model.safetensors");
    damage(path, "tokenizer.model");
    damage(path, "checkpoint.json");
    assert_opens_as_source(path, m, STORAGE_BF16, true);
    model_destroy(m);
    tokenizer_close(tok);
    free(path);
}

/* ---- what fails leaves nothing ---- */

static int entries(const char *folder) {
    char **names;
    size_t count;
    assert_ok(folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
    return (int)count;
}

static void what_is_there_stays(void **state) {
    char *path = path_join(*state, "x"), *inside = path_join(path, "mine");
    const model_config c = llama();
    model *m = random_model(&c);
    assert_ok(folder_create(path));
    assert_ok(file_write_whole(inside, "1", 1));
    assert_fails(write_alone(path, m, STORAGE_F32, NULL, NULL), path);
    assert_true(path_exists(inside));
    assert_int_equal(entries(*state), 1);
    assert_ok(folder_remove(path));
    assert_ok(file_write_whole(path, "1", 1));
    assert_fails(write_alone(path, m, STORAGE_F32, NULL, NULL), path);
    assert_int_equal(entries(*state), 1);
    char *under = path_join(path, "under"); /* a file cannot hold it */
    assert_fails(write_alone(under, m, STORAGE_F32, NULL, NULL), path);
    assert_int_equal(entries(*state), 1);
    free(under);
    model_destroy(m);
    free(inside);
    free(path);
}

static void types_that_cannot_be(void **state) {
    char *path = path_join(*state, "x");
    const model_config c = llama();
    model *m = random_model(&c);
    assert_fails(write_alone(path, m, STORAGE_Q8_0, NULL, NULL), "type: expected f32, f16 or bf16, found Q8_0");
    assert_int_equal(entries(*state), 0);
    model_destroy(m);
    free(path);
}

/* A source that gives out after some reads: by failing, or because somebody pressed Ctrl-C. */
typedef struct limited {
    weight_source of;
    int left;
    bool interrupted;
} limited;

static status read_limited(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    limited *l = context;
    if (l->left-- == 0) {
        if (!l->interrupted) return fail("the source broke at layer %d", spec->layer);
        raise(SIGINT);
    }
    return l->of.read(l->of.context, spec, first, rows, out);
}

static void a_source_that_breaks(void **state) {
    char *path = path_join(*state, "x");
    const model_config c = mixtral();
    model *m = random_model(&c);
    for (int left = 0; left < 30; left += 7) {
        limited l = {.of = weight_source_of(m), .left = left};
        const weight_source w = {.config = c, .read = read_limited, .context = &l};
        assert_fails(checkpoint_write_alone(path, &w, STORAGE_F32, NULL, 77, NULL, NULL), "the source broke at layer");
        assert_int_equal(entries(*state), 0);
    }
    model_destroy(m);
    free(path);
}

/* The last test of this program: it stays interrupted. */
static void interrupted(void **state) {
    char *path = path_join(*state, "x");
    const model_config c = mixtral();
    model *m = random_model(&c);
    limited l = {.of = weight_source_of(m), .left = 9, .interrupted = true};
    const weight_source w = {.config = c, .read = read_limited, .context = &l};
    interrupt_catch();
    assert_int_equal(checkpoint_write_alone(path, &w, STORAGE_F32, NULL, 77, cJSON_CreateObject(), NULL),
                     STATUS_INTERRUPTED);
    assert_int_equal(entries(*state), 0);
    model_destroy(m);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(weights_come_back),
        in_scratch(the_manifest_tells_where_it_comes_from),
        in_scratch(damaged_files_are_named),
        in_scratch(what_is_there_stays),
        in_scratch(types_that_cannot_be),
        in_scratch(a_source_that_breaks),
        in_scratch(interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
