/* Where tokens went, as a table and as JSON. */
#ifndef MOEC_CLI_ROUTING_PRINT_H
#define MOEC_CLI_ROUTING_PRINT_H

#include "eval/routing.h"
#include <cjson/cJSON.h>

/* Nothing for a model without routers. `name` says which model it was. */
void routing_print(const routing_probe *p, const char *name);
void routing_to_json(const routing_probe *p, cJSON *root); /* adds "routing" */

#endif
