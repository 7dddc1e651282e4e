/* moec fetch */
#include "base/memory.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/fetch_recipe.h"
#include "cli/http_times.h"
#include "fetch/dataset.h"
#include "fetch/dataset_files.h"
#include "fetch/hub.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "moec fetch ORG/NAME [--revision R] [--include GLOB]... [-o DIR], or "
    "moec fetch --dataset ORG/NAME [--config C] [--split S] [--rows N] [--field F,F] -o FILE.jsonl";

static const char help[] =
    "usage: moec fetch ORG/NAME [--revision R] [--include GLOB]... [-o DIR]\n"
    "       moec fetch --dataset ORG/NAME [--config C] [--split S] [--rows N] [--field F,F] -o FILE.jsonl\n"
    "       moec fetch --recipe FILE.yaml -o DIR\n"
    "\n"
    "Fetches a model from the Hugging Face hub and prints the folder that holds it. Without --include: config, "
    "tokenizer,\n"
    "chat template and safetensors, never pickles. What was cut off goes on where it stopped; a file appears under "
    "its\n"
    "name only whole and with the checksum that the hub names. What is there already is not fetched again, and where "
    "the\n"
    "hub cannot be reached it is used with a note.\n"
    "\n"
    "  --revision R     a branch, a tag or a commit (main)\n"
    "  --include GLOB   files that match, instead of the usual ones; may be given many times ('*' matches '/' too)\n"
    "  -o DIR           put them there instead of into the cache ($XDG_CACHE_HOME/moec/hub or ~/.cache/moec/hub)\n"
    "\n"
    "With --dataset: rows of a data set as JSONL for moec data, a line for each; called again it goes on at the row "
    "where\n"
    "it stopped.\n"
    "\n"
    "  --config C, --split S  which part, where there are several (default, train)\n"
    "  --rows N               so many rows at most (all)\n"
    "  --field F,F            the members that make the text; a list of turns becomes messages and text (text, "
    "messages,\n"
    "                         conversations, conversation or content)\n"
    "  --template none        how turns become text: \"role: content\" and a line end each (none is all there is so "
    "far)\n"
    "  --file PATTERN         not the viewer's rows but files of the repository (at --revision): JSONL, CSV with a "
    "line of\n"
    "                         names, text; also with .gz or .zst behind\n"
    "  -o FILE.jsonl          where they go; FILE.jsonl.fetch.json beside it says how far it got\n"
    "\n"
    "With --recipe: a DOMAIN.jsonl for each domain that the file names (configs/data has some), and then the moec "
    "data\n"
    "that makes shards of them, on stdout.\n"
    "\n"
    "HF_TOKEN is the token for gated and private repositories, HF_ENDPOINT another hub than https://huggingface.co,\n"
    "HF_DATASETS_SERVER another server of rows than https://datasets-server.huggingface.co. The token goes to the "
    "host\n"
    "that is asked only.\n"
    "\n"
    "example: moec eval $(moec fetch HuggingFaceTB/SmolLM2-135M) --text book.txt\n"
    "example: moec fetch Qwen/Qwen2.5-0.5B-Instruct-GGUF --include '*q8_0.gguf' -o models/qwen\n"
    "example: moec fetch --dataset databricks/databricks-dolly-15k --field instruction,context,response -o "
    "dolly.jsonl\n";

static void note(void *context, const char *line) {
    (void)context;
    fprintf(stderr, "moec fetch: note: %s\n", line);
}

static status open_client(http_client *c, const char *variable, const char *usual) {
    TRY(http_open(c, cli_environment(variable, usual), cli_environment("HF_TOKEN", NULL)));
    c->note = note;
    return http_take_times(c);
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

/* ---- data sets ---- */

static void note_number(long long number, const char *what) {
    if (number) fprintf(stderr, "moec fetch: note: %lld %s\n", number, what);
}

static void note_rows(const dataset_result *r) {
    note_number(r->empty, "rows without text were left out");
    note_number(r->cut, "rows that the server had shortened were left out");
    note_number(r->mended, "characters that are no Unicode were replaced");
}

static status fetch_dataset(http_client *c, const dataset_request *q) {
    dataset_result r;
    status s = dataset_fetch(c, q, &r);
    note_rows(&r);
    return s;
}

static status fetch_files(http_client *c, const dataset_request *q, const char *revision, const char *pattern) {
    dataset_result r;
    status s = dataset_files_fetch(c, q, revision ? revision : "main", pattern, &r);
    if (s == STATUS_OK) note_rows(&r);
    return s;
}

/* Options as they were given. */
typedef struct settings {
    const char **include;
    int include_count;
    const char *revision, *out, *recipe, *dataset, *file, *config, *split, *fields, *rows, *template;
} settings;

static status check(const settings *s) {
    const bool of_model = s->include_count || (s->revision && !s->file);
    const bool of_rows = s->file || s->config || s->split || s->fields || s->rows || s->template;
    if (s->recipe && (s->dataset || of_model || of_rows))
        return fail_usage("--recipe: says all of it; expected -o DIR and nothing else");
    if (s->recipe && !s->out) return fail_usage("--recipe: expected -o DIR");
    if (s->dataset && of_model) return fail_usage("--dataset: has no --revision and --include");
    if (!s->dataset && of_rows)
        return fail_usage("--file, --config, --split, --rows, --field, --template: expected --dataset ORG/NAME too");
    if (s->template && strcmp(s->template, "none") != 0)
        return fail_usage("--template: expected none, found `%s`", s->template);
    if (s->file && (s->config || s->split)) return fail_usage("--file: has no --config and --split");
    return s->dataset && !s->out ? fail_usage("--dataset: expected -o FILE.jsonl") : STATUS_OK;
}

static status run_dataset(const settings *set) {
    http_client c = {0};
    row_form form;
    long long rows = 0;
    TRY(cli_integer("--rows", set->rows, 1, 1LL << 53, &rows));
    TRY(row_form_open(&form, set->fields));
    dataset_request q = {.dataset = set->dataset,
                         .config = set->config,
                         .split = set->split,
                         .rows = rows,
                         .form = &form,
                         .out = set->out};
    status s = set->file ? open_client(&c, "HF_ENDPOINT", HUB_ENDPOINT)
                         : open_client(&c, "HF_DATASETS_SERVER", DATASET_SERVER);
    if (s == STATUS_OK) s = set->file ? fetch_files(&c, &q, set->revision, set->file) : fetch_dataset(&c, &q);
    if (s == STATUS_OK) printf("%s\n", q.out);
    http_close(&c);
    row_form_close(&form);
    return s;
}

static status run_recipe(const settings *set) {
    http_client c = {0};
    status s = open_client(&c, "HF_DATASETS_SERVER", DATASET_SERVER);
    if (s == STATUS_OK) s = fetch_recipe(&c, set->recipe, set->out, fetch_dataset);
    http_close(&c);
    return s;
}

static status run_model(const settings *set, const char *repo) {
    http_client c = {0};
    const hub_request q = {.repo = repo,
                           .revision = set->revision ? set->revision : "main",
                           .include = set->include,
                           .include_count = set->include_count,
                           .folder = set->out};
    status s = open_client(&c, "HF_ENDPOINT", HUB_ENDPOINT);
    if (s == STATUS_OK) s = fetch_model(&c, &q);
    http_close(&c);
    return s;
}

static status run(int argc, char **argv) {
    settings set = {0};
    set.include_count = cli_options(&argc, argv, "--include", &set.include);
    set.revision = cli_option(&argc, argv, "--revision");
    set.out = cli_option(&argc, argv, "-o");
    set.recipe = cli_option(&argc, argv, "--recipe");
    set.dataset = cli_option(&argc, argv, "--dataset");
    set.template = cli_option(&argc, argv, "--template");
    set.file = cli_option(&argc, argv, "--file");
    set.config = cli_option(&argc, argv, "--config");
    set.split = cli_option(&argc, argv, "--split");
    set.fields = cli_option(&argc, argv, "--field");
    set.rows = cli_option(&argc, argv, "--rows");
    const int repos = set.dataset || set.recipe ? 0 : 1;
    status s = cli_rest(argc, argv, repos, repos, usage);
    if (s == STATUS_OK) s = check(&set);
    if (s == STATUS_OK) {
        interrupt_catch();
        s = set.recipe ? run_recipe(&set) : set.dataset ? run_dataset(&set) : run_model(&set, argv[1]);
    }
    free(set.include);
    return s;
}

const command command_fetch = {
    .name = "fetch", .summary = "models and data sets from the Hugging Face hub", .help = help, .run = run};
