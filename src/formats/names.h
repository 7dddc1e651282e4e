/* Other people's names for parameters, as data: a naming is a table of roles (nn/roles.h) and patterns. */
#ifndef MOEC_FORMATS_NAMES_H
#define MOEC_FORMATS_NAMES_H

#include "nn/model.h"
#include "nn/roles.h"

typedef struct name_rule {
    param_role role;
    const char *pattern; /* "#": the layer, "@": the expert */
} name_rule;

typedef struct naming {
    const char *name;
    const name_rule *rules; /* of one role the first is written, all are read; ends with a pattern NULL */
    bool moec;              /* roles without a rule are called as moec calls them */
} naming;

/* #480, #660 and #1692 name by modules (bigram.embed, mlp.experts.0.fc); what they call as #2102 does is not in the table. */
extern const naming naming_records;

/* The parameter of m that a tensor of this name is; NULL: none. */
param *naming_find(const naming *n, const model *m, const char *name);
/* What p is called; false where the naming has no name for its role. */
bool naming_write(const naming *n, const param *p, char name[PARAM_NAME_BYTES]);

#endif
