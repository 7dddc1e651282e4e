/* The optimisers and their rates: the section `optimizer` of a run. */
#ifndef MOEC_TRAIN_OPTIMIZER_CONFIG_H
#define MOEC_TRAIN_OPTIMIZER_CONFIG_H

#include "config/section.h"

typedef struct optimizer_config {
    double matrix_lr, embed_lr, head_lr, scalar_lr;
    double muon_momentum, muon_momentum_warmup_start;
    int64_t muon_momentum_warmup_steps, newton_schulz_steps;
    bool muon_nesterov, muon_row_normalize;
    double muon_wd, embed_wd, beta1, beta2, adam_eps;
    double grad_clip;             /* global norm; 0: none */
    double warmup_frac;           /* linear warm-up from 0 */
    double warmdown_frac, min_lr; /* linear to min_lr over the last part */
} optimizer_config;

extern const config_section optimizer_section;
optimizer_config optimizer_config_default(void); /* #2102's */
status optimizer_config_check(const optimizer_config *c);

#endif
