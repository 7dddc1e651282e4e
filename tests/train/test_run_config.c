/* Presets: what is read, what is refused and how, overrides, and that what is written reads back the same. */
#include "test.h"

#include "config/schema.h"
#include "train/config.h"
#include <math.h>

static status parse(run_config *c, const char *yaml) {
    return run_config_parse(c, "x.yaml", yaml, strlen(yaml));
}

static char *yaml_of(const run_config *c) {
    char *folder = scratch_create(), *path = path_join(folder, "config.yaml");
    uint8_t *bytes;
    size_t count;
    assert_ok(run_config_write(c, path));
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    free(path);
    scratch_remove(folder);
    return (char *)bytes;
}

static void defaults(void **state) {
    (void)state;
    run_config c = run_config_default();
    assert_ok(run_config_check(&c));
    assert_int_equal(c.train.batch * c.train.accumulate * c.train.seq, 524288);
    assert_int_equal(c.events.count, 3);
    model_config after = model_after_events(&c.events, &c.model);
    assert_true(after.loop.on && after.moe.layers[4] && after.moe.layers[5] && !after.moe.layers[3]);
    run_config_free(&c);
}

static void nested_and_flat(void **state) {
    (void)state;
    run_config c = run_config_default();
    assert_ok(parse(&c, "data: {data: corpus}\ntrain:\n  run: 'runs/a b'\n  batch: 4\n  dtype: f32\nseq: 128\n"
                        "optimizer: {adam_eps: 1e-7, muon_nesterov: false}\nmodel:\n  activation: swiglu\n"
                        "  moe_layers: [1, 3]\nseed: 18446744073709551615\npack:\n  # nothing here\neval: ~\n"));
    assert_string_equal(c.data.path, "corpus");
    assert_string_equal(c.train.run, "runs/a b");
    assert_string_equal(c.train.dtype, "f32");
    assert_int_equal(c.train.batch, 4);
    assert_int_equal(c.train.seq, 128);
    assert_true(c.optimizer.adam_eps == 1e-7 && !c.optimizer.muon_nesterov && c.train.seed == UINT64_MAX);
    assert_int_equal(c.model.mlp.activation, ACTIVATION_SWIGLU);
    assert_true(c.model.moe.layers[1] && !c.model.moe.layers[2] && c.model.moe.layers[3]);
    assert_ok(parse(&c, "data: elsewhere\n")); /* the key, not the section */
    assert_string_equal(c.data.path, "elsewhere");
    assert_int_equal(c.train.batch, 4);
    run_config_free(&c);
}

static void events(void **state) {
    (void)state;
    run_config c = run_config_default();
    assert_ok(parse(&c, "events:\n  - {at: 0.1, do: upcycle, layers: [2, 3], experts: 4, top_k: 2}\n"
                        "  - {do: loop, at: 1}\n  - {below_lr: 0.25, do: qat, bits: 5}\n  - {at: 0.5, do: qat}\n"));
    assert_int_equal(c.events.count, 4);
    assert_true(c.events.items[0].at == 0.1 && c.events.items[0].layers[2] && c.events.items[0].layers[3] &&
                !c.events.items[0].layers[4]);
    assert_int_equal(c.events.items[0].experts, 4);
    assert_int_equal(c.events.items[0].top_k, 2);
    assert_int_equal(c.events.items[1].kind, EVENT_LOOP);
    assert_true(c.events.items[2].below_lr == 0.25 && c.events.items[2].bits == 5);
    assert_true(c.events.items[3].below_lr == 0 && c.events.items[3].at == 0.5 && c.events.items[3].bits == 6);
    assert_ok(run_config_check(&c));
    assert_ok(parse(&c, "events: []"));
    assert_int_equal(c.events.count, 0);
    run_config_free(&c);
}

static void refused(const char *yaml, const char *message) {
    run_config c = run_config_default();
    char *before = yaml_of(&c);
    status s = parse(&c, yaml);
    if (s != STATUS_USAGE) fail_msg("%s: status %d", yaml, s);
    if (strcmp(error_message(), message) != 0) fail_msg("expected \"%s\", got \"%s\"", message, error_message());
    assert_null(strchr(error_message(), '\n'));
    run_config_free(&c);
    free(before);
}

static void refusals(void **state) {
    (void)state;
    refused("train:\n  btach: 4\n", "x.yaml:2: unknown key train.btach; the nearest is batch in section train");
    refused("optimizer: {batch: 4}\n", "x.yaml:1: unknown key optimizer.batch; the nearest is batch in section train");
    refused("\nmatrx_lr: 1\n", "x.yaml:2: unknown key matrx_lr; the nearest is matrix_lr in section optimizer");
    refused("optimiser: {}\n", "x.yaml:1: unknown section optimiser; the nearest is optimizer");
    refused("batch: four\n", "x.yaml:1: batch: expected an integer from 1 to 65536, found `four`");
    refused("batch: 4.0\n", "x.yaml:1: batch: expected an integer from 1 to 65536, found `4.0`");
    refused("batch: '4'\n", "x.yaml:1: batch: expected an integer from 1 to 65536, found `4`");
    refused("batch: 0\n", "x.yaml:1: batch: expected an integer from 1 to 65536, found `0`");
    refused("batch: 99999999999999999999\n",
            "x.yaml:1: batch: expected an integer from 1 to 65536, found `99999999999999999999`");
    refused("batch: [4]\n", "x.yaml:1: batch: expected an integer from 1 to 65536, found a list");
    refused("batch:\n", "x.yaml:1: batch: expected an integer from 1 to 65536, found ``");
    refused("matrix_lr: nan\n", "x.yaml:1: matrix_lr: expected a number from 0 to 10, found `nan`");
    refused("matrix_lr: 0x1\n", "x.yaml:1: matrix_lr: expected a number from 0 to 10, found `0x1`");
    refused("seed: -1\n", "x.yaml:1: seed: expected an integer of at least 0 and under 2^64, found `-1`");
    refused("shuffle: yes\n", "x.yaml:1: shuffle: expected true or false, found `yes`");
    refused("dtype: f16\n", "x.yaml:1: dtype: expected one of auto, smallest, f32, bf16, found `f16`");
    refused("run: ''\n", "x.yaml:1: run: expected a text that is not empty, found ``");
    refused("moe_layers: [256]\n",
            "x.yaml:1: moe_layers: expected a list of numbers from 0 to 255, such as [4, 5], found a list");
    refused("batch: 4\nseq: 8\nbatch: 4\n", "x.yaml:3: batch is given twice, first on line 1");
    refused("train: {batch: 4}\nbatch: 4\n", "x.yaml:2: batch is given twice, first on line 1");
    refused("train: {batch: 4}\nmodel: {xsa: true}\ntrain: {seq: 8}\n",
            "x.yaml:3: train is given twice, first on line 1");
    refused("# nothing\n", "x.yaml: expected keys and values, found none");
    refused("data: {run: a}\n", "x.yaml:1: unknown key data.run; the nearest is run in section train");
    refused("optimizer: {ema_decay: 0.9}\n",
            "x.yaml:1: unknown key optimizer.ema_decay; the nearest is ema_decay in section average");
    refused("- 4\n", "x.yaml:1: expected keys and values, found a list");
    refused("batch: 4\n---\nbatch: 5\n", "x.yaml:2: expected one YAML document, found a second");
    refused("[a]: 4\n", "x.yaml:1: expected a plain key");
    refused("events: 3\n", "x.yaml:1: events: expected a list of events, such as [{at: 0.3, do: loop}], found `3`");
    refused("events: [loop]\n", "x.yaml:1: events: expected mappings such as {at: 0.3, do: loop}");
    refused("events:\n  - {at: 0.3, doo: loop}\n", "x.yaml:2: unknown key doo of an event; the nearest is do");
    refused("events:\n  - {at: 0.3, do: lop}\n", "x.yaml:2: do: expected one of upcycle, loop, qat, found `lop`");
    refused("events:\n  - {at: 1.5, do: loop}\n", "x.yaml:2: at: expected a number from 0 to 1, found `1.5`");
    refused("events:\n  - {do: loop}\n", "x.yaml:2: event: expected at, found none");
    refused("events:\n  - {at: 0.3, below_lr: 0.3, do: qat}\n",
            "x.yaml:2: event: expected either at or below_lr, found both");
    refused("events:\n  - {below_lr: 0.3, do: loop}\n", "x.yaml:2: event: below_lr is no key of loop");
    refused("events:\n  - {at: 0.3, do: loop, bits: 6}\n", "x.yaml:2: event: bits is no key of loop");
    refused("events:\n  - {at: 0.3}\n", "x.yaml:2: event: expected do, one of upcycle, loop, qat, found none");
    refused("events:\n  - {at: 0.3, at: 0.3, do: loop}\n", "x.yaml:2: at is given twice, first on line 2");
    refused("events:\n  - {at: 0.3, do: upcycle}\n", "x.yaml:2: event: upcycle expected layers, found none");
}

static void not_yaml(void **state) {
    (void)state;
    run_config c = run_config_default();
    assert_fails(parse(&c, "batch: 4\ntrain: {batch\n"), "x.yaml:3: not YAML: ");
    assert_fails(run_config_parse(&c, "x.yaml", "run: \"a\\0b\"", 11), "x.yaml:1: expected a text without NUL");
    assert_fails(parse(&c, "run: \xff\n"), "not YAML");
    run_config_free(&c);
}

static void overrides(void **state) {
    (void)state;
    run_config c = run_config_default();
    char *good[] = {"batch=4",           "train.seq=256", "moe_layers=[1, 2]", "events=[]",
                    "run=runs/it's: #1", "tokenizer=t",   "batch=5",           "data.data=d"};
    assert_ok(run_config_load(&c, NULL, good, sizeof good / sizeof *good));
    assert_int_equal(c.train.batch, 5);
    assert_int_equal(c.train.seq, 256);
    assert_int_equal(c.eval.stride, 256); /* not given: it follows a shorter seq */
    assert_int_equal(c.events.count, 0);
    assert_true(c.model.moe.layers[1] && c.model.moe.layers[2]);
    assert_string_equal(c.train.run, "runs/it's: #1");
    assert_string_equal(c.data.path, "d");
    assert_string_equal(c.data.tokenizer, "t");
    assert_ok(run_config_load(&c, NULL, (char *[]){"tokenizer="}, 1));
    assert_null(c.data.tokenizer);
    assert_fails(run_config_load(&c, NULL, (char *[]){"btach=4"}, 1),
                 "override btach=4: unknown key btach; the nearest is batch in section train");
    assert_fails(run_config_load(&c, NULL, (char *[]){"model.batch=4"}, 1), "batch in section train");
    assert_fails(run_config_load(&c, NULL, (char *[]){"batch=x"}, 1),
                 "override batch=x: batch: expected an integer from 1 to 65536, found `x`");
    assert_fails(run_config_load(&c, NULL, (char *[]){"batch="}, 1), "found nothing");
    assert_fails(run_config_load(&c, NULL, (char *[]){"moe_layers=[1"}, 1), "override moe_layers=[1: not YAML");
    assert_fails(run_config_load(&c, NULL, (char *[]){"batch"}, 1), "expected key=value");
    assert_fails(run_config_load(&c, NULL, (char *[]){"seq=64", "eval_stride=65"}, 2),
                 "eval_stride: expected at most seq 64");
    run_config_free(&c);
}

/* A default with one change is refused with a message that names the key. */
#define assert_refused(change, part)                                                                                   \
    do {                                                                                                               \
        run_config c = run_config_default();                                                                           \
        change;                                                                                                        \
        assert_int_equal(run_config_check(&c), STATUS_USAGE);                                                          \
        if (!strstr(error_message(), part)) fail_msg("\"%s\" does not name \"%s\"", error_message(), part);            \
        run_config_free(&c);                                                                                           \
    } while (0)

static void rules(void **state) {
    (void)state;
    assert_refused(c.train.batch = 0, "batch: expected");
    assert_refused(c.train.seq = 0, "seq: expected");
    assert_refused(c.optimizer.matrix_lr = -1, "matrix_lr: expected");
    assert_refused(c.optimizer.matrix_lr = NAN, "matrix_lr: expected");
    assert_refused(c.train.steps = 0, "steps: expected at least 1");
    assert_refused(c.optimizer.warmup_frac = 0.5, "warmup_frac: expected at most");
    assert_refused(c.eval.stride = 4096, "eval_stride: expected at most seq 2048");
    assert_refused(c.pack.embed_bits = 1, "embed_bits: expected");
    assert_refused((free(c.train.dtype), c.train.dtype = NULL), "dtype: expected one of");
    assert_refused(c.model.attention.heads = 7, "num_heads: expected");
    assert_refused(c.events.count = MAX_EVENTS + 1, "events: expected");
    assert_refused(c.events.items[0].layers[9] = true, "events[0].layers: expected layers below num_layers 9, found 9");
    assert_refused(memset(c.events.items[0].layers, 0, sizeof c.events.items[0].layers),
                   "events[0].layers: expected at least one");
    assert_refused(c.events.items[0].top_k = 3, "events[0].top_k: expected at most experts 2");
    assert_refused(c.events.items[0].experts = 1, "events[0].experts: expected an integer from 2");
    assert_refused(c.events.items[1].at = 2, "events[1].at: expected");
    assert_refused(c.events.items[1].below_lr = 0.5, "events[1].below_lr");
    assert_refused(c.model.loop.extra_passes = 0, "events[1].do: loop");
    assert_refused(c.model.moe.layers[4] = true, "events[0].layers: expected layers without experts, found 4");
    assert_refused((c.events.items[1] = c.events.items[0], c.events.items[1].experts = 3,
                    c.events.items[1].layers[4] = false, c.events.items[1].layers[5] = false,
                    c.events.items[1].layers[6] = true),
                   "events[1].experts: expected layer 4's 2");
}

static void assert_round_trip(const run_config *c) {
    char *first = yaml_of(c);
    run_config back = run_config_default();
    assert_ok(parse(&back, first));
    char *second = yaml_of(&back);
    assert_string_equal(first, second);
    free(second);
    free(first);
    run_config_free(&back);
}

static void written_and_read(void **state) {
    (void)state;
    run_config c = run_config_default();
    assert_round_trip(&c);
    assert_ok(parse(&c,
                    "run: \"a\\\"b\\\\c\\n\\u00e9\\U0001F600\\x07: # \"\nmatrix_lr: 0.1\nmuon_wd: 0.30000000000000004\n"
                    "seed: 18446744073709551615\nmlp_mult: 2.5\nlogit_softcap: 0.3\nmoe_layers: []\n"
                    "events: [{at: 0, do: loop}, {at: 0.123456789012345, do: qat, bits: 4}]\n"));
    assert_round_trip(&c);
    char *text = yaml_of(&c);
    assert_non_null(strstr(text, "run: \"a\\\"b\\\\c\\u000A\\u00E9\\U0001F600\\u0007: # \"\n"));
    assert_non_null(strstr(text, "muon_wd: 0.30000000000000004\n"));
    run_config back = run_config_default();
    assert_ok(parse(&back, text));
    assert_string_equal(back.train.run, c.train.run);
    assert_true(back.optimizer.muon_wd == c.optimizer.muon_wd && back.model.head.softcap == c.model.head.softcap);
    free(text);
    run_config_free(&back);
    run_config_free(&c);
}

static void presets(void **state) {
    (void)state;
    const char *names[] = {"configs/upcycle-9l.yaml", "configs/demo.yaml", "configs/test-tiny.yaml"};
    for (int i = 0; i < 3; i++) {
        run_config c = run_config_default();
        assert_ok(run_config_load(&c, names[i], NULL, 0));
        assert_round_trip(&c);
        run_config_free(&c);
    }
    run_config c = run_config_default(), published = run_config_default();
    assert_ok(run_config_load(&c, names[0], NULL, 0));
    assert_true(c.optimizer.matrix_lr == published.optimizer.matrix_lr &&
                c.average.ema_decay == published.average.ema_decay);
    assert_memory_equal(&c.model, &published.model, sizeof c.model);
    assert_fails(run_config_load(&c, "configs/none.yaml", NULL, 0), "configs/none.yaml");
    run_config_free(&published);
    run_config_free(&c);
}

static void described(void **state) {
    (void)state;
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    run_config_describe(out);
    fclose(out);
    for (int i = 0; i < schema_size(&run_schema); i++) {
        const config_key key = schema_key(&run_schema, i);
        assert_int_equal(schema_find(&run_schema, key.field.key), i); /* keys are unique */
        if (!strstr(text, key.field.key)) fail_msg("%s is not described", key.field.key);
    }
    free(text);
}

/* ---- what people of other trainers type ---- */

/* Every entry names a key that there is, and none hides a key or another entry. */
static void foreign_names_are_true(void **state) {
    (void)state;
    int count = 0;
    for (int p = 0; p < run_schema.part_count; p++) {
        const config_section *s = run_schema.parts[p].section;
        for (int i = 0; i < s->foreign_count; i++, count++) {
            const foreign_key *f = &s->foreign[i];
            if (f->key ? schema_find(&run_schema, f->key) < 0 : !f->remark) fail_msg("%s: no such key", f->name);
            if (schema_find(&run_schema, f->name) >= 0) fail_msg("%s is a key of moec", f->name);
            if (f->name[strspn(f->name, "abcdefghijklmnopqrstuvwxyz0123456789_*")]) fail_msg("%s: letters", f->name);
            for (int q = 0; q < run_schema.part_count; q++) {
                const foreign_key *first = section_foreign(run_schema.parts[q].section, f->name);
                if (first && first != f) fail_msg("%s is hidden by %s", f->name, first->name);
            }
        }
    }
    assert_true(count > 100);
}

static void foreign_names(void **state) {
    (void)state;
    static const struct {
        const char *typed, *answer;
    } cases[] = {
        {"lr", "unknown key lr: moec calls it matrix_lr (and embed_lr, scalar_lr)"},
        {"learning_rate", "matrix_lr"},
        {"batch_size", "it batch"},
        {"per_device_train_batch_size", "it batch"},
        {"gradient_accumulation_steps", "accumulate"},
        {"max_steps", "steps"},
        {"num_train_epochs", "steps or max_seconds"},
        {"epochs", "steps or max_seconds"},
        {"warmup_steps", "warmup_frac (a part of the training, not steps)"},
        {"warmup_ratio", "warmup_frac"},
        {"weight_decay", "muon_wd"},
        {"lora", "no LoRA"},
        {"lora_r", "no LoRA"},
        {"lora_alpha", "no LoRA"},
        {"max_seq_length", "seq"},
        {"block_size", "seq"},
        {"context_length", "seq"},
        {"n_ctx", "seq"},
        {"ctx-size", "seq"},
        {"hidden_size", "model_dim"},
        {"num_hidden_layers", "num_layers"},
        {"num_attention_heads", "num_heads"},
        {"num_key_value_heads", "num_kv_heads"},
        {"intermediate_size", "mlp_hidden"},
        {"rope_theta", "rope_base"},
        {"num_local_experts", "moe_num_experts"},
        {"num_experts", "moe_num_experts"},
        {"num_experts_per_tok", "moe_top_k"},
        {"n_layer", "num_layers"},
        {"n_head", "num_heads"},
        {"n_embd", "model_dim"},
        {"dropout", "no dropout"},
        {"fp16", "dtype"},
        {"bf16", "dtype"},
        {"output_dir", "it run"},
        {"eval_steps", "val_every"},
        {"save_steps", "checkpoint_every"},
        {"logging_steps", "log_every"},
        {"random_seed", "it seed"},
        {"optimizer", "matrix_optimizer"},
        {"optim", "matrix_optimizer"},
        {"adamw", "matrix_optimizer"},
        {"wd", "muon_wd"},
        {"freeze_layers", "it freeze"},
        {"gradient_checkpointing", "it recompute"},
        {"lr_schedule", "warmdown_shape"},
        {"lr_scheduler_type", "warmdown_shape"},
        {"decay_steps", "warmdown_frac"},
        {"max_grad_norm", "grad_clip"},
        {"max_tokens", "steps (tokens / (batch x seq x accumulate))"},
        {"n-gpu-layers", "one device"},
        {"deepspeed", "one device"},
        {"threads", "OMP_NUM_THREADS"},
        {"flash_attention", "one attention"},
        {"model_name_or_path", "it init"},
        {"pretrained_model", "it init"},
        {"resume_from_checkpoint", "--resume"},
        {"overwrite_output_dir", "--overwrite"},
        {"lora_target_modules", "no LoRA"},
        {"target_modules", "no LoRA"},
        {"load_in_4bit", "it pack_bits"},
        {"dataset_text_field", "`moec data --field"},
        {"dataset_name", "it data"},
        {"temperature", "`moec generate` samples with --temperature; a teacher's is teacher_temperature"},
        {"distillation_alpha", "it teacher_weight"},
        {"kd_weight", "it teacher_weight"},
        {"alpha_ce", "it ce_weight"},
        {"distillation_temperature", "it teacher_temperature"},
        {"kl_type", "it divergence"},
        {"teacher_path", "it teacher"},
        {"chat_template", "plain text"},
        {"push_to_hub", "`moec export`"},
        {"load_balancing_loss", "moe_aux_weight"},
        {"capacity_factor", "none is dropped"},
        {"early_stopping_patience", "early_stop"},
        {"load_best_model_at_end", "keep_best"},
        {"report_to", "tensorboard"},
    };
    run_config c = run_config_default();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *yaml = xasprintf("%s: 1\n", cases[i].typed), *override = xasprintf("%s=1", cases[i].typed);
        assert_fails(parse(&c, yaml), cases[i].answer);
        assert_null(strstr(error_message(), "nearest"));
        assert_fails(run_config_load(&c, NULL, &override, 1), cases[i].answer);
        assert_null(strstr(error_message(), "nearest"));
        free(yaml);
        free(override);
    }
    run_config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults),
                                       cmocka_unit_test(nested_and_flat),
                                       cmocka_unit_test(events),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(not_yaml),
                                       cmocka_unit_test(overrides),
                                       cmocka_unit_test(rules),
                                       cmocka_unit_test(written_and_read),
                                       cmocka_unit_test(presets),
                                       cmocka_unit_test(described),
                                       cmocka_unit_test(foreign_names_are_true),
                                       cmocka_unit_test(foreign_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
