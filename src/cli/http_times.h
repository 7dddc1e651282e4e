/* What the environment says of requests to servers. */
#ifndef MOEC_CLI_HTTP_TIMES_H
#define MOEC_CLI_HTTP_TIMES_H

#include "fetch/http.h"

/* `otherwise` where it is unset or empty. */
const char *cli_environment(const char *name, const char *otherwise);
/* For tests of servers that are slow: MOEC_FETCH_STALL and MOEC_FETCH_PAUSE, seconds, instead of the usual ones. */
status http_take_times(http_client *c);

#endif
