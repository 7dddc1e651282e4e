/* Whatever a user names, as weights that pass by: artifact, run, checkpoint, Hugging Face folder, GGUF file. */
#include "foreign.h"
#include "letters_tokenizer.h"

#include "formats/gguf_write.h"
#include "formats/hf_write.h"
#include "formats/safetensors.h"
#include "store/artifact.h"
#include "store/checkpoint.h"
#include "store/checkpoint_folder.h"
#include "store/source.h"

/* Opens as that kind of thing, and computes what m does, to the tolerance. */
static void assert_opens(const char *path, const char *which, const char *kind, int context, model *m,
                         double tolerance) {
    static float expected[LENGTH * VOCAB], found[LENGTH * VOCAB];
    model_source *s;
    model *back;
    assert_ok(model_source_open(&s, path, which));
    assert_string_equal(model_source_kind(s), kind);
    assert_int_equal(model_source_context(s), context);
    const weight_source *w = model_source_weights(s);
    assert_ok(model_create(&back, &w->config, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(weight_source_fill(w, back));
    logits_of(m, expected);
    logits_of(back, found);
    const double off = difference(expected, found);
    if (!(off <= tolerance)) fail_msg("%s: logits differ by %g", path, off);
    model_destroy(back);
    model_source_close(s);
}

static void assert_refused(const char *path, const char *which, const char *part) {
    model_source *s;
    assert_fails(model_source_open(&s, path, which), part);
    assert_non_null(strstr(error_message(), path));
}

static void foreign_models(void **state) {
    char *folder = path_join(*state, "hf"), *file = path_join(*state, "x.gguf");
    const model_config c = qwen2_moe();
    model *m = random_model(&c);
    const weight_source w = weight_source_of(m);
    const family *f = family_of_type("qwen2-moe");
    const hf_write_options hf = {.family = f, .type = STORAGE_F32, .context_tokens = 512, .bos = -1, .eos = -1};
    const gguf_write_options gguf = {.family = f, .type = STORAGE_F32, .context_tokens = 256};
    const gguf_builder none = {0};
    assert_ok(folder_create(folder));
    assert_ok(hf_write(folder, &w, &hf));
    assert_ok(gguf_write(file, &w, &none, &gguf));
    assert_opens(folder, "chosen", "Hugging Face folder", 512, m, 0);
    assert_opens(file, "chosen", "GGUF file", 256, m, 1e-5);
    assert_refused(folder, "ema", "--ema: expected a run or a checkpoint");
    assert_refused(file, "live", "--live: expected a run or a checkpoint");
    model_destroy(m);
    free(folder);
    free(file);
}

/* A tokenizer that fails at its last step: it goes once. */
static void a_tokenizer_that_fails(void **state) {
    char *folder = path_join(*state, "bad-end"), *tok = path_join(folder, "tokenizer.json"),
         *settings = path_join(folder, "generation_config.json");
    const model_config c = qwen2_moe();
    model *m = random_model(&c);
    const weight_source w = weight_source_of(m);
    const hf_write_options hf = {
        .family = family_of_type("qwen2-moe"), .type = STORAGE_F32, .context_tokens = 512, .bos = -1, .eos = -1};
    static const char json[] = "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}";
    static const char end[] = "{\"eos_token_id\": 99999999}";
    assert_ok(folder_create(folder));
    assert_ok(hf_write(folder, &w, &hf));
    assert_ok(file_write_whole(tok, json, strlen(json)));
    assert_ok(file_write_whole(settings, end, strlen(end)));
    assert_refused(folder, "chosen", "eos_token_id");
    model_destroy(m);
    free(folder);
    free(tok);
    free(settings);
}

static void artifacts(void **state) {
    char *path = path_join(*state, "x.moec");
    const model_config c = mistral();
    model *m = random_model(&c);
    pack_options o = pack_options_default();
    pack_report r;
    tokenizer *tok = letters_tokenizer(VOCAB);
    o.quant.gptq = false;
    o.quant.bits = o.quant.embed_bits = 8;
    o.context_tokens = 99;
    assert_ok(artifact_write(path, m, tok, NULL, &o, &r));
    model *back;
    assert_ok(artifact_read(path, m->k, MODEL_VALUES, &back, NULL, NULL));
    assert_opens(path, "chosen", "artifact", 99, back, 0);
    model_destroy(back);
    assert_refused(path, "live", "--live: expected a run or a checkpoint");
    tokenizer_close(tok);
    model_destroy(m);
    free(path);
}

/* ---- a run, with live and averaged weights ---- */

static status put_average(checkpoint_writer *w, const model *m) {
    safetensor *t = xcalloc((size_t)m->param_count, sizeof *t);
    char *path = checkpoint_place(w, AVERAGE_FILE);
    uint64_t crc;
    for (int i = 0; i < m->param_count; i++) {
        const tensor *v = &m->params[i]->value;
        t[i] = (safetensor){.name = m->params[i]->name, .type = DTYPE_F32, .ndim = v->ndim, .data = v->data};
        memcpy(t[i].shape, v->shape, sizeof t[i].shape);
        t[i].bytes = tensor_bytes(v);
    }
    const status s = safetensors_write(path, t, m->param_count, &crc);
    checkpoint_wrote(w, AVERAGE_FILE, crc);
    free(path);
    free(t);
    return s;
}

static void save(const char *run, int64_t step, const model *live, const model *average, const weights_choice *choice) {
    checkpoint_writer w;
    tokenizer *tok = letters_tokenizer(VOCAB);
    assert_ok(checkpoint_begin(&w, run, step));
    assert_ok(checkpoint_put_model(&w, live, tok));
    if (average) assert_ok(put_average(&w, average));
    if (choice) checkpoint_put_choice(&w, choice);
    assert_ok(checkpoint_commit(&w, cJSON_CreateObject(), 64, 9));
    tokenizer_close(tok);
}

static void runs(void **state) {
    char *run = path_join(*state, "run"), *first = path_join(run, "checkpoints/step-00000001");
    const model_config c = qwen3();
    model *live = random_model_by(&c, 1), *average = random_model_by(&c, 2), *older = random_model_by(&c, 3);
    const weights_choice live_is_better = {.tokens = 10, .live_bpb = 1, .average_bpb = 2};
    save(run, 1, older, NULL, NULL);
    assert_opens(run, "chosen", "checkpoint", 64, older, 0); /* without averaged ones */
    assert_refused(run, "ema", "expected averaged weights");
    save(run, 2, live, average, NULL);
    assert_opens(run, "live", "checkpoint", 64, live, 0);
    assert_opens(run, "ema", "checkpoint", 64, average, 0);
    assert_opens(run, "chosen", "checkpoint", 64, average, 0); /* nobody compared them */
    assert_opens(first, "chosen", "checkpoint", 64, older, 0); /* not the newest, but the one that is named */
    save(run, 3, live, average, &live_is_better);
    assert_opens(run, "chosen", "checkpoint", 64, live, 0);
    model_source *s;
    assert_fails(model_source_open(&s, run, "best"), "expected live, ema or chosen, found best");
    model_destroy(live);
    model_destroy(average);
    model_destroy(older);
    free(first);
    free(run);
}

/* A reader keeps its checkpoint from being removed. */
static void an_open_checkpoint_is_held(void **state) {
    char *run = path_join(*state, "run");
    const model_config c = llama();
    model *m = random_model(&c);
    model_source *s;
    save(run, 1, m, NULL, NULL);
    assert_ok(model_source_open(&s, run, "chosen"));
    char *folder = path_join(run, "checkpoints"), *first = path_join(folder, "step-00000001");
    save(run, 2, m, NULL, NULL);
    assert_ok(checkpoint_prune(folder, 1));
    assert_true(path_exists(first));
    model_source_close(s);
    assert_ok(checkpoint_prune(folder, 1));
    assert_false(path_exists(first));
    model_destroy(m);
    free(first);
    free(folder);
    free(run);
}

static void what_is_no_model(void **state) {
    char *path = path_join(*state, "x");
    assert_refused(path, "chosen", "no such file or folder");
    assert_ok(file_write_whole(path, "GGU", 3));
    assert_refused(path, "chosen", "x");
    assert_ok(file_write_whole(path, "GGUF", 4));
    assert_refused(path, "chosen", "x");
    assert_int_equal(remove(path), 0);
    assert_ok(folder_create(path));
    assert_refused(path, "chosen", "x");
    char *config = path_join(path, "config.json");
    assert_ok(file_write_whole(config, "{\"model_type\": \"llama\"", 22));
    assert_refused(path, "chosen", "x");
    assert_ok(file_write_whole(config, "{\"model_type\": \"bert\"}", 22));
    assert_refused(path, "chosen", "model_type: expected one of llama");
    assert_refused("/dev/zero", "chosen", "/dev/zero");
    free(config);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(foreign_models), in_scratch(a_tokenizer_that_fails),     in_scratch(artifacts),
        in_scratch(runs),           in_scratch(an_open_checkpoint_is_held), in_scratch(what_is_no_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
