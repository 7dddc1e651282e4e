/* Other people's models out and in again: every family by Hugging Face's folder and by GGUF, and what cannot be held.
 * transformers' own cases: ../shared/parity/hf_* (tests/eval/test_parity.c). */
#include "written.h"

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

static void rotary_scalings_come_back(void **state) {
    static const rotary_config scalings[] = {
        {.scaling = ROTARY_LINEAR, .factor = 3},
        {.scaling = ROTARY_LLAMA3, .factor = 8, .original_context = 32},
        {.scaling = ROTARY_YARN, .factor = 4, .original_context = 64},
        {.scaling = ROTARY_YARN, .factor = 4, .original_context = 64, .attention_factor = 1.5f}};
    char *folder = path_join(*state, "hf"), *file = path_join(*state, "x.gguf");
    for (size_t i = 0; i < sizeof scalings / sizeof *scalings; i++) {
        model_config c = mistral();
        c.rotary = scalings[i];
        c.rotary.base = 10000;
        c.rotary.style = ROTARY_HALVES;
        c.rotary.low_freq_factor = 1;
        c.rotary.high_freq_factor = 4;
        c.rotary.beta_fast = 32;
        c.rotary.beta_slow = 1;
        model *m = random_model(&c);
        write_hf(folder, m, "llama", STORAGE_F32, 0);
        assert_same_model(m, folder, 0);
        assert_ok(write_gguf(file, m, "llama", STORAGE_F32));
        assert_same_model(m, file, 1e-5);
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

/* llama.cpp computes sigma(x) as silu(x) / x: a gate that knows nothing must not be 0 there, whoever made it. */
static void no_gate_is_zero_in_a_gguf(void **state) {
    char *file = path_join(*state, "x.gguf");
    for (int own = 0; own < 2; own++) {
        static const float zeros[64];
        model_config c = qwen2_moe();
        c.moe.shared_gate = own;
        model *m = random_model(&c);
        if (own) assert_ok(param_set(model_param(m, ROLE_SHARED_GATE, 1, -1), m->k, zeros));
        assert_ok(write_gguf(file, m, "qwen2_moe", STORAGE_F32));
        assert_same_model(m, file, 1e-5);
        gguf g;
        float gate[64];
        assert_ok(gguf_open(&g, file));
        const stored_tensor *t = tensor_set_find(&g.tensors, "blk.1.ffn_gate_inp_shexp.weight");
        assert_int_equal(stored_rows(t) * stored_cols(t), 64);
        stored_read(t, 0, 1, gate);
        for (int i = 0; i < 64; i++) assert_true(gate[i] != 0);
        gguf_close(&g);
        model_destroy(m);
    }
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
    c = qwen3_moe();
    c.moe.gate = GATE_PROBABILITY;
    m = random_model(&c);
    assert_fails(write_gguf(file, m, "qwen3_moe", STORAGE_F32), "gates=normalized");
    write_hf(folder, m, "qwen3_moe", STORAGE_F32, 0);
    assert_same_model(m, folder, 0);
    model_destroy(m);
    c = qwen2();
    c.rotary.beta_fast = 16;
    m = random_model(&c);
    assert_fails(write_gguf(file, m, "qwen2", STORAGE_F32), "beta_fast");
    write_hf(folder, m, "qwen2", STORAGE_F32, 0);
    assert_same_model(m, folder, 0);
    model_destroy(m);
    free(folder);
    free(file);
}

/* The selection bias chooses experts at evaluation too, and no family has one. */
static void a_selection_bias_is_not_lost(void **state) {
    char *folder = path_join(*state, "hf"), *file = path_join(*state, "x.gguf");
    model_config c = qwen3_moe();
    c.moe.bias_rate = 0.001f;
    model *m = random_model(&c);
    param *bias = model_find(m, "blocks.1.mlp.router_bias");
    assert_non_null(bias);
    float values[MODEL_MAX_EXPERTS] = {0};
    for (int i = 0; i < m->param_count; i++)
        if (m->params[i]->role == ROLE_ROUTER_BIAS) tensor_write(m->k, &m->params[i]->value, values);
    write_hf(folder, m, "qwen3_moe", STORAGE_F32, 0); /* zeros choose what none chooses */
    assert_same_model(m, folder, 0);
    values[1] = -0.25f;
    tensor_write(m->k, &bias->value, values);
    const weight_source w = weight_source_of(m);
    const hf_write_options o = {.family = family_of_type("qwen3_moe"), .type = STORAGE_F32, .context_tokens = 512};
    assert_fails(hf_write(folder, &w, &o), "selection bias (moe_bias_rate): expected zeros, found others in layer 1");
    assert_fails(write_gguf(file, m, "qwen3_moe", STORAGE_F32), "selection bias");
    assert_false(path_exists(file));
    model_destroy(m);
    free(folder);
    free(file);
}

static void scaled_gguf(const char *path, const model *m, const char *key, float factor) {
    const weight_source w = weight_source_of(m);
    gguf_builder metadata = {0};
    const gguf_write_options o = {
        .family = family_of_type("llama"), .type = STORAGE_F32, .context_tokens = 512, .name = "a test"};
    gguf_add_float(&metadata, key, factor);
    assert_ok(gguf_write(path, &w, &metadata, &o));
    gguf_builder_free(&metadata);
}

/* llama.cpp takes a factor without a type for a linear one, and has an older name for it. */
static void a_rotary_factor_without_a_type(void **state) {
    static const char *const keys[] = {"llama.rope.scaling.factor", "llama.rope.scale_linear"};
    char *file = path_join(*state, "x.gguf");
    model_config c = llama();
    c.rotary = family_base().rotary; /* Llama 3.1's scaling is a tensor */
    model *m = random_model(&c);
    for (int i = 0; i < 4; i++) {
        pretrained *p;
        scaled_gguf(file, m, keys[i % 2], i < 2 ? 8 : 1);
        assert_ok(pretrained_open(&p, file));
        const rotary_config *found = &pretrained_config(p)->rotary;
        assert_int_equal(found->scaling, i < 2 ? ROTARY_LINEAR : ROTARY_UNSCALED);
        if (i < 2) assert_true(found->factor == 8);
        pretrained_close(p);
    }
    model_destroy(m);
    free(file);
}

static void refuse_family(const model *m, const char *family, const char *part) {
    const weight_source w = weight_source_of(m);
    const hf_write_options hf = {.family = family_of_type(family), .type = STORAGE_F32, .context_tokens = 512};
    assert_fails(hf_write("nowhere", &w, &hf), part);
    assert_fails(write_gguf("nowhere.gguf", m, family, STORAGE_F32), part);
    assert_false(path_exists("nowhere") || path_exists("nowhere.gguf"));
}

/* Each in a family that has something else. */
static void families_that_do_not_fit(void **state) {
    (void)state;
    const model_config dense = llama(), experts = mixtral(), weighted = qwen3_moe(), shared = qwen2_moe();
    model *m = random_model(&dense);
    refuse_family(m, "mixtral", "what mixtral can hold: experts: expected some, found a dense model");
    refuse_family(m, "qwen2-moe", "experts: expected some, found a dense model");
    refuse_family(m, "qwen3", "qk_norm");
    model_destroy(m);
    m = random_model(&experts);
    refuse_family(m, "llama", "what llama can hold: experts: expected none, found layers of 4");
    refuse_family(m, "qwen2-moe", "moe_shared_hidden: expected shared experts, found none");
    refuse_family(m, "qwen3-moe", "qk_norm");
    model_destroy(m);
    m = random_model(&weighted);
    refuse_family(m, "mixtral", "what mixtral can hold");
    model_destroy(m);
    m = random_model(&shared);
    refuse_family(m, "mixtral", "what mixtral can hold");
    refuse_family(m, "qwen2", "experts: expected none");
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(a_selection_bias_is_not_lost), in_scratch(a_rotary_factor_without_a_type),
        in_scratch(every_family_comes_back),      in_scratch(rotary_scalings_come_back),
        in_scratch(what_is_missing_is_added),     in_scratch(what_cannot_be_held_is_refused),
        in_scratch(no_gate_is_zero_in_a_gguf),    cmocka_unit_test(families_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
