#include "study/sweep_result.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "study/routing_log.h"
#include "train/resume.h"
#include "train/routing_watch.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

sweep_result sweep_result_none(void) {
    return (sweep_result){.val_bpb = NAN,
                          .val_bpb_blend = NAN,
                          .val_bpb_ema = NAN,
                          .val_bpb_packed = NAN,
                          .val_loss = NAN,
                          .val_loss_ema = NAN};
}

void sweep_result_free(sweep_result *r) {
    cJSON_Delete(r->domains);
    cJSON_Delete(r->domains_ema);
    cJSON_Delete(r->domains_packed);
    *r = sweep_result_none();
}

/* *stream is NULL where there is no such file yet. */
static status open_present(const char *path, FILE **stream) {
    path_kind kind;
    *stream = NULL;
    TRY(path_look(path, &kind));
    return kind == PATH_ABSENT ? STATUS_OK : file_open_stream(path, O_RDONLY, "r", stream);
}

/* ---- logs ---- */

status sweep_read_log(const char *run, log_reader read, void *context) {
    char *path = path_join(run, RUN_LOG_FILE), *line = NULL;
    size_t capacity = 0;
    FILE *stream;
    status s = open_present(path, &stream);
    bool more = stream != NULL;
    while (more && getline(&line, &capacity, stream) > 0) {
        cJSON *record = cJSON_Parse(line);
        const cJSON *kind = cJSON_GetObjectItemCaseSensitive(record, "record");
        if (cJSON_IsString(kind) && strcmp(kind->valuestring, "step") == 0) more = read(context, record);
        cJSON_Delete(record);
    }
    if (stream) fclose(stream);
    free(line);
    free(path);
    return s;
}

/* The last steps' routing, in a ring of records. */
typedef struct last_steps {
    cJSON *experts[ROUTING_WATCH_STEPS]; /* each an array of passes */
    int64_t count;
} last_steps;

static bool keep_step(void *context, const cJSON *step) {
    last_steps *l = context;
    cJSON *experts = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(step, "experts"), true);
    cJSON **slot = &l->experts[l->count++ % ROUTING_WATCH_STEPS];
    cJSON_Delete(*slot);
    *slot = experts;
    return true;
}

static void add_routing(cJSON *line, const routing_sums *r, const model_config *c) {
    double least = 1, most = 0, entropy = 0;
    bool collapsed = false;
    for (int i = 0; i < r->count; i++) {
        const routed_pass *p = &r->passes[i];
        entropy += p->entropy / p->steps / r->count;
        for (int e = 0; e < p->experts; e++) {
            double share = p->share[e] / p->steps;
            least = fmin(least, share);
            most = fmax(most, share);
            collapsed |= routing_load(c, share) != LOAD_FINE;
        }
    }
    bool routed = r->count > 0;
    cJSON_AddNumberToObject(line, "expert_share_min", routed ? least : NAN); /* cJSON writes NaN as null */
    cJSON_AddNumberToObject(line, "expert_share_max", routed ? most : NAN);
    cJSON_AddNumberToObject(line, "router_entropy", routed ? entropy : NAN);
    cJSON_AddBoolToObject(line, "collapsed", collapsed);
}

static status add_routing_of(cJSON *line, const char *run, const model_config *c) {
    last_steps l = {.count = 0};
    routing_sums sums = {0};
    status s = sweep_read_log(run, keep_step, &l);
    for (int i = 0; i < ROUTING_WATCH_STEPS; i++) {
        routing_sums_add(&sums, l.experts[i]);
        cJSON_Delete(l.experts[i]);
    }
    add_routing(line, &sums, c);
    routing_sums_free(&sums);
    return s;
}

/* ---- lines ---- */

/* What the run was made of: a line that was made of something else is not this run's. */
static cJSON *recipe(const sweep *s, const sweep_variant *v, uint64_t seed) {
    cJSON *line = cJSON_CreateObject();
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, seed);
    cJSON_AddStringToObject(line, "name", v->name);
    cJSON_AddRawToObject(line, "seed", text);
    cJSON_AddStringToObject(line, "config", v->config);
    cJSON *overrides = cJSON_AddArrayToObject(line, "overrides");
    for (int i = 0; i < s->common.count; i++)
        cJSON_AddItemToArray(overrides, cJSON_CreateString(s->common.items[i].text));
    for (int i = 0; i < v->overrides.count; i++)
        cJSON_AddItemToArray(overrides, cJSON_CreateString(v->overrides.items[i].text));
    cJSON_AddNumberToObject(line, "budget_steps", (double)sweep_steps(s, v));
    cJSON_AddNumberToObject(line, "budget_seconds", s->max_seconds);
    cJSON_AddNumberToObject(line, "eval_tokens", (double)s->eval_tokens);
    return line;
}

static void add_domains(cJSON *line, const char *key, const cJSON *domains) {
    cJSON_AddItemToObject(line, key, domains ? cJSON_Duplicate(domains, true) : cJSON_CreateNull());
}

static void add_numbers(cJSON *line, const sweep_result *r) {
    const train_state *t = &r->state;
    model_budget b = model_budget_count(&r->model);
    double steps = t->step > 0 ? (double)t->step : NAN, seconds = t->seconds > 0 ? t->seconds : NAN;
    cJSON_AddNumberToObject(line, "val_bpb", r->val_bpb);
    cJSON_AddNumberToObject(line, "val_bpb_blend", r->val_bpb_blend);
    cJSON_AddNumberToObject(line, "val_bpb_ema", r->val_bpb_ema);
    cJSON_AddNumberToObject(line, "val_bpb_packed", r->val_bpb_packed);
    cJSON_AddNumberToObject(line, "val_loss", r->val_loss);
    cJSON_AddNumberToObject(line, "val_loss_ema", r->val_loss_ema);
    add_domains(line, "val_bpb_domains", r->domains);
    add_domains(line, "val_bpb_ema_domains", r->domains_ema);
    add_domains(line, "val_bpb_packed_domains", r->domains_packed);
    cJSON_AddNumberToObject(line, "scored_tokens", (double)r->scored_tokens);
    cJSON_AddItemToObject(line, "chosen_weights",
                          r->chosen_weights ? cJSON_CreateString(r->chosen_weights) : cJSON_CreateNull());
    cJSON_AddNumberToObject(line, "ms_per_step", 1000 * seconds / steps);
    cJSON_AddNumberToObject(line, "tokens_per_second", (double)t->tokens / seconds);
    cJSON_AddNumberToObject(line, "steps", (double)t->step);
    cJSON_AddNumberToObject(line, "tokens", (double)t->tokens);
    cJSON_AddNumberToObject(line, "text_passes", (double)t->position.epoch);
    cJSON_AddNumberToObject(line, "seconds", t->seconds);
    cJSON_AddNumberToObject(line, "parameters", (double)b.total);
    cJSON_AddNumberToObject(line, "active_parameters", (double)b.active);
    cJSON_AddNumberToObject(line, "artifact_bytes", r->artifact_bytes > 0 ? (double)r->artifact_bytes : NAN);
}

static status append(const char *path, const cJSON *line) {
    char *json = cJSON_PrintUnformatted(line), *text = xasprintf("%s\n", json);
    status s = file_append(path, text, strlen(text));
    cJSON_free(json);
    free(text);
    return s;
}

status sweep_result_add(const sweep *s, const sweep_variant *v, uint64_t seed, const char *out, const run_config *c,
                        const sweep_result *r) {
    cJSON *line = recipe(s, v, seed);
    add_numbers(line, r);
    status result = add_routing_of(line, c->train.run, &r->model);
    char *path = path_join(out, "results.jsonl");
    if (result == STATUS_OK) result = append(path, line);
    free(path);
    cJSON_Delete(line);
    return result;
}

/* ---- reading them ---- */

static const sweep_variant *find_variant(const sweep *s, const cJSON *line) {
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(line, "name");
    for (int i = 0; cJSON_IsString(name) && i < s->variant_count; i++)
        if (strcmp(s->variants[i].name, name->valuestring) == 0) return &s->variants[i];
    return NULL;
}

static bool same_seed(const cJSON *line, uint64_t seed) {
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(line, "seed");
    return cJSON_IsNumber(found) && found->valuedouble == (double)seed;
}

/* A line of this sweep's, or one that only has the same name. */
static status check_recipe(const sweep *s, const sweep_variant *v, uint64_t seed, const cJSON *line, const char *path,
                           int number) {
    cJSON *wanted = recipe(s, v, seed);
    const cJSON *item;
    status result = STATUS_OK;
    cJSON_ArrayForEach(item, wanted) {
        const cJSON *found = cJSON_GetObjectItemCaseSensitive(line, item->string);
        if (result != STATUS_OK || strcmp(item->string, "seed") == 0 || cJSON_Compare(item, found, true)) continue;
        char *a = cJSON_PrintUnformatted(item), *b = found ? cJSON_PrintUnformatted(found) : NULL;
        result =
            fail_usage("%s:%d: run %s was made with %s %.200s, but the sweep has %.200s: give another --out, or remove "
                       "the line and the run's folder",
                       path, number, v->name, item->string, b ? b : "absent", a);
        cJSON_free(a);
        cJSON_free(b);
    }
    cJSON_Delete(wanted);
    return result;
}

/* A preset may have changed behind its path. Of a run whose folder is gone its line is all that there is. */
static status check_preset(const sweep *s, const sweep_variant *v, uint64_t seed, const char *out) {
    run_config own = run_config_default(), wanted;
    char *folder = sweep_run_folder(v, seed, out);
    status result = sweep_config(s, v, seed, out, &wanted);
    if (result == STATUS_OK && resume_is_run(folder)) {
        result = resume_config(&own, folder, NULL, 0);
        config_differences d = {0};
        if (result == STATUS_OK) d = config_compare(&run_schema, &own, &wanted);
        char *text = config_differences_text(&d, false);
        if (*text)
            result =
                fail_usage("%s: its preset has changed since: %.400s: give another --out, or remove the folder and "
                           "the run's line in results.jsonl",
                           folder, text);
        free(text);
        config_differences_free(&d);
    }
    free(folder);
    run_config_free(&own);
    run_config_free(&wanted);
    return result;
}

static status check_packed(const sweep *s, const sweep_variant *v, const cJSON *line, const char *path, int number) {
    if (!s->pack || cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(line, "val_bpb_packed"))) return STATUS_OK;
    return fail_usage("%s:%d: run %s was made without pack, but the sweep has pack true: give another --out, or remove "
                      "the line",
                      path, number, v->name);
}

static status keep_line(const sweep *s, const char *out, cJSON *line, const char *path, int number, cJSON *results) {
    const sweep_variant *v = find_variant(s, line);
    for (int i = 0; v && i < s->seed_count; i++)
        if (same_seed(line, s->seeds[i])) {
            TRY(check_recipe(s, v, s->seeds[i], line, path, number));
            TRY(check_packed(s, v, line, path, number));
            TRY(check_preset(s, v, s->seeds[i], out));
            cJSON_AddItemToArray(results, cJSON_Duplicate(line, true));
        }
    return STATUS_OK;
}

/* A last line without its end is a result if it is a whole object; else a write is under way, or was killed. */
static status read_lines(const sweep *s, const char *out, const char *path, FILE *stream, cJSON *results) {
    char *text = NULL;
    size_t capacity = 0;
    ssize_t length;
    status result = STATUS_OK;
    for (int number = 1; result == STATUS_OK && (length = getline(&text, &capacity, stream)) > 0; number++) {
        cJSON *line = cJSON_Parse(text);
        if (cJSON_IsObject(line))
            result = keep_line(s, out, line, path, number, results);
        else if (text[length - 1] == '\n')
            result = fail("%s:%d: expected a JSON object, found something else", path, number);
        cJSON_Delete(line);
    }
    free(text);
    return result;
}

status sweep_results(const sweep *s, const char *out, cJSON **results) {
    char *path = path_join(out, "results.jsonl");
    FILE *stream;
    *results = cJSON_CreateArray();
    status result = open_present(path, &stream);
    if (stream) {
        result = read_lines(s, out, path, stream, *results);
        fclose(stream);
    }
    free(path);
    if (result != STATUS_OK) {
        cJSON_Delete(*results);
        *results = NULL;
    }
    return result;
}

/* ---- what a killed write left ---- */

static status repair_end(const char *path, char *text, size_t count) {
    const char *line_end = memrchr(text, '\n', count);
    size_t whole = line_end ? (size_t)(line_end + 1 - text) : 0;
    if (whole == count) return STATUS_OK;
    cJSON *line = cJSON_Parse(text + whole);
    bool is_result = cJSON_IsObject(line);
    cJSON_Delete(line);
    if (is_result) return file_append(path, "\n", 1);
    return truncate(path, (off_t)whole) == 0
               ? STATUS_OK
               : fail("%s: cannot cut a line that is not whole: %s", path, strerror(errno));
}

status sweep_result_repair(const char *out) {
    char *path = path_join(out, "results.jsonl");
    uint8_t *text = NULL;
    size_t count;
    status s = path_exists(path) ? file_read(path, FILE_ANY_SIZE, &text, &count) : STATUS_OK;
    if (text) s = repair_end(path, (char *)text, count);
    free(text);
    free(path);
    return s;
}

const cJSON *sweep_result_find(const cJSON *results, const char *name, uint64_t seed) {
    const cJSON *line;
    cJSON_ArrayForEach(line, results) {
        const cJSON *found = cJSON_GetObjectItemCaseSensitive(line, "name");
        if (cJSON_IsString(found) && strcmp(found->valuestring, name) == 0 && same_seed(line, seed)) return line;
    }
    return NULL;
}
