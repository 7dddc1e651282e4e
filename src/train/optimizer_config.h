/* The optimisers and their rates: the section `optimizer` of a run. */
#ifndef MOEC_TRAIN_OPTIMIZER_CONFIG_H
#define MOEC_TRAIN_OPTIMIZER_CONFIG_H

#include "config/section.h"

typedef enum matrix_optimizer { MATRIX_MUON, MATRIX_ADAMW } matrix_optimizer;
typedef enum state_dtype { STATES_F32, STATES_BF16 } state_dtype;
typedef enum warmdown_shape { WARMDOWN_LINEAR, WARMDOWN_COSINE } warmdown_shape;

typedef struct optimizer_config {
    matrix_optimizer matrix_optimizer; /* of the matrices of blocks */
    state_dtype state_dtype;           /* of momentum, means and squares in memory and in checkpoints */
    double matrix_lr, embed_lr, head_lr, scalar_lr;
    double router_lr; /* 0: scalar_lr */
    double muon_momentum, muon_momentum_warmup_start;
    int64_t muon_momentum_warmup_steps, newton_schulz_steps;
    bool muon_nesterov, muon_row_normalize;
    double muon_wd, embed_wd, beta1, beta2, adam_eps;
    double grad_clip;             /* global norm; 0: none */
    double warmup_frac;           /* linear warm-up from 0 */
    double warmdown_frac, min_lr; /* to min_lr over the last part */
    warmdown_shape warmdown_shape;
} optimizer_config;

extern const config_section optimizer_section;
optimizer_config optimizer_config_default(void); /* #2102's */
status optimizer_config_check(const optimizer_config *c);

#endif
