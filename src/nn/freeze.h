/* Parameters that are not trained: they have no gradients, and no optimiser keeps anything for them. */
#ifndef MOEC_NN_FREEZE_H
#define MOEC_NN_FREEZE_H

#include "nn/model.h"

/* A pattern is the name of a component (component_name: "attention", "experts", "norms" …), or a shell pattern of parameters'
 * names ("blocks.[0-5].*", "*.router.weight"). What any of them means is frozen. */
typedef struct freeze_list {
    char **patterns;
    int count;
} freeze_list;

/* A model for training of which a part is frozen, now and in whatever its events make of it. */
status model_create_frozen(model **out, const model_config *config, const kernels *k, const freeze_list *frozen);
/* A pattern that means no parameter of m, and is no component's name, is an error. */
status freeze_list_check(const freeze_list *frozen, const model *m);

/* ---- for nn/ itself; the list may be NULL ---- */
bool freeze_list_matches(const freeze_list *frozen, const param *p);
freeze_list *freeze_list_copy(const freeze_list *frozen);
void freeze_list_free(freeze_list *frozen);

#endif
