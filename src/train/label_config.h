/* Named experts: which expert the tokens of a domain are meant for, and how that is taught. The section `labels` of a run. */
#ifndef MOEC_TRAIN_LABEL_CONFIG_H
#define MOEC_TRAIN_LABEL_CONFIG_H

#include "config/curve.h"
#include "config/section.h"
#include "nn/config.h"

typedef enum label_routing {
    LABEL_BY_TOKEN, /* the router chooses for each token, and is taught */
    LABEL_BY_DOCUMENT /* in training a document's tokens go to its domain's expert alone (DEMix layers, arXiv 2108.05036) */
} label_routing;

typedef struct label_config {
    curve weight; /* of the routers' cross-entropy against the domains' experts; 0: they are not taught */
    bool layers[MODEL_MAX_LAYERS]; /* whose routers are taught; none: all */
    label_routing routing;
} label_config;

extern const config_section label_section;
label_config label_config_default(void); /* no labels */
bool labels_are_used(const label_config *c);
/* The rules between this section and the model that a training begins with. */
status label_config_fit(const label_config *c, const model_config *model);

#endif
