#include "train/optimizer_config.h"

#define FIELD(type, member, least, most, meaning)                                                                      \
    CONFIG_FIELD(optimizer_config, #member, type, member, least, most, NULL, meaning)

static const config_field fields[] = {
    FIELD(FIELD_DOUBLE, matrix_lr, 0, 10, "Muon's rate, matrices of blocks"),
    FIELD(FIELD_DOUBLE, embed_lr, 0, 10, "AdamW's rate, embeddings"),
    FIELD(FIELD_DOUBLE, head_lr, 0, 10, "Adam's rate, an untied head"),
    FIELD(FIELD_DOUBLE, scalar_lr, 0, 10, "Adam's rate, gains, gates, routers"),
    FIELD(FIELD_DOUBLE, muon_momentum, 0, 0.99999, "Muon's momentum"),
    FIELD(FIELD_DOUBLE, muon_momentum_warmup_start, 0, 0.99999, "its value at step 0"),
    FIELD(FIELD_INT64, muon_momentum_warmup_steps, 0, 1e12, "steps until muon_momentum is reached"),
    FIELD(FIELD_INT64, newton_schulz_steps, 1, 20, "orthogonalisation steps of Muon"),
    FIELD(FIELD_BOOL, muon_nesterov, 0, 0, "Nesterov momentum"),
    FIELD(FIELD_BOOL, muon_row_normalize, 0, 0, "rows of the gradient to unit length first"),
    FIELD(FIELD_DOUBLE, muon_wd, 0, 10, "decoupled weight decay of matrices"),
    FIELD(FIELD_DOUBLE, embed_wd, 0, 10, "decoupled weight decay of embeddings"),
    FIELD(FIELD_DOUBLE, beta1, 0, 0.99999, "Adam's decay of the mean"),
    FIELD(FIELD_DOUBLE, beta2, 0, 0.999999, "Adam's decay of the square"),
    FIELD(FIELD_DOUBLE, adam_eps, 1e-16, 1, "Adam's epsilon"),
    FIELD(FIELD_DOUBLE, grad_clip, 0, 1e6, "global gradient norm; 0: none"),
    FIELD(FIELD_DOUBLE, warmup_frac, 0, 1, "linear warm-up over this part of the training"),
    FIELD(FIELD_DOUBLE, warmdown_frac, 0, 1, "linear warm-down over this last part"),
    FIELD(FIELD_DOUBLE, min_lr, 0, 1, "factor of the rates at the end"),
};

const config_section optimizer_section = {"optimizer", TABLE_AND_COUNT(fields)};

optimizer_config optimizer_config_default(void) {
    return (optimizer_config){
        .matrix_lr = 0.022,
        .embed_lr = 0.03,
        .head_lr = 0.008,
        .scalar_lr = 0.02,
        .muon_momentum = 0.99,
        .muon_momentum_warmup_start = 0.92,
        .muon_momentum_warmup_steps = 1500,
        .newton_schulz_steps = 5,
        .muon_nesterov = true,
        .muon_row_normalize = true,
        .muon_wd = 0.095,
        .embed_wd = 0.085,
        .beta1 = 0.9,
        .beta2 = 0.95,
        .adam_eps = 1e-8,
        .grad_clip = 0.3,
        .warmdown_frac = 0.72,
        .min_lr = 0.1,
    };
}

status optimizer_config_check(const optimizer_config *c) {
    TRY(section_check(&optimizer_section, c));
    if (c->warmup_frac + c->warmdown_frac > 1)
        return fail_usage("warmup_frac: expected at most 1 - warmdown_frac = %g, found %g", 1 - c->warmdown_frac,
                          c->warmup_frac);
    return STATUS_OK;
}
