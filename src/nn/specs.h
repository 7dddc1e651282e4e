/* Every parameter that a config's model has, as data: its role, shape and place, in the order of the state dict. Creating a
 * model, binding parameters to pointers, initial values, counting and packing all walk this one list. */
#ifndef MOEC_NN_SPECS_H
#define MOEC_NN_SPECS_H

#include "nn/plan.h"
#include "nn/roles.h"
#include <stdint.h>

typedef struct param_spec {
    param_role role;
    int layer, expert; /* −1 where there is none */
    int ndim;
    int64_t shape[2];
} param_spec;

typedef void (*param_visitor)(void *context, const param_spec *spec);
void model_specs_visit(const model_config *c, param_visitor visit, void *context);
/* Its name in moec's files and messages. */
void param_spec_name(const param_spec *spec, char name[PARAM_NAME_BYTES]);

#endif
