#include "cli/bench_run.h"

#include "base/progress.h"
#include "cli/cli.h"
#include "cli/prompt.h"
#include "cli/run_form.h"
#include "cli/speculate.h"
#include "comm/comm.h"
#include "store/open.h"
#include "study/bench_run.h"
#include "study/table.h"
#include "text/tokenizer.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] = "moec bench run MODEL [options]";

enum { MOST_BATCH = 4096 };

/* "1,4,16" */
static status parse_batches(const char *text, bench_run_options *o) {
    if (!text) text = "1,4,16,64";
    for (const char *at = text;;) {
        char *end;
        errno = 0;
        const long value = strtol(at, &end, 10);
        if (end == at || errno || value < 1 || value > MOST_BATCH || (*end && *end != ','))
            return fail_usage("--batch: expected numbers from 1 to %d with commas between them, found %s", MOST_BATCH,
                              text);
        if (o->batch_count == BENCH_RUN_BATCHES)
            return fail_usage("--batch: expected up to %d numbers, found %s", BENCH_RUN_BATCHES, text);
        o->batches[o->batch_count++] = (int)value;
        if (!*end) return STATUS_OK;
        at = end + 1;
    }
}

static void print_report(const bench_run_report *r, const bench_run_options *o, const kernels *k, double load_seconds) {
    char parameters[32];
    printf("%s, %d threads, %s parameters, loaded in %.2f s\n", k->name, kernels_threads(),
           grouped(r->parameters, parameters), load_seconds);
    printf("prompts of %" PRId64 " tokens, %" PRId64 " tokens written behind each\n\n", o->prompt, o->tokens);
    static const char *const head[] = {"texts at a time", "prefill tokens/s",   "first token s",
                                       "decode tokens/s", "ms between, median", "ms between, most",
                                       "memory MB",       "proposed",           "of them drawn"};
    const int columns = draft_source_is(&o->drafts) ? 9 : 7;
    table t = table_create(columns);
    for (int i = 0; i < columns; i++) table_put(&t, "%s", head[i]);
    for (int i = 0; i < r->row_count; i++) {
        const bench_run_row *row = &r->rows[i];
        table_put(&t, "%d", row->batch);
        table_put(&t, "%.0f", row->prefill);
        table_put(&t, "%.3f", row->first_token);
        table_put(&t, "%.1f", row->decode);
        table_put(&t, "%.1f", 1e3 * row->token_median);
        table_put(&t, "%.1f", 1e3 * row->token_most);
        table_put(&t, "%.0f", (double)row->resident / 1e6);
        if (columns == 7) continue;
        table_put(&t, "%" PRId64, row->drafts.proposed);
        table_put(&t, "%" PRId64, row->drafts.accepted);
    }
    table_print(&t, stdout);
    if (columns > 7) printf("\na pass, which is what is timed between, may give a text several tokens\n");
    printf("\na token passes through %.1f MB of matrices; keys and values are %.1f kB a token; peak memory %.0f MB\n",
           r->token_bytes / 1e6, r->cache_bytes / 1e3, (double)r->peak / 1e6);
    if (r->bandwidth > 0)
        printf("memory is read at %.1f GB/s; decoding %d text%s reads matrices at %.1f GB/s\n", r->bandwidth / 1e9,
               r->rows[0].batch, r->rows[0].batch == 1 ? "" : "s", r->rows[0].bytes / 1e9);
}

static void print_json(const bench_run_report *r, const bench_run_options *o, const kernels *k, double load_seconds) {
    cJSON *root = cJSON_CreateObject(), *rows = cJSON_AddArrayToObject(root, "batches");
    cJSON_AddStringToObject(root, "kernels", k->name);
    cJSON_AddNumberToObject(root, "threads", kernels_threads());
    cJSON_AddNumberToObject(root, "parameters", (double)r->parameters);
    cJSON_AddNumberToObject(root, "prompt_tokens", (double)o->prompt);
    cJSON_AddNumberToObject(root, "new_tokens", (double)o->tokens);
    cJSON_AddNumberToObject(root, "load_seconds", load_seconds);
    cJSON_AddNumberToObject(root, "token_bytes", r->token_bytes);
    cJSON_AddNumberToObject(root, "cache_bytes_per_token", r->cache_bytes);
    cJSON_AddNumberToObject(root, "peak_bytes", (double)r->peak);
    if (r->bandwidth > 0) cJSON_AddNumberToObject(root, "bandwidth_bytes_per_second", r->bandwidth);
    for (int i = 0; i < r->row_count; i++) {
        const bench_run_row *row = &r->rows[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "batch", row->batch);
        cJSON_AddNumberToObject(one, "prefill_tokens_per_second", row->prefill);
        cJSON_AddNumberToObject(one, "first_token_seconds", row->first_token);
        cJSON_AddNumberToObject(one, "decode_tokens_per_second", row->decode);
        cJSON_AddNumberToObject(one, "token_seconds_median", row->token_median);
        cJSON_AddNumberToObject(one, "token_seconds_most", row->token_most);
        cJSON_AddNumberToObject(one, "matrix_bytes_per_second", row->bytes);
        cJSON_AddNumberToObject(one, "resident_bytes", (double)row->resident);
        if (draft_source_is(&o->drafts)) {
            cJSON_AddNumberToObject(one, "proposed_tokens", (double)row->drafts.proposed);
            cJSON_AddNumberToObject(one, "accepted_tokens", (double)row->drafts.accepted);
        }
        cJSON_AddItemToArray(rows, one);
    }
    cli_print_json(root);
}

typedef struct request {
    const char *path, *which, *text; /* text: a file's name, or NULL */
    run_form form;
    speculation guess;
    bench_run_options o;
    bool json;
} request;

/* What prompts are cut from; *ids is malloc'ed, or NULL. */
static status read_text(const request *q, const tokenizer *tok, int32_t **ids, size_t *count) {
    prompt text;
    *ids = NULL;
    *count = 0;
    if (!q->text) return STATUS_OK;
    TRY(prompt_read(&text, NULL, q->text));
    const status s = tokenizer_encode_text(tok, text.text, text.bytes, ids, count);
    prompt_free(&text);
    TRY(s);
    if (*count >= (size_t)q->o.prompt) return STATUS_OK;
    free(*ids);
    *ids = NULL;
    return fail("%s: expected at least %" PRId64 " tokens, a prompt's, found %zu", q->text, q->o.prompt, *count);
}

static status measure(request *q, model *m, const tokenizer *tok, bench_run_report *report) {
    int32_t *ids;
    size_t count;
    TRY(read_text(q, tok, &ids, &count));
    status s = speculate_open(&q->guess, &q->form, tok);
    q->o.text = ids;
    q->o.text_count = (int64_t)count;
    q->o.drafts = q->guess.source;
    if (s == STATUS_OK) s = bench_run(m, &q->o, report);
    speculate_close(&q->guess);
    free(ids);
    return s;
}

static status run_model(request *q) {
    const kernels *k;
    model *m;
    tokenizer *tok;
    bench_run_report report;
    TRY(run_form_open(&q->form, q->path, &k));
    const double started = clock_seconds();
    TRY(run_form_load(&q->form, q->path, k, q->which, &m, &tok, NULL));
    const double load_seconds = clock_seconds() - started;
    const status s = measure(q, m, tok, &report);
    model_destroy(m);
    tokenizer_close(tok);
    TRY(s);
    if (q->json)
        print_json(&report, &q->o, k, load_seconds);
    else
        print_report(&report, &q->o, k, load_seconds);
    return STATUS_OK;
}

status bench_run_command(int argc, char **argv) {
    request q = {.json = cli_flag(&argc, argv, "--json")};
    long long prompt = 128, tokens = 32, bandwidth = 512;
    if (comm_launched() > 1)
        return fail_usage("bench run: works in one process, and a launcher started %d", comm_launched());
    TRY(run_form_parse(&argc, argv, &q.form));
    speculate_parse(&argc, argv, &q.guess);
    TRY(cli_weights(&argc, argv, &q.which));
    TRY(parse_batches(cli_option(&argc, argv, "--batch"), &q.o));
    TRY(cli_integer("--prompt", cli_option(&argc, argv, "--prompt"), 1, 1 << 20, &prompt));
    TRY(cli_integer("--tokens", cli_option(&argc, argv, "--tokens"), 2, 1 << 20, &tokens));
    TRY(cli_integer("--bandwidth", cli_option(&argc, argv, "--bandwidth"), 0, 1 << 20, &bandwidth));
    q.text = cli_option(&argc, argv, "--text");
    TRY(cli_rest(argc, argv, 2, 2, usage));
    TRY(kind_expect("bench run", argv[2], NULL, KINDS_OF_MODEL, NOUN_OF_MODEL));
    q.path = argv[2];
    q.o.prompt = prompt;
    q.o.tokens = tokens;
    q.o.bandwidth_bytes = (int64_t)bandwidth << 20;
    return run_model(&q);
}
