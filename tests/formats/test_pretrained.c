/* Other people's models out and in again: every family by Hugging Face's folder and by GGUF, what cannot be held, and files
 * that are not what they claim. transformers' own cases: ../shared/parity/hf_* (tests/eval/test_parity.c). */
#include "foreign.h"

#include "base/json.h"
#include "formats/gguf_write.h"
#include "formats/hf_write.h"
#include "formats/pretrained.h"
#include "formats/safetensors.h"

static model *read_model(const char *path, pretrained **source) {
    model *m;
    assert_true(pretrained_is(path));
    assert_ok(pretrained_open(source, path));
    const weight_source w = pretrained_weights(*source);
    assert_ok(model_create(&m, pretrained_config(*source), kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(weight_source_fill(&w, m));
    return m;
}

/* Reading `path` gives a model that computes the same as m, to `tolerance`. */
static void assert_same_model(model *m, const char *path, double tolerance) {
    static float ours[LENGTH * VOCAB], theirs[LENGTH * VOCAB];
    pretrained *source;
    model *back = read_model(path, &source);
    logits_of(m, ours);
    logits_of(back, theirs);
    const double found = difference(ours, theirs);
    if (!(found <= tolerance))
        fail_msg("%s: logits of %d layers, %d heads differ by %g", path, m->config.num_layers,
                 m->config.attention.heads, found);
    model_destroy(back);
    pretrained_close(source);
}

static void write_hf(const char *folder, const model *m, const char *family, storage type, int64_t shard_bytes) {
    const weight_source w = weight_source_of(m);
    const hf_write_options o = {.family = family_of_type(family),
                                .type = type,
                                .context_tokens = 512,
                                .bos = 1,
                                .eos = -1,
                                .shard_bytes = shard_bytes};
    assert_ok(folder_remove(folder));
    assert_ok(folder_create(folder));
    assert_ok(hf_write(folder, &w, &o));
}

static status write_gguf(const char *path, const model *m, const char *family, storage type) {
    const weight_source w = weight_source_of(m);
    const gguf_builder metadata = {0};
    const gguf_write_options o = {
        .family = family_of_type(family), .type = type, .context_tokens = 512, .name = "a test"};
    return gguf_write(path, &w, &metadata, &o);
}

/* ---- out and in ---- */

static void every_family_comes_back(void **state) {
    char *folder = path_join(*state, "hf"), *file = path_join(*state, "x.gguf");
    for (int i = 0; i < FAMILIES; i++) {
        const model_config c = families[i].make();
        model *m = random_model(&c);
        write_hf(folder, m, families[i].family, STORAGE_F32, 0);
        assert_same_model(m, folder, 0);
        write_hf(folder, m, families[i].family, STORAGE_F32, 50000); /* several files, by an index */
        assert_same_model(m, folder, 0);
        write_hf(folder, m, families[i].family, STORAGE_BF16, 0);
        assert_same_model(m, folder, 0.15);
        assert_ok(write_gguf(file, m, families[i].family, STORAGE_F32));
        assert_same_model(m, file, 1e-5); /* rotated rows stand in another order, and sums are formed in it */
        assert_ok(write_gguf(file, m, families[i].family, STORAGE_Q8_0));
        assert_same_model(m, file, c.moe.layers[0] ? 0.6 : 0.15); /* a token near an edge may go to another expert */
        model_destroy(m);
    }
    free(folder);
    free(file);
}

/* A model trained with the records' rotary convention, norms without weights and a shared MLP without a gate. */
static void what_is_missing_is_added(void **state) {
    char *folder = path_join(*state, "hf"), *file = path_join(*state, "x.gguf");
    model_config c = qwen2_moe();
    c.rotary.style = ROTARY_RECORD;
    c.norm.weight = false;
    c.norm.depth_scaled = true;
    c.attention.qkv_bias = false;
    c.moe.shared_gate = false;
    c.head.tied = true;
    memset(c.moe.layers, 0, sizeof c.moe.layers);
    c.moe.start_layer = 0;
    model *m = random_model(&c);
    write_hf(folder, m, "qwen2_moe", STORAGE_F32, 0);
    assert_same_model(m, folder, 1e-5);
    assert_ok(write_gguf(file, m, "qwen2_moe", STORAGE_F32));
    assert_same_model(m, file, 1e-5);
    model_destroy(m);
    free(folder);
    free(file);
}

static void what_cannot_be_held_is_refused(void **state) {
    char *folder = path_join(*state, "hf"), *file = path_join(*state, "x.gguf");
    model_config c = llama();
    c.attention.xsa = true;
    model *m = random_model(&c);
    const weight_source w = weight_source_of(m);
    hf_write_options o = {.family = family_of_type("llama"), .type = STORAGE_F32, .context_tokens = 512};
    assert_ok(folder_create(folder));
    assert_fails(hf_write(folder, &w, &o), "what llama can hold: xsa: expected false, found true");
    assert_false(path_exists(file));
    assert_fails(write_gguf(file, m, "llama", STORAGE_F32), "xsa");
    assert_fails(write_gguf(file, m, "llama", STORAGE_Q4_0), "f32, f16, bf16 or q8_0");
    assert_false(path_exists(file));
    model_destroy(m);
    c = qwen2_moe();
    c.moe.gate = GATE_NORMALIZED;
    m = random_model(&c);
    assert_fails(write_gguf(file, m, "qwen2_moe", STORAGE_F32), "gates=probability");
    write_hf(folder, m, "qwen2_moe", STORAGE_F32, 0); /* but transformers can */
    assert_same_model(m, folder, 0);
    model_destroy(m);
    free(folder);
    free(file);
}

/* ---- experts of a layer in one tensor ---- */

/* Of all experts of a layer, one after the other. */
static safetensor stack_of(const model *m, param_role role, int layer, const char *name) {
    const weight_source w = weight_source_of(m);
    const param *first = model_param(m, role, layer, 0);
    const int E = m->config.moe.experts;
    const int64_t rows = first->value.shape[0], cols = first->value.shape[1];
    float *values = xmalloc((size_t)(E * rows * cols) * sizeof *values);
    for (int e = 0; e < E; e++) {
        const param_spec spec = {role, layer, e, 2, {rows, cols}};
        assert_ok(w.read(w.context, &spec, 0, rows, values + e * rows * cols));
    }
    return (safetensor){.name = xasprintf("model.layers.%d.mlp.experts.%s", layer, name),
                        .type = DTYPE_F32,
                        .ndim = 3,
                        .shape = {E, rows, cols},
                        .data = values,
                        .bytes = (size_t)(E * rows * cols) * sizeof *values};
}

/* The folder's weights as mergekit writes them; `turned`: the stack's first two dimensions change places. */
static void stack_experts(const char *folder, const model *m, bool turned) {
    char *path = path_join(folder, "model.safetensors");
    safetensors s;
    assert_ok(safetensors_open(&s, path));
    safetensor *all = xcalloc((size_t)s.count + 1, sizeof *all);
    int count = 0;
    for (int i = 0; i < s.count; i++) {
        const char *gate = strstr(s.tensors[i].name, "block_sparse_moe.gate.");
        if (strstr(s.tensors[i].name, ".experts.")) continue;
        all[count] = s.tensors[i];
        all[count++].name = gate ? xasprintf("%.*smlp.gate.weight", (int)(gate - s.tensors[i].name), s.tensors[i].name)
                                 : xstrdup(s.tensors[i].name);
    }
    const int others = count;
    for (int i = 0; i < m->config.num_layers; i++) {
        all[count++] = stack_of(m, ROLE_EXPERT_FC, i, "gate_up_proj");
        all[count++] = stack_of(m, ROLE_EXPERT_PROJ, i, "down_proj");
    }
    if (turned) {
        const int64_t experts = all[others].shape[0];
        all[others].shape[0] = all[others].shape[1];
        all[others].shape[1] = experts;
    }
    assert_ok(safetensors_write(path, all, count, NULL));
    for (int i = 0; i < count; i++) {
        free(all[i].name);
        if (i >= others) free((void *)all[i].data);
    }
    free(all);
    safetensors_close(&s);
    free(path);
}

static void experts_in_one_tensor(void **state) {
    char *folder = path_join(*state, "hf");
    for (int i = 0; i < FAMILIES; i++) {
        const model_config c = families[i].make();
        if (!model_config_has_moe(&c)) continue;
        model *m = random_model(&c);
        pretrained *p;
        write_hf(folder, m, families[i].family, STORAGE_F32, 0);
        stack_experts(folder, m, false);
        assert_same_model(m, folder, 0);
        stack_experts(folder, m, true);
        assert_fails(pretrained_open(&p, folder), "tensor model.layers.0.mlp.experts.gate_up_proj: expected");
        model_destroy(m);
    }
    free(folder);
}

/* A file that has both has one too many. */
static void experts_both_ways(void **state) {
    char *folder = path_join(*state, "hf"), *path = path_join(folder, "model.safetensors");
    const model_config c = qwen3_moe();
    model *m = random_model(&c);
    pretrained *p;
    safetensors s;
    write_hf(folder, m, "qwen3_moe", STORAGE_F32, 0);
    assert_ok(safetensors_open(&s, path));
    safetensor *all = xcalloc((size_t)s.count + 1, sizeof *all);
    memcpy(all, s.tensors, (size_t)s.count * sizeof *all);
    all[s.count] = stack_of(m, ROLE_EXPERT_FC, 1, "gate_up_proj");
    assert_ok(safetensors_write(path, all, s.count + 1, NULL));
    assert_fails(pretrained_open(&p, folder), "tensor model.layers.1.mlp.experts.0.gate_proj.weight");
    free(all[s.count].name);
    free((void *)all[s.count].data);
    free(all);
    safetensors_close(&s);
    model_destroy(m);
    free(folder);
    free(path);
}

/* ---- files that are not what they claim ---- */

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
    assert_config_refused(folder, m, "intermediate_size", NULL, "intermediate_size: expected a number, found none");
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

/* Values of ggml's blocks, made by hand from its formulas. */
static void blocks(void **state) {
    (void)state;
    uint8_t q4[18] = {0, 0x3c}, q8[34] = {0, 0x40}, q4_1[20] = {0, 0x3c, 0, 0xc0}, q5[22] = {0, 0x3c, 0x01, 0, 0, 0x80};
    float x[256];
    q4[2] = 0x9f; /* element 0: 15 − 8, element 16: 9 − 8 */
    storage_read(STORAGE_Q4_0, q4, 32, x);
    assert_true(x[0] == 7 && x[16] == 1 && x[1] == -8);
    q8[2] = 0xff;
    q8[33] = 3;
    storage_read(STORAGE_Q8_0, q8, 32, x);
    assert_true(x[0] == -2 && x[31] == 6 && x[1] == 0);
    q4_1[4 + 15] = 0x50;
    storage_read(STORAGE_Q4_1, q4_1, 32, x);
    assert_true(x[15] == -2 && x[31] == 3 && x[0] == -2);
    q5[6] = 0x01;
    storage_read(STORAGE_Q5_0, q5, 32, x);
    assert_true(x[0] == 1 && x[31] == 0 && x[1] == -16);
    uint8_t q6[210] = {0};
    q6[0] = 0x21;                    /* element 0: low nibble 1; element 64: 2 */
    q6[128] = 0x11;                  /* their high bits: 1 and (quarter 2) 1 */
    q6[192] = 2, q6[192 + 4] = 0xff; /* scales of elements 0 … 15, and 64 … 79 */
    q6[209] = 0x3c;
    storage_read(STORAGE_Q6_K, q6, 256, x);
    assert_true(x[0] == 2 * (17 - 32) && x[64] == -1 * (18 - 32) && x[200] == 0);
    uint8_t q4k[144] = {0, 0x3c, 0, 0x3c};
    q4k[4] = 3, q4k[8] = 2; /* scale and minimum of the first 32 */
    q4k[16] = 0x0f;
    storage_read(STORAGE_Q4_K, q4k, 256, x);
    assert_true(x[0] == 3 * 15 - 2 && x[1] == -2 && x[40] == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(every_family_comes_back),
        in_scratch(what_is_missing_is_added),
        in_scratch(what_cannot_be_held_is_refused),
        in_scratch(configurations_that_lie),
        in_scratch(sliding_windows),
        in_scratch(missing_files_are_named),
        in_scratch(damaged_ggufs),
        in_scratch(experts_in_one_tensor),
        in_scratch(experts_both_ways),
        cmocka_unit_test(blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
