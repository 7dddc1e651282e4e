#include "train/train_config.h"
#include "base/memory.h"

static const char *const dtype_names[] = {"auto", "f32", "bf16", NULL};

#define FIELD(type, member, least, most, choices, meaning)                                                             \
    CONFIG_FIELD(train_config, #member, type, member, least, most, choices, meaning)

static const config_field fields[] = {
    FIELD(FIELD_STRING, run, 1, 0, NULL, "folder of the run: checkpoints, log.jsonl, config.yaml"),
    FIELD(FIELD_INT64, batch, 1, 65536, NULL, "sequences a micro-batch"),
    FIELD(FIELD_INT64, seq, 1, 1 << 20, NULL, "tokens a sequence"),
    FIELD(FIELD_INT64, accumulate, 1, 65536, NULL, "micro-batches a step"),
    FIELD(FIELD_INT64, steps, 0, 1e12, NULL, "length of the schedule; 0: max_seconds alone decides"),
    FIELD(FIELD_DOUBLE, max_seconds, 0, 1e9, NULL, "> 0: the schedule runs on seconds of training and stops there"),
    FIELD(FIELD_UINT64, seed, 0, 1.8446744073709552e19, NULL, "of the weights and the order of the data"),
    FIELD(FIELD_BOOL, shuffle, 0, 0, NULL, "visit the data in a random order"),
    FIELD(FIELD_STRING, dtype, 1, 0, dtype_names, "of activations and products"),
    FIELD(FIELD_INT64, checkpoint_every, 0, 1e12, NULL, "steps between checkpoints; 0: only at the end"),
    FIELD(FIELD_DOUBLE, checkpoint_seconds, 0, 1e9, NULL, "and at least this often; 0: no"),
    FIELD(FIELD_INT64, keep_checkpoints, 1, 1e6, NULL, "newest checkpoints that stay"),
    FIELD(FIELD_INT64, val_every, 0, 1e12, NULL, "steps between looks at the held-out loss; 0: none"),
    FIELD(FIELD_INT64, val_tokens, 1, 1e12, NULL, "held-out tokens of such a look"),
    FIELD(FIELD_INT64, log_every, 1, 1e12, NULL, "steps between console lines"),
};

const config_section train_section = {"train", TABLE_AND_COUNT(fields)};

train_config train_config_default(void) {
    return (train_config){
        .run = xstrdup("runs/run"),
        .batch = 8, /* × 32 × 2048 = 524,288 tokens a step */
        .seq = 2048,
        .accumulate = 32,
        .steps = 5000,
        .seed = 1337,
        .shuffle = true,
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
    if (c->steps == 0 && c->max_seconds == 0)
        return fail_usage("steps: expected at least 1 where max_seconds is 0, found 0");
    return STATUS_OK;
}
