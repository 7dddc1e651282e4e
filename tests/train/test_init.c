/* Beginning with another model's weights: what is taken over, what is refused and how, and resuming without that model. */
#include "tiny.h"

#include "formats/gguf_write.h"
#include "formats/hf_write.h"
#include "nn/config_fields.h"
#include "store/artifact.h"
#include "store/open.h"
#include "store/source.h"
#include "train/init.h"
#include "train/log.h"
#include "train/resume.h"
#include <math.h>

/* folder/data and folder/first, a run that has upcycled and loops, with averaged weights. */
static int create(void **state) {
    char *folder = scratch_create(), *data = path_join(folder, "data");
    train_result result;
    tiny_data(data);
    free(data);
    run_config c = tiny_run(folder, "first", 20);
    assert_ok(train_run(&c, TRAIN_NEW, &result));
    run_config_free(&c);
    *state = folder;
    return 0;
}

static char *in(void **state, const char *name) {
    return path_join(*state, name);
}

/* A preset without a section `model`; `more` are its other lines. */
static status load_from(run_config *c, void **state, const char *init, const char *more, const char *override) {
    char *path = in(state, "second.yaml"), *source = in(state, init);
    char *yaml = xasprintf("train: {run: %s/second, init: %s, batch: 2, seq: 32, accumulate: 2, steps: 3, dtype: f32, "
                           "checkpoint_every: 1, val_every: 1}\ndata: %s/data\n%s\n",
                           (char *)*state, source, (char *)*state, more);
    char *overrides[] = {(char *) override};
    assert_ok(file_write_whole(path, yaml, strlen(yaml)));
    *c = run_config_default();
    const status s = run_config_load(c, path, overrides, override ? 1 : 0);
    free(yaml), free(source), free(path);
    return s;
}
static status load(run_config *c, void **state, const char *more, const char *override) {
    return load_from(c, state, "first", more, override);
}

static void the_architecture_is_taken_over(void **state) {
    run_config c;
    assert_ok(load(&c, state, "", NULL));
    assert_int_equal(c.model.model_dim, 32);
    assert_int_equal(c.model.vocab_size, TINY_VOCAB);
    assert_true(c.model.moe.layers[1] && c.model.moe.layers[2] && c.model.loop.on);
    assert_int_equal(c.events.count, 0);
    run_config_free(&c);
    assert_ok(
        load(&c, state, "moe_aux_weight: 0.5\nmodel_dim: 32\nevents: [{below_lr: 0.5, do: qat}]", "logit_softcap=12"));
    assert_true(c.model.moe.aux_weight == 0.5f && c.model.head.softcap == 12 && c.model.num_layers == 4);
    assert_int_equal(c.events.count, 1);
    run_config_free(&c);
    assert_fails(load(&c, state, "", "init=nowhere"), "init: nowhere: no such file or folder");
    run_config_free(&c);
    assert_ok(load(&c, state, "", "init="));
    assert_int_equal(c.model.model_dim, 512);
    run_config_free(&c);
}

/* A preset of another model, by its keys; the same keys as overrides are meant, where the weights fit. */
static void another_preset(void **state) {
    run_config c;
    assert_fails(load(&c, state, "model_dim: 64\nlogit_softcap: 12\nmoe_layers: [1]", NULL),
                 "first is not the model that the configuration describes (there -> here): model_dim 32 -> 64, "
                 "moe_layers [1, 2] -> "
                 "[1], logit_softcap 30 -> 12; leave these keys out");
    run_config_free(&c);
    assert_fails(load(&c, state, "logit_softcap: 12", "moe_top_k=2"), "(there -> here): logit_softcap 30 -> 12; ");
    run_config_free(&c);
    assert_ok(load(&c, state, "logit_softcap: 12", "logit_softcap=30"));
    run_config_free(&c);
    assert_ok(load(&c, state, "", "moe_top_k=2"));
    train_result result;
    assert_ok(train_run(&c, TRAIN_OVERWRITE, &result));
    run_config_free(&c);
}

/* ---- weights ---- */

static void assert_same_weights(const model *a, const model *b) {
    assert_int_equal(a->param_count, b->param_count);
    for (int i = 0; i < a->param_count; i++) {
        float *x = tiny_values(a, a->params[i]), *y = tiny_values(b, b->params[i]);
        assert_memory_equal(x, y, tensor_bytes(&a->params[i]->value));
        free(x);
        free(y);
    }
}

/* The architecture of what lies there, as it is where a configuration says nothing. */
static model_config config_of(const char *source) {
    key_given *given = xcalloc((size_t)model_section.count, sizeof *given);
    model_config config = model_config_default();
    assert_ok(init_model_config(source, given, &config));
    free(given);
    return config;
}

static void check_from(const char *source) {
    const kernels *k = kernels_for(DTYPE_F32);
    model *expected, *m;
    tokenizer *tok;
    init_report report;
    assert_ok(open_model(source, k, "chosen", MODEL_VALUES, &expected, &tok, NULL));
    const model_config config = config_of(source);
    assert_ok(model_create(&m, &config, k, MODEL_TRAIN));
    assert_ok(init_weights(source, m, tok, &report));
    assert_true(report.tokenizer && report.context == 32 && *report.changed == '\0');
    init_report_free(&report);
    assert_same_weights(m, expected);
    model_destroy(expected);
    model_destroy(m);
    tokenizer_close(tok);
}

static void from_a_run_a_checkpoint_and_an_artifact(void **state) {
    char *run = in(state, "first"), *checkpoint = in(state, "first/checkpoints/step-00000020");
    char *artifact = in(state, "first.moec");
    model *m;
    tokenizer *tok;
    check_from(run);
    check_from(checkpoint);
    pack_options options = pack_options_default();
    options.quant.gptq = false;
    options.context_tokens = 32;
    assert_ok(open_model(run, kernels_for(DTYPE_F32), "chosen", MODEL_VALUES, &m, &tok, NULL));
    assert_ok(artifact_write(artifact, m, tok, NULL, &options, NULL));
    model_destroy(m);
    tokenizer_close(tok);
    check_from(artifact);
    free(artifact), free(checkpoint), free(run);
}

static double first_loss(const run_config *c) {
    char *path = path_join(c->train.run, RUN_LOG_FILE);
    cJSON *record;
    assert_ok(run_log_find(path, 1, &record));
    const double loss = cJSON_GetObjectItem(record, "loss")->valuedouble;
    cJSON_Delete(record);
    free(path);
    return loss;
}

static void a_run_goes_on_from_there(void **state) {
    run_config c, own = run_config_default();
    train_result result;
    assert_ok(load(&c, state, "", NULL));
    assert_ok(train_run(&c, TRAIN_OVERWRITE, &result));
    assert_int_equal(result.state.step, 3);
    assert_true(first_loss(&c) < 2.5); /* one that begins anew begins with log(320) = 5.8 */
    run_config_free(&c);
    assert_ok(load(&c, state, "", "steps=4"));
    assert_ok(train_run(&c, TRAIN_RESUME, &result));
    char *first = in(state, "first"), *away = in(state, "away"), *more[] = {(char *)"steps=5"};
    assert_int_equal(rename(first, away), 0);
    assert_ok(resume_config(&own, c.train.run, more, 1)); /* what it began with is gone */
    assert_ok(train_run(&own, TRAIN_RESUME, &result));
    assert_int_equal(result.state.step, 5);
    assert_int_equal(rename(away, first), 0);
    free(away), free(first);
    run_config_free(&own);
    run_config_free(&c);
}

/* ---- what does not fit ---- */

static void check_misfit(void **state, const char *override, const char *message, const char *other) {
    run_config c;
    train_result result;
    assert_ok(load(&c, state, "", override));
    char *run = in(state, "third");
    set_string(&c.train.run, run);
    assert_fails(train_run(&c, TRAIN_NEW, &result), message);
    assert_non_null(strstr(error_message(), other));
    char *log = path_join(run, RUN_LOG_FILE);
    assert_false(path_exists(log));
    free(log), free(run);
    run_config_free(&c);
}

static void shapes_and_names(void **state) {
    check_misfit(
        state, "model_dim=64",
        "first: model_dim 32 -> 64 does not fit: tok_emb.weight is [320, 32] there, but [320, 64] in the model",
        "more tensors differ");
    check_misfit(state, "moe_layers=[1]",
                 "moe_layers [1, 2] -> [1] does not fit: it has no blocks.2.mlp.fc.weight "
                 "[64, 32], which the model has",
                 "more tensors");
    check_misfit(state, "moe_layers=[1, 2, 3]", "it has no blocks.3.mlp.", "which the model has");
    check_misfit(state, "mlp_mult=3", "blocks.0.mlp.fc.weight is [64, 32] there, but [96, 32] in the model", "first: ");
    check_misfit(state, "q_gain=false", "it has blocks.0.attn.q_gain [2], which the model has not", "first: ");
}

static tokenizer *other_tokenizer(void) {
    tiny_source source = {.r = rng_seed(99), .left = 50};
    tokenizer *tok;
    assert_ok(sentencepiece_train(&tok, TINY_VOCAB - 1, tiny_next, &source, 1));
    return tok;
}

static void another_tokenizer(void **state) {
    run_config c;
    train_result result;
    char *other = in(state, "other"), *model = path_join(other, "tokenizer.model");
    assert_ok(folder_create(other));
    tokenizer *tok = other_tokenizer();
    const void *bytes;
    size_t count;
    tokenizer_bytes(tok, &bytes, &count);
    assert_ok(file_write_whole(model, bytes, count));
    tiny_shard(other, "tiny_train_000000.bin", tok, 2, TINY_LINES);
    tokenizer_close(tok);
    assert_ok(load(&c, state, "", "val_every=0"));
    set_string(&c.data.path, other);
    assert_fails(train_run(&c, TRAIN_OVERWRITE, &result), "first has another tokenizer than the data");
    free(model), free(other);
    run_config_free(&c);
}

/* ---- other people's models ---- */

/* folder/NAME, a Qwen3 of chance as transformers has it, and NAME.gguf. */
static void write_others(void **state, const char *name, int vocab) {
    char *folder = in(state, name), *gguf = xasprintf("%s.gguf", folder);
    model_config c = family_base();
    c.vocab_size = vocab;
    c.num_layers = 2;
    c.model_dim = 32;
    c.residual.parallel_start_layer = 2;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.attention.qk_norm = QK_NORM_WEIGHT;
    c.mlp.hidden = 48;
    model *m;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(model_init(m, 3));
    const weight_source w = weight_source_of(m);
    const family *qwen = family_of_type("qwen3");
    const hf_write_options hf = {.family = qwen, .type = STORAGE_F32, .context_tokens = 24, .bos = 1, .eos = 2};
    const gguf_write_options o = {.family = qwen, .type = STORAGE_F32, .context_tokens = 24};
    gguf_builder metadata = {0};
    assert_ok(folder_create(folder));
    assert_ok(hf_write(folder, &w, &hf));
    assert_ok(gguf_write(gguf, &w, &metadata, &o));
    gguf_builder_free(&metadata);
    model_destroy(m);
    free(gguf), free(folder);
}

/* The weights are those of a model that is filled from the source with nothing in between. */
static void check_other(const char *source, const char *kind) {
    const kernels *k = kernels_for(DTYPE_F32);
    const model_config config = config_of(source);
    model *expected, *m;
    model_source *s;
    init_report report;
    assert_ok(model_source_open(&s, source, "chosen"));
    assert_ok(model_create(&expected, &config, k, MODEL_VALUES));
    assert_ok(weight_source_fill(model_source_weights(s), expected));
    model_source_close(s);
    assert_ok(model_create(&m, &config, k, MODEL_TRAIN));
    assert_ok(init_weights(source, m, NULL, &report));
    assert_string_equal(report.kind, kind);
    assert_true(!report.tokenizer && report.context == 24);
    init_report_free(&report);
    assert_same_weights(m, expected);
    model_destroy(expected);
    model_destroy(m);
}

static void from_a_folder_of_transformers_and_a_gguf(void **state) {
    char *folder = in(state, "qwen"), *gguf = in(state, "qwen.gguf");
    write_others(state, "qwen", TINY_VOCAB);
    check_other(folder, "Hugging Face folder");
    check_other(gguf, "GGUF file");
    for (int i = 0; i < 2; i++) {
        run_config c;
        train_result result;
        assert_ok(load_from(&c, state, i ? "qwen.gguf" : "qwen", "", "qkv_bias=false"));
        assert_int_equal(c.model.mlp.hidden, 48);
        assert_int_equal(c.model.stem.bigram_buckets, 0); /* not of moec's own defaults */
        assert_ok(train_run(&c, TRAIN_OVERWRITE, &result));
        assert_int_equal(result.state.step, 3);
        const double loss = first_loss(&c);
        assert_true(loss > 5 && loss < 7); /* log(320) = 5.8 */
        run_config_free(&c);
        assert_ok(load_from(&c, state, i ? "qwen.gguf" : "qwen", "", "steps=4"));
        assert_ok(train_run(&c, TRAIN_RESUME, &result));
        assert_int_equal(result.state.step, 4);
        run_config_free(&c);
    }
    free(gguf), free(folder);
}

/* A tokenizer beside the weights is looked at. */
static void the_tokenizer_of_a_folder(void **state) {
    run_config c;
    train_result result;
    char *folder = in(state, "told"), *model = path_join(folder, "tokenizer.model"),
         *own = in(state, "data/tokenizer.model");
    uint8_t *bytes;
    size_t count;
    write_others(state, "told", TINY_VOCAB);
    assert_ok(file_read(own, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(file_write_whole(model, bytes, count));
    free(bytes);
    assert_ok(load_from(&c, state, "told", "", NULL));
    assert_ok(train_run(&c, TRAIN_OVERWRITE, &result));
    tokenizer *other = other_tokenizer();
    const void *text;
    tokenizer_bytes(other, &text, &count);
    assert_ok(file_write_whole(model, text, count));
    tokenizer_close(other);
    assert_fails(train_run(&c, TRAIN_OVERWRITE, &result), "told has another tokenizer than the data");
    assert_ok(file_write_whole(model, "no tokenizer", 12));
    assert_fails(train_run(&c, TRAIN_OVERWRITE, &result), "told/tokenizer.model: ");
    run_config_free(&c);
    free(own), free(model), free(folder);
}

/* Data of a larger vocabulary than the model's. */
static void a_vocabulary_that_is_too_small(void **state) {
    run_config c;
    train_result result;
    write_others(state, "small", TINY_VOCAB - 1);
    assert_ok(load_from(&c, state, "small", "", NULL));
    assert_fails(train_run(&c, TRAIN_OVERWRITE, &result), "vocab_size: expected at least 320, the tokens of ");
    assert_non_null(strstr(error_message(), "found 319, that of init "));
    run_config_free(&c);
    assert_ok(load_from(&c, state, "small", "", "vocab_size=320"));
    assert_fails(train_run(&c, TRAIN_OVERWRITE, &result), "tok_emb.weight is [319, 32] there, but [320, 32]");
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_architecture_is_taken_over),
        cmocka_unit_test(another_preset),
        cmocka_unit_test(from_a_run_a_checkpoint_and_an_artifact),
        cmocka_unit_test(from_a_folder_of_transformers_and_a_gguf),
        cmocka_unit_test(the_tokenizer_of_a_folder),
        cmocka_unit_test(a_vocabulary_that_is_too_small),
        cmocka_unit_test(shapes_and_names),
        cmocka_unit_test(a_run_goes_on_from_there),
        cmocka_unit_test(another_tokenizer),
    };
    return cmocka_run_group_tests(tests, create, scratch_teardown);
}
