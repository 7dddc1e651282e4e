/* The record scripts' models (openai/parameter-golf #2102, #480, #660, #1692): what their constructors' arguments mean. */
#ifndef MOEC_FORMATS_RECORDS_H
#define MOEC_FORMATS_RECORDS_H

#include "nn/config.h"

/* The architecture that the arguments in a parity case's config.json mean; `where` names the file. Families that moec does
 * not know and arguments that it does not understand are errors. */
status record_config(model_config *c, const cJSON *json, const char *where);

#endif
