/* The traffic of experts: how many tokens went to each, as the scheduler counts it, since when, and kept over restarts in
 * a file:
 *     {"since", "tokens", "experts", "expert_names", "layers": [{"layer", "counts"}]}
 * which is what /v1/routing says, too. */
#ifndef MOEC_SERVE_TRAFFIC_H
#define MOEC_SERVE_TRAFFIC_H

#include "serve/served.h"

typedef struct traffic traffic;
/* path: of the file, which need not be there yet; NULL: none. One of another model is refused. */
status traffic_open(traffic **out, served *s, const char *path);
void traffic_close(traffic *t); /* does not write; NULL is fine */

cJSON *traffic_json(traffic *t);
void traffic_reset(traffic *t);   /* and the file, with the next writing */
status traffic_write(traffic *t); /* whole, or as it was; nothing to do without a path */

#endif
