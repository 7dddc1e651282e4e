/* Names of experts go into other people's formats and come back; what is none is refused. */
#include "written.h"

#include "base/json.h"

static model *named_model(model_config c) {
    static const char *const names[] = {"code", "prose", "mathematics, proofs", "\xc3\xa9t\xc3\xa9"};
    for (int e = 0; e < c.moe.experts; e++) assert_true(labels_add(&c.moe.names, names[e]));
    return random_model(&c);
}

static void assert_names(const char *path, const label_list *expected) {
    pretrained *p;
    assert_ok(pretrained_open(&p, path));
    assert_memory_equal(&pretrained_config(p)->moe.names, expected, sizeof *expected);
    pretrained_close(p);
}

static void names_come_back(void **state) {
    char *folder = path_join(*state, "hf"), *file = path_join(*state, "m.gguf");
    static const char *const kinds[] = {"mixtral", "qwen2_moe"};
    for (int i = 0; i < 2; i++) {
        model *m = named_model(i ? qwen2_moe() : mixtral());
        write_hf(folder, m, kinds[i], STORAGE_F32, 0);
        assert_names(folder, &m->config.moe.names);
        assert_ok(write_gguf(file, m, kinds[i], STORAGE_F32));
        assert_names(file, &m->config.moe.names);
        assert_same_model(m, file, 1e-5);
        model_destroy(m);
    }
    free(folder);
    free(file);
}

/* Other programs' files have none. */
static void no_names_are_no_key(void **state) {
    char *folder = path_join(*state, "hf"), *file = path_join(*state, "m.gguf"),
         *config = path_join(folder, "config.json");
    const model_config c = mixtral();
    const label_list none = {0};
    cJSON *json;
    gguf g;
    model *m = random_model(&c);
    write_hf(folder, m, "mixtral", STORAGE_F32, 0);
    assert_ok(json_read_file(config, &json));
    assert_false(cJSON_HasObjectItem(json, HF_EXPERT_NAMES));
    assert_names(folder, &none);
    assert_ok(write_gguf(file, m, "mixtral", STORAGE_F32));
    assert_ok(gguf_open(&g, file));
    assert_null(gguf_find(&g, GGUF_EXPERT_NAMES));
    gguf_close(&g);
    cJSON_Delete(json);
    model_destroy(m);
    free(folder);
    free(file);
    free(config);
}

static void refuse_json(const char *folder, const char *names, const char *part) {
    char *config = path_join(folder, "config.json");
    cJSON *json;
    pretrained *p;
    assert_ok(json_read_file(config, &json));
    cJSON_DeleteItemFromObjectCaseSensitive(json, HF_EXPERT_NAMES);
    cJSON_AddItemToObject(json, HF_EXPERT_NAMES, cJSON_Parse(names));
    assert_ok(json_write_file(config, json));
    assert_fails(pretrained_open(&p, folder), part);
    assert_non_null(strstr(error_message(), "config.json"));
    cJSON_Delete(json);
    free(config);
}

static void wrong_names(void **state) {
    char *folder = path_join(*state, "hf");
    model *m = named_model(mixtral());
    const char *const expected = "moec_expert_names: expected a list of at most 64 different names of 1 to 31 bytes";
    write_hf(folder, m, "mixtral", STORAGE_F32, 0);
    refuse_json(folder, "7", expected);
    refuse_json(folder, "[1, 2, 3, 4]", expected);
    refuse_json(folder, "[\"a\", \"a\", \"b\", \"c\"]", expected);
    refuse_json(folder, "[\"\", \"a\", \"b\", \"c\"]", expected);
    refuse_json(folder, "[\"a name of more bytes than there is room\", \"a\", \"b\", \"c\"]", expected);
    refuse_json(folder, "[\"a\", \"b\"]", "moe_expert_names: expected a name for each of the 4 experts, found 2");
    model_destroy(m);
    free(folder);
}

/* A byte within the names of a GGUF file becomes what no name has. */
static void wrong_names_of_a_gguf(void **state) {
    char *file = path_join(*state, "m.gguf"), *cut = path_join(*state, "cut.gguf");
    model *m = named_model(mixtral());
    uint8_t *bytes;
    size_t count;
    pretrained *p;
    assert_ok(write_gguf(file, m, "mixtral", STORAGE_F32));
    assert_ok(file_read(file, FILE_ANY_SIZE, &bytes, &count));
    char *name = memmem(bytes, count, "mathematics", strlen("mathematics"));
    assert_non_null(name);
    static const char wrong[] = {'\0', '\xff'};
    for (int i = 0; i < 2; i++) {
        *name = wrong[i];
        assert_ok(file_write_whole(cut, bytes, count));
        assert_fails(pretrained_open(&p, cut), "cut.gguf: moec.expert_names: expected at most 64 different names");
    }
    for (size_t kept = (size_t)(name - (char *)bytes); kept < (size_t)(name - (char *)bytes) + 20; kept++) {
        assert_ok(file_write_whole(cut, bytes, kept));
        assert_fails(pretrained_open(&p, cut), "cut.gguf");
    }
    free(bytes);
    model_destroy(m);
    free(file);
    free(cut);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(names_come_back),
        in_scratch(no_names_are_no_key),
        in_scratch(wrong_names),
        in_scratch(wrong_names_of_a_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
