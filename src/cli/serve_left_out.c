/* moec serve, where libmicrohttpd was absent when moec was built (cmake/serve.cmake). */
#include "cli/cli.h"

static status run(int argc, char **argv) {
    (void)argc;
    (void)argv;
    return fail("serve: this moec was built without libmicrohttpd, which it needs (Debian: libmicrohttpd-dev)");
}

const command command_serve = {
    .name = "serve",
    .summary = "answer over HTTP as OpenAI's API does (left out of this build)",
    .help =
        "usage: moec serve MODEL [options]\n\n"
        "This moec was built without libmicrohttpd, which serving needs: install it (Debian: libmicrohttpd-dev) and\n"
        "build again.\n\n"
        "example: moec serve runs/demo/model.moec\n",
    .run = run,
};
