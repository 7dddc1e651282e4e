/* A parity case that cannot tell whether moec is right must not be taken as agreement. */
#include "test.h"

#include "base/json.h"
#include "eval/parity.h"
#include "formats/safetensors.h"
#include <limits.h>
#include <math.h>

static const char original[] = "tests/parity/looped";

/* A copy of the shipped case, as *state. */
static int create(void **state) {
    static const char *const names[] = {"config.json", "model.safetensors", "io.safetensors", "grads.safetensors"};
    char *folder = scratch_create();
    *state = folder;
    for (int i = 0; i < 4; i++) {
        char *from = path_join(original, names[i]), *to = path_join(folder, names[i]);
        uint8_t *bytes;
        size_t count;
        assert_ok(file_read(from, FILE_ANY_SIZE, &bytes, &count));
        assert_ok(file_write_whole(to, bytes, count));
        free(bytes);
        free(to);
        free(from);
    }
    return 0;
}

static void assert_refused(const char *folder, const char *part) {
    parity_report report;
    assert_fails(parity_run(folder, kernels_for(DTYPE_F32), &report), part);
    parity_report_free(&report);
}

/* Put `value` (four bytes) into element `at` of a tensor, check that the case is refused, and put the old one back. */
static void change(const char *folder, const char *file, const char *tensor, int64_t at, const void *value,
                   const char *part) {
    char *path = path_join(folder, file);
    uint8_t *bytes, kept[4];
    size_t count;
    safetensors s;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(safetensors_parse(&s, path, bytes, count));
    const safetensor *t = safetensors_find(&s, tensor);
    assert_non_null(t);
    if (at < 0) at += (int64_t)(t->bytes / 4);
    uint8_t *place = bytes + ((const uint8_t *)t->data - bytes) + 4 * at;
    memcpy(kept, place, 4);
    memcpy(place, value, 4);
    assert_ok(file_write_whole(path, bytes, count));
    assert_refused(folder, part);
    assert_refused(folder, file);
    memcpy(place, kept, 4);
    assert_ok(file_write_whole(path, bytes, count));
    safetensors_close(&s);
    free(bytes);
    free(path);
}

static void references_are_finite(void **state) {
    const char *folder = *state;
    const float bad[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        change(folder, "io.safetensors", "logits", 0, &bad[i],
               "tensor logits: expected finite numbers to compare with");
        change(folder, "io.safetensors", "logits", -1, &bad[i], "tensor logits: expected finite numbers");
        change(folder, "io.safetensors", "ce", 0, &bad[i], "tensor ce: expected finite numbers");
        change(folder, "io.safetensors", "loss", 0, &bad[i], "tensor loss: expected finite numbers");
        change(folder, "grads.safetensors", "tok_emb.weight", 5, &bad[i], "tensor tok_emb.weight: expected finite");
    }
}

/* One logit that is not a number is no agreement, wherever the finite ones behind it lie. */
static void our_own_numbers_are_finite(void **state) {
    char *path = path_join(*state, "model.safetensors");
    safetensors s;
    parity_report report;
    uint8_t *bytes;
    size_t count;
    const float bad = NAN;
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(safetensors_parse(&s, path, bytes, count));
    /* Of the first token's embedding: some rows of logits are spoilt, and of each only a few columns are not. */
    memcpy(bytes + ((const uint8_t *)safetensors_find(&s, "tok_emb.weight")->data - bytes), &bad, sizeof bad);
    assert_ok(file_write_whole(path, bytes, count));
    status outcome = parity_run(*state, kernels_for(DTYPE_F32), &report);
    assert_true(outcome != STATUS_OK || !parity_holds(&report));
    parity_report_free(&report);
    safetensors_close(&s);
    free(bytes), free(path);
}

static void ids_are_within_the_vocabulary(void **state) {
    const char *folder = *state;
    const int32_t bad[] = {-1, INT32_MIN, 40, INT32_MAX};
    for (int i = 0; i < 4; i++) {
        char *found = xasprintf("expected ids from 0 to 39, found %d at token 25", bad[i]);
        change(folder, "io.safetensors", "target_ids", -1, &bad[i], found);
        change(folder, "io.safetensors", "input_ids", -1, &bad[i], found);
        free(found);
    }
}

static void every_gradient_is_there(void **state) {
    char *path = path_join(*state, "grads.safetensors");
    safetensors whole;
    assert_ok(safetensors_open(&whole, path));
    const int last = whole.count - 1;
    char *name = xstrdup(whole.tensors[last].name);
    assert_ok(safetensors_write(path, whole.tensors, last, NULL));
    safetensors_close(&whole);
    assert_refused(*state, "grads.safetensors: expected a gradient of ");
    assert_refused(*state, name);
    assert_ok(safetensors_write(path, NULL, 0, NULL));
    assert_refused(*state, "grads.safetensors: expected a gradient of ");
    free(name), free(path);
}

static void sizes_do_not_overflow(void **state) {
    const double bad[][2] = {{0x1p53, 0x1p53}, {0x1p40, 0x1p24}, {4097, 4096}, {0, 13}, {2, -13}};
    char *path = path_join(*state, "config.json");
    cJSON *config;
    assert_ok(json_read_file(path, &config));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cJSON_SetNumberValue(cJSON_GetObjectItem(config, "batch"), bad[i][0]);
        cJSON_SetNumberValue(cJSON_GetObjectItem(config, "seq"), bad[i][1]);
        assert_ok(json_write_file(path, config));
        assert_refused(*state, "batch and seq: expected at least 1 × 1 and at most 16777216 tokens");
    }
    cJSON_SetNumberValue(cJSON_GetObjectItem(config, "batch"), 2); /* a model that the file of weights cannot hold */
    cJSON_SetNumberValue(cJSON_GetObjectItem(config, "seq"), 13);
    cJSON_SetNumberValue(cJSON_GetObjectItem(config, "vocab_size"), 65536);
    assert_ok(json_write_file(path, config));
    assert_refused(*state, "weights for its config, found a file of");
    cJSON_Delete(config);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(references_are_finite, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(our_own_numbers_are_finite, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(ids_are_within_the_vocabulary, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(every_gradient_is_there, create, scratch_teardown),
        cmocka_unit_test_setup_teardown(sizes_do_not_overflow, create, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
