/* From domains of the text to experts of the model: by name. */
#ifndef MOEC_TRAIN_LABELS_H
#define MOEC_TRAIN_LABELS_H

#include "nn/pass.h"
#include "text/loader.h"
#include "train/label_config.h"

typedef struct labels {
    int *expert_of; /* [domains] −1: a domain that is not drawn */
    int domains;    /* 0: there are no labels */
} labels;

/* The experts' names and the domains that are drawn must be the same ones. Experts without names get those of the domains, in the
 * domains' order. */
status labels_bind(labels *l, const label_config *c, const loader *data, model_config *model);
void labels_free(labels *l);
/* What p is to use at this fraction of the training; c and l outlive the use. */
void labels_apply(const labels *l, const label_config *c, pass *p, double fraction);

/* Means over the routers [routed], of the tokens that have a label: cross-entropy in nats, and the share whose expert is the most
 * probable one. False: none has one. */
bool labels_found(const routing_entry *routing, int routed, double *ce, double *hits);

#endif
