#include "train/average_config.h"

static const char *const average_names[] = {"none", "ema", "swa", NULL};
static const char *const start_words[] = {"warmdown", NULL}; /* START_AT_WARMDOWN */
_Static_assert(sizeof(average_kind) == sizeof(int), "FIELD_CHOICE stores an int");

#define FIELD(type, key, member, least, most, choices, meaning)                                                        \
    CONFIG_FIELD(average_config, key, type, member, least, most, choices, meaning)

static const config_field fields[] = {
    FIELD(FIELD_CHOICE, "average", kind, 0, 0, average_names,
          "mean of the weights: moving (ema) or uniform over checkpoints (swa)"),
    FIELD(FIELD_DOUBLE, "ema_decay", ema_decay, 0, 0.999999, NULL, "of the moving average; 0: none is kept"),
    FIELD(FIELD_DOUBLE, "ema_start", ema_start, 0, 1, start_words,
          "part of the training where it begins as a copy of the weights; 0: at once, ramped"),
    FIELD(FIELD_DOUBLE, "swa_start", swa_start, 0, 1, start_words,
          "part of the training where swa begins to take checkpoints"),
    FIELD(FIELD_INT64, "swa_every", swa_every, 1, 1e12, NULL, "steps between those checkpoints"),
    FIELD(
        FIELD_INT64, "choice_tokens", choice_tokens, 0, 1e12, NULL,
        "training tokens (at most 2 %) kept aside to find out at the end whether live or averaged weights are better"),
};

static const foreign_key foreign[] = {
    {"ema", "average", "ema"},       {"use_ema", "average", "ema"},
    {"swa", "average", "swa"},       {"ema_beta", "ema_decay", NULL},
    {"ema_rate", "ema_decay", NULL}, {"swa_epoch_start", "swa_start", "a part of the training, not epochs"},
};

const config_section average_section = {"average", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};

average_config average_config_default(void) {
    return (average_config){.kind = AVERAGE_EMA,
                            .ema_decay = 0.9965,
                            .swa_start = START_AT_WARMDOWN,
                            .swa_every = 50,
                            .choice_tokens = 16384};
}

bool average_is_kept(const average_config *c) {
    return c->kind == AVERAGE_SWA || (c->kind == AVERAGE_EMA && c->ema_decay > 0);
}
