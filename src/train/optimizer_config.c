#include "train/optimizer_config.h"

#define FIELD(type, member, least, most, meaning)                                                                      \
    CONFIG_FIELD(optimizer_config, #member, type, member, least, most, NULL, meaning)

static const char *const optimizer_names[] = {"muon", "adamw", NULL};
static const char *const dtype_names[] = {"f32", "bf16", NULL};
static const char *const shape_names[] = {"linear", "cosine", NULL};

#define CHOICE(member, choices, meaning)                                                                               \
    CONFIG_FIELD(optimizer_config, #member, FIELD_CHOICE, member, 0, 0, choices, meaning)

static const config_field fields[] = {
    CHOICE(matrix_optimizer, optimizer_names,
           "of the matrices of blocks: Muon, or AdamW with beta1, beta2 and adam_eps"),
    FIELD(FIELD_DOUBLE, matrix_lr, 0, 10, "rate of the matrices of blocks"),
    FIELD(FIELD_DOUBLE, embed_lr, 0, 10, "AdamW's rate, embeddings"),
    FIELD(FIELD_DOUBLE, head_lr, 0, 10, "Adam's rate, an untied head"),
    FIELD(FIELD_DOUBLE, scalar_lr, 0, 10, "Adam's rate, gains, gates, routers"),
    FIELD(FIELD_DOUBLE, router_lr, 0, 10, "Adam's rate, routers of experts; 0: scalar_lr"),
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
    FIELD(FIELD_DOUBLE, warmdown_frac, 0, 1, "warm-down over this last part"),
    CHOICE(warmdown_shape, shape_names, "linear, or half a cosine"),
    FIELD(FIELD_DOUBLE, min_lr, 0, 1, "factor of the rates at the end"),
    CHOICE(state_dtype, dtype_names, "of the optimisers' running means; bf16 takes half the memory"),
};

#define SCHEDULE "warmup_frac, then constant rates, then warmdown_frac to min_lr, by warmdown_shape linear or cosine"
#define OPTIMIZERS "muon or adamw, of the matrices; everything else is trained by Adam"

static const foreign_key foreign[] = {
    {"lr", "matrix_lr", "and embed_lr, scalar_lr"},
    {"learning_rate", "matrix_lr", "and embed_lr, scalar_lr"},
    {"max_lr", "matrix_lr", "and embed_lr, scalar_lr"},
    {"muon_lr", "matrix_lr", NULL},
    {"adam_lr", "scalar_lr", "and embed_lr"},
    {"min_learning_rate", "min_lr", "a factor of the rates"},
    {"lr_min", "min_lr", "a factor of the rates"},
    {"learning_rate_min", "min_lr", "a factor of the rates"},
    {"min_lr_r*", "min_lr", "a factor of the rates"},
    {"lr_embed*", "embed_lr", NULL},
    {"embedding_lr", "embed_lr", NULL},
    {"embedding_learning_rate", "embed_lr", NULL},
    {"unembedding_lr", "head_lr", NULL},
    {"gate_lr", "router_lr", NULL},
    {"eta_min", "min_lr", "a factor of the rates"},
    {"warmup", "warmup_frac", "a part of the training"},
    {"warmup_ratio", "warmup_frac", NULL},
    {"warmup_steps", "warmup_frac", "a part of the training, not steps"},
    {"warmup_tokens", "warmup_frac", "a part of the training, not tokens"},
    {"warmup_epochs", "warmup_frac", "a part of the training, not epochs"},
    {"warmup_iters", "warmup_frac", "a part of the training, not steps"},
    {"num_warmup_steps", "warmup_frac", "a part of the training, not steps"},
    {"lr_warmup_*", "warmup_frac", "a part of the training, not steps"},
    {"lr_decay_iters", "warmdown_frac", "a part of the training, not steps"},
    {"lr_decay_steps", "warmdown_frac", "a part of the training, not steps"},
    {"decay_steps", "warmdown_frac", "a part of the training, not steps"},
    {"num_decay_steps", "warmdown_frac", "a part of the training, not steps"},
    {"warmdown_iters", "warmdown_frac", "a part of the training, not steps"},
    {"cooldown*", "warmdown_frac", "a part of the training"},
    {"lr_schedule*", "warmdown_shape", SCHEDULE},
    {"cosine*", "warmdown_shape", SCHEDULE},
    {"lr_decay_style", "warmdown_shape", SCHEDULE},
    {"scheduler", "warmdown_shape", SCHEDULE},
    {"optimizer", "matrix_optimizer", OPTIMIZERS},
    {"optim", "matrix_optimizer", OPTIMIZERS},
    {"optim_*", "matrix_optimizer", OPTIMIZERS},
    {"optimizer_*", "matrix_optimizer", OPTIMIZERS},
    {"opt", "matrix_optimizer", OPTIMIZERS},
    {"muon", "matrix_optimizer", OPTIMIZERS},
    {"use_muon", "matrix_optimizer", OPTIMIZERS},
    {"adamw*", "matrix_optimizer", OPTIMIZERS},
    {"wd", "muon_wd", "of matrices, and embed_wd of embeddings"},
    {"weight_decay", "muon_wd", "of matrices, and embed_wd of embeddings"},
    {"momentum", "muon_momentum", NULL},
    {"nesterov", "muon_nesterov", NULL},
    {"ns_steps", "newton_schulz_steps", NULL},
    {"betas", "beta1", "and beta2"},
    {"adam_beta1", "beta1", NULL},
    {"adam_beta2", "beta2", NULL},
    {"adam_epsilon", "adam_eps", NULL},
    {"epsilon", "adam_eps", NULL},
    {"eps", "adam_eps", NULL},
    {"max_grad_norm", "grad_clip", NULL},
    {"clip_grad*", "grad_clip", NULL},
    {"gradient_clip*", "grad_clip", NULL},
    {"grad_clip_norm", "grad_clip", NULL},
    {"grad_norm_clip", "grad_clip", NULL},
    {"max_norm", "grad_clip", NULL},
};

const config_section optimizer_section = {"optimizer", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};

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
