/* Folders and files that are not what they claim. */
#include "written.h"

#include "base/json.h"

static void rewrite_json(const char *folder, const char *key, const char *value) {
    char *path = path_join(folder, "config.json");
    cJSON *json;
    assert_ok(json_read_file(path, &json));
    cJSON_DeleteItemFromObjectCaseSensitive(json, key);
    if (value) cJSON_AddItemToObject(json, key, cJSON_Parse(value));
    assert_ok(json_write_file(path, json));
    cJSON_Delete(json);
    free(path);
}

static void assert_config_refused(const char *folder, model *m, const char *key, const char *value, const char *part) {
    pretrained *p;
    write_hf(folder, m, "qwen2", STORAGE_F32, 0);
    rewrite_json(folder, key, value);
    assert_fails(pretrained_open(&p, folder), part);
    assert_non_null(strstr(error_message(), folder));
}

static void configurations_that_lie(void **state) {
    char *folder = path_join(*state, "hf");
    const model_config c = qwen2();
    model *m = random_model(&c);
    assert_config_refused(folder, m, "model_type", "\"gpt_neox\"", "expected one of llama, mistral, mixtral, qwen2");
    assert_config_refused(folder, m, "hidden_act", "\"gelu\"", "hidden_act: expected silu, found gelu");
    assert_config_refused(folder, m, "hidden_size", "1e12", "hidden_size");
    assert_config_refused(folder, m, "num_hidden_layers", "4",
                          "expected a tensor model.layers.3.input_layernorm.weight");
    assert_config_refused(folder, m, "num_hidden_layers", "2", "model.layers.2.");
    assert_config_refused(folder, m, "vocab_size", "97", "model.embed_tokens.weight: expected 97 x 64");
    assert_config_refused(folder, m, "num_attention_heads", "\"x\"", "num_attention_heads");
    assert_config_refused(folder, m, "rope_parameters", "{\"rope_type\": \"longrope\"}", "longrope");
    assert_config_refused(folder, m, "rope_theta", "1e300", "rope_theta: expected a number");
    assert_config_refused(folder, m, "partial_rotary_factor", "0.5", "partial_rotary_factor: expected 1");
    assert_config_refused(folder, m, "intermediate_size", NULL, "intermediate_size: expected a number, found none");
    model_destroy(m);
    free(folder);
}

/* transformers passes over it without a scaling, so moec does. */
static void a_partial_rotation_that_means_nothing(void **state) {
    char *folder = path_join(*state, "hf");
    const model_config c = mistral();
    model *m = random_model(&c);
    write_hf(folder, m, "mistral", STORAGE_F32, 0);
    rewrite_json(folder, "partial_rotary_factor", "0.5");
    assert_same_model(m, folder, 0);
    model_destroy(m);
    free(folder);
}

/* A window counts where a context is longer than it. */
static void sliding_windows(void **state) {
    char *folder = path_join(*state, "hf");
    const model_config c = mistral();
    model *m = random_model(&c);
    pretrained *p;
    write_hf(folder, m, "mistral", STORAGE_F32, 0);
    rewrite_json(folder, "sliding_window", "16");
    assert_ok(pretrained_open(&p, folder));
    assert_int_equal(pretrained_context(p), 16);
    assert_ok(pretrained_check_length(p, 16));
    assert_fails(pretrained_check_length(p, 17), "sliding_window");
    pretrained_close(p);
    model_destroy(m);
    free(folder);
}

/* What config.json leaves out is what transformers takes then. */
static void defaults_are_the_familys(void **state) {
    static const struct {
        const char *family;
        double theta, eps;
        int window;
    } cases[] = {{"mistral", 10000, 1e-6, 4096}, {"mixtral", 1e6, 1e-5, 0}, {"qwen2", 10000, 1e-6, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        const family *f;
        model_config c;
        int context, window;
        snprintf(text, sizeof text,
                 "{\"model_type\": \"%s\", \"vocab_size\": 96, \"num_hidden_layers\": 2, \"hidden_size\": 64,"
                 "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": 96}",
                 cases[i].family);
        cJSON *json = cJSON_Parse(text);
        assert_ok(hf_config_read(json, "config.json", &f, &c, &context, &window));
        assert_true(c.rotary.base == (float)cases[i].theta && c.norm.eps == (float)cases[i].eps);
        assert_int_equal(window, cases[i].window);
        cJSON_AddNullToObject(json, "sliding_window");
        assert_ok(hf_config_read(json, "config.json", &f, &c, &context, &window));
        assert_int_equal(window, 0);
        cJSON_Delete(json);
    }
    (void)state;
}

/* The path of the second file of weights. */
static char *one_of_several(const char *folder) {
    char **names, *found = NULL;
    size_t count;
    assert_ok(folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], "model-00002-of-", 15) == 0) found = path_join(folder, names[i]);
        free(names[i]);
    }
    free(names);
    assert_non_null(found);
    return found;
}

static void missing_files_are_named(void **state) {
    char *folder = path_join(*state, "hf");
    const model_config c = mistral();
    model *m = random_model(&c);
    pretrained *p;
    write_hf(folder, m, "mistral", STORAGE_F32, 100000);
    char *part = one_of_several(folder);
    assert_int_equal(remove(part), 0);
    assert_fails(pretrained_open(&p, folder), part);
    char *index = path_join(folder, "model.safetensors.index.json");
    static const char outside[] = "{\"weight_map\": {\"x\": \"../model.safetensors\"}}";
    assert_ok(file_write_whole(index, outside, strlen(outside)));
    assert_fails(pretrained_open(&p, folder), "expected the name of a file in the folder");
    assert_int_equal(remove(index), 0);
    assert_fails(pretrained_open(&p, folder), "expected model.safetensors or model.safetensors.index.json");
    model_destroy(m);
    free(part);
    free(index);
    free(folder);
}

static void indexes_that_lie(void **state) {
    static const struct {
        const char *text, *part;
    } wrong[] = {
        {"", "index.json"},
        {"[]", "weight_map: expected an object"},
        {"{}", "weight_map: expected an object"},
        {"{\"weight_map\": []}", "weight_map: expected an object"},
        {"{\"weight_map\": {}}", "expected a tensor model.embed_tokens.weight"},
        {"{\"weight_map\": {\"x\": 1}}", "x: expected the name of a file"},
        {"{\"weight_map\": {\"x\": \"\"}}", "x: expected the name of a file"},
        {"{\"weight_map\": {\"x\": \"/etc/passwd\"}}", "x: expected the name of a file"},
        {"{\"weight_map\": {\"x\": \"..\"}}", "expected a regular file"},
        {"{\"weight_map\": {\"x\": \"absent.safetensors\"}}", "absent.safetensors"},
        {"{\"weight_map\": {\"x\": \"config.json\"}}", "config.json"},
        {"{\"weight_map\": {\"x\": \"model.safetensors\"}}", "x is not in model.safetensors"},
        {"{\"weight_map\": {\"lm_head.weight\": \"model.safetensors\", \"model.norm.weight\": \"copy.safetensors\"}}",
         "the name occurs twice"},
    };
    char *folder = path_join(*state, "hf"), *index = path_join(folder, "model.safetensors.index.json");
    char *single = path_join(folder, "model.safetensors"), *copy = path_join(folder, "copy.safetensors");
    const model_config c = mistral();
    model *m = random_model(&c);
    pretrained *p;
    uint8_t *bytes;
    size_t count;
    write_hf(folder, m, "mistral", STORAGE_F32, 0);
    assert_ok(file_read(single, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(file_write_whole(copy, bytes, count));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_ok(file_write_whole(index, wrong[i].text, strlen(wrong[i].text)));
        assert_fails(pretrained_open(&p, folder), wrong[i].part);
        assert_non_null(strstr(error_message(), folder));
    }
    free(bytes);
    model_destroy(m);
    free(folder);
    free(index);
    free(single);
    free(copy);
}

/* Cut at every byte of what comes before the data, and here and there in it; and with every byte there changed. */
static void damaged_ggufs(void **state) {
    char *path = path_join(*state, "x.gguf");
    model_config c = base();
    c.num_layers = 1;
    c.residual.parallel_start_layer = 1;
    model *m = random_model(&c);
    uint8_t *bytes;
    size_t count;
    assert_ok(write_gguf(path, m, "llama", STORAGE_F32));
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    gguf g;
    assert_ok(gguf_parse(&g, "whole.gguf", bytes, count));
    const size_t data = (size_t)(g.tensors.tensors[0].data - bytes); /* somewhere in the data */
    size_t head = data;
    for (int i = 0; i < g.tensors.count; i++)
        if ((size_t)(g.tensors.tensors[i].data - bytes) < head) head = (size_t)(g.tensors.tensors[i].data - bytes);
    gguf_close(&g);
    for (size_t left = 0; left < count; left += left < head ? 1 : 4099) {
        uint8_t *part = malloc(left + 1);
        memcpy(part, bytes, left);
        part = realloc(part, left ? left : 1);
        assert_fails(gguf_parse(&g, "part.gguf", part, left), "part.gguf");
        free(part);
    }
    int refused = 0;
    for (size_t at = 0; at < head; at++) {
        bytes[at] ^= 0x85;
        if (gguf_parse(&g, "flip.gguf", bytes, count) == STATUS_OK) {
            const family *f;
            model_config read;
            int context, window;
            (void)gguf_config_read(&g, &f, &read, &context, &window);
            gguf_close(&g);
        } else {
            refused++;
        }
        bytes[at] ^= 0x85;
    }
    assert_true(refused > (int)head / 8);
    free(bytes);
    model_destroy(m);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(configurations_that_lie), in_scratch(a_partial_rotation_that_means_nothing),
        in_scratch(sliding_windows),         cmocka_unit_test(defaults_are_the_familys),
        in_scratch(missing_files_are_named), in_scratch(indexes_that_lie),
        in_scratch(damaged_ggufs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
