#include "cli/http_times.h"
#include "cli/cli.h"
#include <stdlib.h>

const char *cli_environment(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

status http_take_times(http_client *c) {
    const char *stall = cli_environment("MOEC_FETCH_STALL", NULL), *pause = cli_environment("MOEC_FETCH_PAUSE", NULL);
    TRY(cli_number("MOEC_FETCH_STALL", stall, 0.01, 3600, &c->stall_seconds));
    return cli_number("MOEC_FETCH_PAUSE", pause, 0, 3600, &c->pause_seconds);
}
