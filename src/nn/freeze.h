/* Parameters that are not trained: they have no gradients, and no optimiser keeps anything for them. */
#ifndef MOEC_NN_FREEZE_H
#define MOEC_NN_FREEZE_H

#include "config/names.h"
#include "nn/model.h"
#include "nn/roles.h"

/* A list of patterns: the name of a component (component_name: "attention", "experts", "norms" …), or a shell pattern of parameters'
 * names ("blocks.[0-5].*", "*.router.weight"). What any of them means is frozen. */

/* A model for training of which a part is frozen, now and in whatever its events make of it. */
status model_create_frozen(model **out, const model_config *config, const kernels *k, const name_list *frozen);
/* The same where ranks have its experts between them (spread.h). */
status model_create_spread(model **out, const model_config *config, const kernels *k, const name_list *frozen,
                           comm_group spread);
/* A pattern that means no parameter of m, and is no component's name, is an error. */
status freeze_check(const name_list *frozen, const model *m);

/* Whether one of them means the parameter of that role and name. */
bool freeze_matches(const name_list *frozen, param_role role, const char *name);

#endif
