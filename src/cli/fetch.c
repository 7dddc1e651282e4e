/* moec fetch */
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "fetch/hub.h"
#include <stdio.h>
#include <stdlib.h>

static const char usage[] = "moec fetch ORG/NAME [--revision R] [--include GLOB]... [-o DIR]";

static const char help[] =
    "usage: moec fetch ORG/NAME [--revision R] [--include GLOB]... [-o DIR]\n"
    "\n"
    "Fetches a model from the Hugging Face hub and prints the folder that holds it. Without --include: config, "
    "tokenizer,\n"
    "chat template and safetensors, never pickles. What was cut off goes on where it stopped; a file appears under "
    "its\n"
    "name only whole and with the checksum that the hub names. What is there already is not fetched again, and where "
    "the\n"
    "hub cannot be reached it is used with a note.\n"
    "\n"
    "  --revision R    a branch, a tag or a commit (main)\n"
    "  --include GLOB  files that match, instead of the usual ones; may be given many times ('*' matches '/' too)\n"
    "  -o DIR          put them there instead of into the cache ($XDG_CACHE_HOME/moec/hub or ~/.cache/moec/hub)\n"
    "\n"
    "HF_TOKEN is the token for gated and private repositories, HF_ENDPOINT another hub than https://huggingface.co. "
    "The\n"
    "token goes to that host only.\n"
    "\n"
    "example: moec eval $(moec fetch HuggingFaceTB/SmolLM2-135M) --text book.txt\n"
    "example: moec fetch Qwen/Qwen2.5-0.5B-Instruct-GGUF --include '*q8_0.gguf' -o models/qwen\n";

static void note(void *context, const char *line) {
    (void)context;
    fprintf(stderr, "moec fetch: note: %s\n", line);
}

static const char *environment(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

/* For tests of servers that are slow: seconds, instead of the usual ones. */
static status take_times(http_client *c) {
    const char *stall = environment("MOEC_FETCH_STALL", NULL), *pause = environment("MOEC_FETCH_PAUSE", NULL);
    TRY(cli_number("MOEC_FETCH_STALL", stall, 0.01, 3600, &c->stall_seconds));
    return cli_number("MOEC_FETCH_PAUSE", pause, 0, 3600, &c->pause_seconds);
}

static status fetch_model(http_client *c, const hub_request *q) {
    hub_result r;
    status s = hub_fetch(c, q, &r);
    if (s == STATUS_OK && r.unreached) {
        char *line = xasprintf("%s; using what was fetched before", r.unreached);
        note(NULL, line);
        free(line);
    }
    if (s == STATUS_OK) printf("%s\n", r.folder);
    hub_result_free(&r);
    return s;
}

static status run(int argc, char **argv) {
    hub_request q = {.revision = "main"};
    const char **include, *revision = cli_option(&argc, argv, "--revision");
    http_client c = {0};
    q.include_count = cli_options(&argc, argv, "--include", &include);
    q.include = include;
    q.folder = cli_option(&argc, argv, "-o");
    if (revision) q.revision = revision;
    status s = cli_rest(argc, argv, 1, 1, usage);
    if (s == STATUS_OK) {
        q.repo = argv[1];
        s = http_open(&c, environment("HF_ENDPOINT", HUB_ENDPOINT), environment("HF_TOKEN", NULL));
        if (s == STATUS_OK) s = take_times(&c);
        c.note = note;
        interrupt_catch();
        if (s == STATUS_OK) s = fetch_model(&c, &q);
        http_close(&c);
    }
    free(include);
    return s;
}

const command command_fetch = {"fetch", "models and data sets from the Hugging Face hub", help, run};
