#include "train/train_config.h"
#include "base/memory.h"

static const char *const device_names[] = {"cpu", NULL};
static const char *const dtype_names[] = {"auto", "f32", "bf16", NULL};

#define FIELD(type, member, least, most, choices, meaning)                                                             \
    CONFIG_FIELD(train_config, #member, type, member, least, most, choices, meaning)
/* A run may be resumed with another value of these. */
#define FREE(type, member, least, most, meaning)                                                                       \
    CONFIG_FIELD_CHANGE(train_config, #member, type, member, least, most, NULL, CHANGE_HARMLESS, meaning)
#define GROWS(type, member, least, most, meaning)                                                                      \
    CONFIG_FIELD_CHANGE(train_config, #member, type, member, least, most, NULL, CHANGE_GROWS, meaning)

static const config_field fields[] = {
    FREE(FIELD_STRING, run, 1, 0, "folder of the run: checkpoints, log.jsonl, config.yaml"),
    CONFIG_FIELD_CHANGE(train_config, "init", FIELD_STRING, init, 0, 0, NULL, CHANGE_ANOTHER_PLACE,
                        "run, checkpoint, artifact, Hugging Face folder or GGUF file whose weights it begins with"),
    FIELD(FIELD_INT64, batch, 1, 65536, NULL, "sequences a micro-batch"),
    FIELD(FIELD_INT64, seq, 1, 1 << 20, NULL, "tokens a sequence"),
    FIELD(FIELD_INT64, accumulate, 1, 65536, NULL, "micro-batches a step"),
    GROWS(FIELD_INT64, steps, 0, 1e12, "length of the schedule and the training; 0: max_seconds alone decides"),
    FREE(FIELD_DOUBLE, max_seconds, 0, 1e9, "> 0: where this comes before the steps, schedule and training end here"),
    FIELD(FIELD_UINT64, seed, 0, 1.8446744073709552e19, NULL, "of the weights and the order of the data"),
    FIELD(FIELD_BOOL, shuffle, 0, 0, NULL, "visit the data in a random order"),
    FIELD(FIELD_STRING, device, 1, 0, device_names, "what computes"),
    FIELD(FIELD_STRING, dtype, 1, 0, dtype_names, "of activations and products"),
    FREE(FIELD_INT64, checkpoint_every, 0, 1e12, "steps between checkpoints; 0: only at the end"),
    FREE(FIELD_DOUBLE, checkpoint_seconds, 0, 1e9, "and at least this often; 0: no"),
    FREE(FIELD_INT64, keep_checkpoints, 1, 1e6, "newest checkpoints that stay"),
    FREE(FIELD_INT64, val_every, 0, 1e12, "steps between looks at the held-out loss; 0: none"),
    FREE(FIELD_INT64, val_tokens, 1, 1e12, "held-out tokens of such a look, the same part of every domain"),
    FREE(FIELD_BOOL, keep_best, 0, 0, "save at each look that is the best so far, and keep it as checkpoints/best"),
    FREE(FIELD_INT64, early_stop, 0, 1e6, "end after so many looks in a row without a gain; 0: no"),
    FREE(FIELD_DOUBLE, early_stop_delta, 0, 100, "what a gain is at least, in bits per byte"),
    FREE(FIELD_BOOL, tensorboard, 0, 0, "write the log for TensorBoard too: tensorboard --logdir RUN"),
    FREE(FIELD_BOOL, log_csv, 0, 0, "write the log as a table too: RUN/log.csv"),
    FREE(FIELD_INT64, log_every, 1, 1e12, "steps between console lines"),
};

#define NO_EPOCHS "moec does not count epochs; steps or max_seconds says how long it trains"

/* Hugging Face's and Lightning's trainers, llama.cpp's options, nanoGPT's and Megatron's arguments. */
static const foreign_key foreign[] = {
    {"output_dir", "run", NULL},
    {"out_dir", "run", NULL},
    {"save_dir", "run", NULL},
    {"model_name_or_path", "init", "and `run` is where the new one goes"},
    {"pretrained*", "init", NULL},
    {"from_pretrained", "init", NULL},
    {"init_from*", "init", NULL},
    {"init_checkpoint", "init", NULL},
    {"init_ckpt", "init", NULL},
    {"load_checkpoint", "init", "or --resume, which goes on with the run itself"},
    {"finetune*", "init", "the model to begin with"},
    {"base_model", "init", NULL},
    {"warm_start*", "init", NULL},
    {"run_name", "run", "a folder"},
    {"batch_size", "batch", "sequences; accumulate such batches are a step"},
    {"micro_batch_size", "batch", "sequences; accumulate such batches are a step"},
    {"device_batch_size", "batch", "sequences; accumulate such batches are a step"},
    {"train_batch_size", "batch", "sequences; accumulate such batches are a step"},
    {"per_device_train_batch_size", "batch", "sequences; accumulate such batches are a step"},
    {"per_device_eval_batch_size", "batch", "evaluation takes as many sequences as training"},
    {"global_batch_size", "batch", "times accumulate: sequences a step"},
    {"total_batch_size", "batch", "times accumulate: sequences a step"},
    {"gradient_accumulation*", "accumulate", NULL},
    {"grad_accum*", "accumulate", NULL},
    {"accumulate_grad_batches", "accumulate", NULL},
    {"max_seq_len*", "seq", "tokens"},
    {"max_sequence_length", "seq", "tokens"},
    {"seq_len*", "seq", "tokens"},
    {"sequence_len*", "seq", "tokens"},
    {"block_size", "seq", "tokens"},
    {"context_length", "seq", "tokens"},
    {"context_size", "seq", "tokens"},
    {"ctx_size", "seq", "tokens"},
    {"ctx_len", "seq", "tokens"},
    {"n_ctx", "seq", "tokens"},
    {"max_position_embeddings", "seq", "tokens; positions are rotary and have no table"},
    {"model_max_length", "seq", "tokens"},
    {"max_length", "seq", "tokens"},
    {"cutoff_len", "seq", "tokens"},
    {"max_steps", "steps", NULL},
    {"max_iters", "steps", NULL},
    {"max_train_steps", "steps", NULL},
    {"num_train_steps", "steps", NULL},
    {"num_steps", "steps", NULL},
    {"num_iterations", "steps", NULL},
    {"train_iters", "steps", NULL},
    {"iterations", "steps", NULL},
    {"total_steps", "steps", NULL},
    {"num_train_epochs", NULL, NO_EPOCHS},
    {"num_epochs", NULL, NO_EPOCHS},
    {"n_epochs", NULL, NO_EPOCHS},
    {"max_epochs", NULL, NO_EPOCHS},
    {"epochs", NULL, NO_EPOCHS},
    {"max_time", "max_seconds", NULL},
    {"random_seed", "seed", NULL},
    {"data_seed", "seed", NULL},
    {"fp16", "dtype", "bf16, f32 or auto; there is no fp16"},
    {"bf16", "dtype", "bf16, f32 or auto"},
    {"fp32", "dtype", "bf16, f32 or auto"},
    {"precision", "dtype", "bf16, f32 or auto"},
    {"mixed_precision", "dtype", "bf16, f32 or auto"},
    {"torch_dtype", "dtype", "bf16, f32 or auto"},
    {"save_steps", "checkpoint_every", "steps"},
    {"save_interval", "checkpoint_every", "steps"},
    {"save_every", "checkpoint_every", "steps"},
    {"checkpoint_interval", "checkpoint_every", "steps"},
    {"save_total_limit", "keep_checkpoints", NULL},
    {"eval_steps", "val_every", "steps"},
    {"eval_interval", "val_every", "steps"},
    {"eval_every", "val_every", "steps"},
    {"val_interval", "val_every", "steps"},
    {"val_check_interval", "val_every", "steps"},
    {"eval_iters", "val_tokens", "tokens, not batches"},
    {"limit_val_batches", "val_tokens", "tokens, not batches"},
    {"load_best_model_at_end", "keep_best", "the best checkpoint is checkpoints/best then"},
    {"save_best*", "keep_best", NULL},
    {"save_top_k", "keep_best", "and keep_checkpoints, of the newest"},
    {"metric_for_best_model", "keep_best", "by bits per byte of held-out text"},
    {"greater_is_better", "keep_best", "by bits per byte of held-out text"},
    {"patience", "early_stop", "looks, each after val_every steps"},
    {"early_stopping_patience", "early_stop", "looks, each after val_every steps"},
    {"early_stopping_threshold", "early_stop_delta", "bits per byte"},
    {"early_stopping*", "early_stop", "looks, each after val_every steps"},
    {"min_delta", "early_stop_delta", "bits per byte"},
    {"report_to", "tensorboard", "or log_csv; log.jsonl is always written"},
    {"log_to_tensorboard", "tensorboard", NULL},
    {"tensorboard_dir", "tensorboard", "true or false; events lie in the run's folder"},
    {"logging_dir", "tensorboard", "true or false; events lie in the run's folder"},
    {"use_tensorboard", "tensorboard", NULL},
    {"wandb*", NULL, "moec writes log.jsonl, and with tensorboard: true or log_csv: true what other programs read"},
    {"use_wandb", NULL, "moec writes log.jsonl, and with tensorboard: true or log_csv: true what other programs read"},
    {"csv", "log_csv", NULL},
    {"logging_steps", "log_every", NULL},
    {"log_interval", "log_every", NULL},
    {"log_steps", "log_every", NULL},
    {"resume*", NULL, "--resume goes on with the run that the key run names"},
    {"gradient_checkpointing", NULL, "moec has none; a smaller batch with a larger accumulate needs less memory"},
    {"num_workers", NULL, "moec maps its shards and needs no workers"},
    {"dataloader_num_workers", NULL, "moec maps its shards and needs no workers"},
    {"lora*", NULL, "moec has no LoRA: all weights are trained"},
    {"qlora*", NULL, "moec has no LoRA: all weights are trained"},
    {"use_lora", NULL, "moec has no LoRA: all weights are trained"},
    {"peft*", NULL, "moec has no LoRA: all weights are trained"},
};

const config_section train_section = {"train", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};

train_config train_config_default(void) {
    return (train_config){
        .run = xstrdup("runs/run"),
        .batch = 8, /* × 32 × 2048 = 524,288 tokens a step */
        .seq = 2048,
        .accumulate = 32,
        .steps = 5000,
        .seed = 1337,
        .shuffle = true,
        .device = xstrdup("cpu"),
        .dtype = xstrdup("auto"),
        .checkpoint_every = 1000,
        .checkpoint_seconds = 600,
        .keep_checkpoints = 2,
        .val_every = 1000,
        .val_tokens = 524288,
        .log_every = 10,
    };
}

status train_config_check(const train_config *c) {
    TRY(section_check(&train_section, c));
    if (c->val_every == 0 && (c->keep_best || c->early_stop > 0))
        return fail_usage("val_every: expected at least 1, for the looks of %s, found 0",
                          c->keep_best ? "keep_best" : "early_stop");
    if (c->steps == 0 && c->max_seconds == 0)
        return fail_usage("steps: expected at least 1 where max_seconds is 0, found 0");
    return STATUS_OK;
}
