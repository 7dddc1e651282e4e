/* moec teach --endpoint */
#include "cli/teach_endpoint.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/http_times.h"
#include "fetch/crew.h"
#include "fetch/teach.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char teach_endpoint_usage[] = "moec teach --endpoint URL --prompts FILE.yaml -o FOLDER [options]";

typedef struct settings {
    const char *endpoint, *prompts;
    teach_request q;
    bool json;
} settings;

static void note(void *context, const char *line) {
    (void)context;
    fprintf(stderr, "moec teach: note: %s\n", line);
}

static status parse(int argc, char **argv, settings *set) {
    teach_request *q = &set->q;
    long long requests = 0, parallel = 4, most = 512, seed = 0, per_prompt = 1;
    q->temperature = 1;
    q->timeout = 300;
    set->endpoint = cli_option(&argc, argv, "--endpoint");
    set->prompts = cli_option(&argc, argv, "--prompts");
    q->folder = cli_option(&argc, argv, "-o");
    q->model = cli_option(&argc, argv, "--model");
    q->chat = !cli_flag(&argc, argv, "--completions");
    set->json = cli_flag(&argc, argv, "--json");
    TRY(cli_integer("--requests", cli_option(&argc, argv, "--requests"), 0, 1LL << 53, &requests));
    TRY(cli_integer("--parallel", cli_option(&argc, argv, "--parallel"), 1, CREW_MAX_WORKERS, &parallel));
    TRY(cli_integer("--max-tokens", cli_option(&argc, argv, "--max-tokens"), 1, 1 << 24, &most));
    TRY(cli_integer("--seed", cli_option(&argc, argv, "--seed"), 0, 1LL << 53, &seed));
    TRY(cli_integer("--per-prompt", cli_option(&argc, argv, "--per-prompt"), 1, 1 << 24, &per_prompt));
    TRY(cli_number("--temperature", cli_option(&argc, argv, "--temperature"), 0, 10, &q->temperature));
    TRY(cli_number("--timeout", cli_option(&argc, argv, "--timeout"), 0.01, 86400, &q->timeout));
    TRY(cli_rest(argc, argv, 0, 0, teach_endpoint_usage));
    if (!set->endpoint || !set->prompts || !q->folder)
        return fail_usage("teach: expected --endpoint URL, --prompts FILE.yaml and -o FOLDER; usage: %s",
                          teach_endpoint_usage);
    if (strpbrk(set->endpoint, "?#"))
        return fail_usage("--endpoint: expected a URL without ? and #, found one of them");
    if (per_prompt > 1 && q->temperature == 0)
        return fail_usage("--per-prompt: expected 1 where --temperature is 0: the answers would be the same");
    q->requests = requests;
    q->parallel = (int)parallel;
    q->max_tokens = most;
    q->seed = seed;
    q->per_prompt = per_prompt;
    return STATUS_OK;
}

/* ---- what came ---- */

static void print_json(const settings *set, const teach_result *r) {
    cJSON *root = cJSON_CreateObject(), *domains = cJSON_AddObjectToObject(root, "domains");
    for (int i = 0; i < set->q.prompts->count; i++) {
        const teach_counts *d = &r->domains[i];
        cJSON *of = cJSON_AddObjectToObject(domains, set->q.prompts->domains[i].name);
        cJSON_AddNumberToObject(of, "texts", (double)d->texts);
        cJSON_AddNumberToObject(of, "of", (double)set->q.prompts->domains[i].prompts.count * (double)set->q.per_prompt);
        cJSON_AddNumberToObject(of, "now", (double)r->asked[i]);
        cJSON_AddNumberToObject(of, "cut", (double)d->cut);
        cJSON_AddNumberToObject(of, "empty", (double)d->empty);
        cJSON_AddNumberToObject(of, "others", (double)d->others);
        cJSON_AddNumberToObject(of, "completion_tokens", (double)d->completion_tokens);
    }
    cJSON_AddStringToObject(root, "model", r->model ? r->model : "");
    cJSON_AddNumberToObject(root, "requests", (double)r->requests);
    cJSON_AddNumberToObject(root, "open", (double)r->open);
    cli_print_json(root);
}

static void print_table(const settings *set, const teach_result *r) {
    printf("%-20s %9s %9s %9s %9s %9s %11s\n", "domain", "texts", "of", "now", "cut", "empty", "tokens");
    for (int i = 0; i < set->q.prompts->count; i++) {
        const teach_counts *d = &r->domains[i];
        printf("%-20s %9" PRId64 " %9" PRId64 " %9" PRId64 " %9" PRId64 " %9" PRId64 " %11" PRId64 "\n",
               set->q.prompts->domains[i].name, d->texts, set->q.prompts->domains[i].prompts.count * set->q.per_prompt,
               r->asked[i], d->cut, d->empty, d->completion_tokens);
    }
}

static void note_rest(const settings *set, const teach_result *r) {
    int64_t others = 0;
    for (int i = 0; i < set->q.prompts->count; i++) others += r->domains[i].others;
    if (others)
        fprintf(stderr, "moec teach: note: %" PRId64 " lines answer other prompts than these, and stay\n", others);
    if (r->open)
        fprintf(stderr,
                "moec teach: note: the budget of requests (%" PRId64 ") is spent; answers missing: %" PRId64
                "; the same "
                "call goes on\n",
                set->q.requests, r->open);
}

static status teach(settings *set) {
    http_client c = {0};
    teach_result r = {0};
    seed_prompts prompts = {0};
    status s = seed_prompts_read(&prompts, set->prompts);
    set->q.prompts = &prompts;
    if (s == STATUS_OK)
        s = http_open(&c, set->endpoint, cli_environment("MOEC_API_KEY", cli_environment("OPENAI_API_KEY", NULL)));
    c.note = note;
    if (s == STATUS_OK) s = http_take_times(&c);
    if (s == STATUS_OK) s = teach_fetch(&c, &set->q, &r);
    if (s == STATUS_OK) {
        (set->json ? print_json : print_table)(set, &r);
        note_rest(set, &r);
        cli_results("%s", set->q.folder);
    }
    teach_result_free(&r);
    seed_prompts_free(&prompts);
    http_close(&c);
    return s;
}

status teach_endpoint(int argc, char **argv) {
    settings set = {0};
    TRY(parse(argc, argv, &set));
    interrupt_catch();
    return teach(&set);
}
