#include "eval/eval_config.h"

/* None of these has to do with training. */
#define FIELD(type, key, member, least, most, meaning)                                                                 \
    CONFIG_FIELD_CHANGE(eval_config, key, type, member, least, most, NULL, CHANGE_HARMLESS, meaning)

static const config_field fields[] = {
    FIELD(FIELD_INT64, "eval_stride", stride, 1, 1 << 20, "new tokens a window; the rest of seq is context"),
    FIELD(FIELD_DOUBLE, "blend_lambda", blend_lambda, 0, 1, "weight of the causal bigram blend"),
};

static const foreign_key foreign[] = {
    {"stride", "eval_stride", NULL},
    {"doc_stride", "eval_stride", NULL},
    {"sliding_window_stride", "eval_stride", NULL},
};

const config_section eval_section = {"eval", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};

eval_config eval_config_default(void) {
    return (eval_config){.stride = 2048, .blend_lambda = 0.03};
}
