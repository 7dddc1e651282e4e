/* What a training learns from a teacher besides its text (nn/pass.h): the section `distill` of a run. */
#ifndef MOEC_TRAIN_DISTILL_CONFIG_H
#define MOEC_TRAIN_DISTILL_CONFIG_H

#include "config/curve.h"
#include "config/section.h"
#include "nn/config.h"

typedef enum divergence_kind { DIVERGENCE_FORWARD, DIVERGENCE_REVERSE } divergence_kind;

typedef struct distill_config {
    char *teacher;        /* folder of a cache that `moec teach` made; NULL: none */
    curve teacher_weight; /* of kl */
    curve ce_weight;      /* of the cross-entropy with the text */
    double temperature;   /* τ of kl */
    divergence_kind divergence;
    char *teacher_model; /* whatever opens as a model, whose hidden states are compared; NULL: none */
    curve hidden_weight;
    bool hidden_layers[MODEL_MAX_LAYERS + 1]; /* none: the end of the stream, num_layers */
} distill_config;

extern const config_section distill_section;
distill_config distill_config_default(void); /* no teacher */
/* num_layers: of the model that is trained. */
status distill_config_check(const distill_config *c, int num_layers);

#endif
