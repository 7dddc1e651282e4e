/* moec teach --endpoint */
#include "cli/teach_endpoint.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/http_times.h"
#include "cli/teach_scores.h"
#include "fetch/crew.h"
#include "fetch/teach.h"
#include "fetch/token_scores.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char teach_endpoint_usage[] = "moec teach --endpoint URL --prompts FILE.yaml -o FOLDER [options], or "
                                    "moec teach --endpoint URL --data PATH -o CACHE [options]";

typedef struct settings {
    const char *endpoint, *prompts;
    teach_request q;
    teach_scores_request scores; /* with --data */
    bool json;
} settings;

static void note(void *context, const char *line) {
    (void)context;
    fprintf(stderr, "moec teach: note: %s\n", line);
}

/* An option of one of the two ways only; *first is the first that was given. */
static const char *own_option(int *argc, char **argv, const char *name, const char **first) {
    const char *value = cli_option(argc, argv, name);
    if (value && !*first) *first = name;
    return value;
}

static status parse_scores(int *argc, char **argv, teach_scores_request *q, const char **given) {
    long long top = 20, seq = 2048, stride = 0;
    q->data = cli_option(argc, argv, "--data");
    q->tokenizer = own_option(argc, argv, "--tokenizer", given);
    q->held_out = cli_flag(argc, argv, "--held-out");
    if (q->held_out && !*given) *given = "--held-out";
    TRY(cli_integer("--top", own_option(argc, argv, "--top", given), 1, SCORES_MAX_TOP, &top));
    TRY(cli_integer("--seq", own_option(argc, argv, "--seq", given), 2, 1 << 20, &seq));
    TRY(cli_integer("--stride", own_option(argc, argv, "--stride", given), 1, 1 << 20, &stride));
    if (stride > seq)
        return fail_usage("--stride: expected at most %lld, the window's length (--seq), found %lld", seq, stride);
    q->top = (int)top;
    q->seq = seq;
    q->stride = stride ? stride : seq;
    return STATUS_OK;
}

static status parse_prompts(int *argc, char **argv, settings *set, const char **given) {
    teach_request *q = &set->q;
    long long most = 512, seed = 0, per_prompt = 1;
    q->temperature = 1;
    set->prompts = cli_option(argc, argv, "--prompts");
    q->chat = !cli_flag(argc, argv, "--completions");
    if (!q->chat && !*given) *given = "--completions";
    TRY(cli_integer("--max-tokens", own_option(argc, argv, "--max-tokens", given), 1, 1 << 24, &most));
    TRY(cli_integer("--seed", own_option(argc, argv, "--seed", given), 0, 1LL << 53, &seed));
    TRY(cli_integer("--per-prompt", own_option(argc, argv, "--per-prompt", given), 1, 1 << 24, &per_prompt));
    TRY(cli_number("--temperature", own_option(argc, argv, "--temperature", given), 0, 10, &q->temperature));
    if (per_prompt > 1 && q->temperature == 0)
        return fail_usage("--per-prompt: expected 1 where --temperature is 0: the answers would be the same");
    q->max_tokens = most;
    q->seed = seed;
    q->per_prompt = per_prompt;
    return STATUS_OK;
}

static status parse(int argc, char **argv, settings *set) {
    teach_request *q = &set->q;
    const char *of_prompts = NULL, *of_data = NULL;
    long long requests = 0, parallel = 4;
    q->timeout = 300;
    set->endpoint = cli_option(&argc, argv, "--endpoint");
    q->folder = cli_option(&argc, argv, "-o");
    q->model = cli_option(&argc, argv, "--model");
    set->json = cli_flag(&argc, argv, "--json");
    TRY(cli_integer("--requests", cli_option(&argc, argv, "--requests"), 0, 1LL << 53, &requests));
    TRY(cli_integer("--parallel", cli_option(&argc, argv, "--parallel"), 1, CREW_MAX_WORKERS, &parallel));
    TRY(cli_number("--timeout", cli_option(&argc, argv, "--timeout"), 0.01, 86400, &q->timeout));
    TRY(parse_prompts(&argc, argv, set, &of_prompts));
    TRY(parse_scores(&argc, argv, &set->scores, &of_data));
    TRY(cli_rest(argc, argv, 0, 0, teach_endpoint_usage));
    if (!set->endpoint || !set->prompts == !set->scores.data || !q->folder)
        return fail_usage(
            "teach: expected --endpoint URL, -o FOLDER and one of --prompts FILE.yaml and --data PATH; usage: %s",
            teach_endpoint_usage);
    if (set->prompts && of_data) return fail_usage("%s: is of --data, not of --prompts", of_data);
    if (!set->prompts && of_prompts) return fail_usage("%s: is of --prompts, not of --data", of_prompts);
    if (strpbrk(set->endpoint, "?#"))
        return fail_usage("--endpoint: expected a URL without ? and #, found one of them");
    q->requests = requests;
    q->parallel = (int)parallel;
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

static status teach_prompts(const http_client *c, settings *set) {
    teach_result r = {0};
    seed_prompts prompts = {0};
    status s = seed_prompts_read(&prompts, set->prompts);
    set->q.prompts = &prompts;
    if (s == STATUS_OK) s = teach_fetch(c, &set->q, &r);
    if (s == STATUS_INTERRUPTED)
        (void)fail("interrupted: answers missing in %s: %" PRId64 "; the same command goes on", set->q.folder, r.open);
    if (s == STATUS_OK) {
        (set->json ? print_json : print_table)(set, &r);
        note_rest(set, &r);
    }
    teach_result_free(&r);
    seed_prompts_free(&prompts);
    return s;
}

static status teach_data(const http_client *c, settings *set) {
    teach_scores_request *q = &set->scores;
    q->out = set->q.folder;
    q->model = set->q.model;
    q->parallel = set->q.parallel;
    q->requests = set->q.requests;
    q->timeout = set->q.timeout;
    q->json = set->json;
    return teach_scores(c, q);
}

static status teach(settings *set) {
    http_client c = {0};
    status s = http_open(&c, set->endpoint, cli_environment("MOEC_API_KEY", cli_environment("OPENAI_API_KEY", NULL)));
    c.note = note;
    if (s == STATUS_OK) s = http_take_times(&c);
    if (s == STATUS_OK) s = set->scores.data ? teach_data(&c, set) : teach_prompts(&c, set);
    if (s == STATUS_OK) cli_results("%s", set->q.folder);
    http_close(&c);
    return s;
}

status teach_endpoint(int argc, char **argv) {
    settings set = {0};
    TRY(parse(argc, argv, &set));
    interrupt_catch();
    return teach(&set);
}
