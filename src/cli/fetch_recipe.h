/* All that a recipe of domains names, a domain after the other, and then how to go on. */
#ifndef MOEC_CLI_FETCH_RECIPE_H
#define MOEC_CLI_FETCH_RECIPE_H

#include "fetch/dataset.h"

/* Fetches one domain and says what was noteworthy. */
typedef status (*fetch_rows)(http_client *c, const dataset_request *q);
/* FOLDER/NAME.jsonl for each domain of the hub; stdout gets the `moec data` that reads them. */
status fetch_recipe(http_client *c, const char *recipe, const char *folder, fetch_rows fetch);

#endif
