#include "fetch/teach.h"
#include "base/file.h"
#include "base/json_seal.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include "fetch/teach_ask.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void teach_result_free(teach_result *r) {
    free(r->model);
    *r = (teach_result){0};
}

/* ---- how it was asked, beside the answers ---- */

static const char *api_name(bool chat) {
    return chat ? "chat" : "completions";
}

static status state_write(const char *path, const teach_request *q, const char *model) {
    cJSON *state = cJSON_CreateObject();
    text_stream t;
    completion_put_number(text_stream_begin(&t), q->temperature);
    char *temperature = text_stream_end(&t);
    cJSON_AddStringToObject(state, "model", model);
    cJSON_AddStringToObject(state, "api", api_name(q->chat));
    cJSON_AddStringToObject(state, "temperature", temperature); /* as text: it must come back exactly */
    cJSON_AddNumberToObject(state, "max_tokens", (double)q->max_tokens);
    cJSON_AddNumberToObject(state, "seed", (double)q->seed);
    json_seal(state);
    status s = json_write_file(path, state);
    cJSON_Delete(state);
    free(temperature);
    return s;
}

static status other(const char *path, const char *what, const char *found, const char *option) {
    return fail_usage("%s: was asked with %s %s: choose another -o, or go on with that (%s)", path, what, found,
                      option);
}

static status check_number(const cJSON *state, const char *path, const char *key, int64_t wanted, const char *option) {
    int64_t found;
    char text[32];
    TRY(json_get_int(state, path, key, &found));
    snprintf(text, sizeof text, "%" PRId64, found);
    return found == wanted ? STATUS_OK : other(path, key, text, option);
}

static status state_check(const cJSON *state, const char *path, const teach_request *q, char **model) {
    const char *api, *temperature, *name;
    TRY(json_get_string(state, path, "model", &name));
    TRY(json_get_string(state, path, "api", &api));
    TRY(json_get_string(state, path, "temperature", &temperature));
    if (q->model && strcmp(name, q->model) != 0) return other(path, "model", name, "--model");
    if (strcmp(api, api_name(q->chat)) != 0) return other(path, "api", api, "--completions");
    if (strtod(temperature, NULL) != q->temperature) return other(path, "temperature", temperature, "--temperature");
    TRY(check_number(state, path, "max_tokens", q->max_tokens, "--max-tokens"));
    TRY(check_number(state, path, "seed", q->seed, "--seed"));
    *model = xstrdup(name);
    return STATUS_OK;
}

/* *model: that of an earlier call with this folder, a new string; NULL: there was none. */
static status state_read(const char *path, const teach_request *q, char **model) {
    path_kind kind;
    cJSON *state;
    *model = NULL;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return STATUS_OK;
    TRY(json_read_file(path, &state));
    status s = json_check_seal(state, path);
    if (s == STATUS_OK) s = state_check(state, path, q, model);
    cJSON_Delete(state);
    return s;
}

/* ---- which model ---- */

static status choose_model(const http_client *c, const teach_request *q, const char *state, teach_result *r) {
    TRY(state_read(state, q, &r->model));
    if (r->model) return STATUS_OK;
    if (q->model)
        r->model = xstrdup(q->model);
    else
        TRY(completion_find_model(c, q->timeout, &r->model));
    return state_write(state, q, r->model);
}

/* ---- all of it ---- */

static char *path_of(const teach_request *q, int domain) {
    return xasprintf("%s/%s.jsonl", q->folder, q->prompts->domains[domain].name);
}

/* What is there must be ours: without the state nobody knows how it was asked. */
static status check_alone(const teach_request *q, const char *state) {
    path_kind kind;
    status s = path_look(state, &kind);
    for (int i = 0; s == STATUS_OK && kind == PATH_ABSENT && i < q->prompts->count; i++) {
        char *path = path_of(q, i);
        if (path_exists(path)) s = fail("%s: is there, without a %s to go on by: choose another -o", path, state);
        free(path);
    }
    return s;
}

static status read_files(const teach_request *q, questions *all, teach_result *r) {
    status s = STATUS_OK;
    for (int i = 0; s == STATUS_OK && i < q->prompts->count; i++) {
        char *path = path_of(q, i);
        s = teach_file_read(path, all, i, &r->domains[i]);
        free(path);
    }
    for (size_t i = 0; i < all->count; i++) r->open += !all->list[i].answered;
    return s;
}

static status sort_whole(const teach_request *q, const questions *all) {
    bool whole[PROMPTS_MAX_DOMAINS];
    status s = STATUS_OK;
    memset(whole, true, sizeof whole);
    for (size_t i = 0; i < all->count; i++)
        if (!all->list[i].answered) whole[all->list[i].domain] = false;
    for (int i = 0; s == STATUS_OK && i < q->prompts->count; i++) {
        char *path = path_of(q, i);
        if (whole[i]) s = teach_file_sort(path, all, i);
        free(path);
    }
    return s;
}

static status fetch_open(const http_client *c, const teach_request *q, questions *all, const char *state,
                         teach_result *r) {
    TRY(check_alone(q, state));
    TRY(read_files(q, all, r));
    TRY(choose_model(c, q, state, r));
    if (r->open > 0) {
        char *paths[PROMPTS_MAX_DOMAINS];
        for (int i = 0; i < q->prompts->count; i++) paths[i] = path_of(q, i);
        status s = teach_ask(c, q, all, paths, r);
        for (int i = 0; i < q->prompts->count; i++) free(paths[i]);
        TRY(s);
    }
    return sort_whole(q, all);
}

status teach_fetch(const http_client *c, const teach_request *q, teach_result *r) {
    questions all = {0};
    lock held = {0};
    *r = (teach_result){0};
    char *state = path_join(q->folder, "teach.json"), *lock_path = path_join(q->folder, "teach.lock");
    status s = questions_open(&all, q->prompts, (uint64_t)q->seed, q->per_prompt);
    if (s == STATUS_OK) s = folder_create(q->folder);
    if (s == STATUS_OK) s = lock_take(&held, lock_path, "moec teach");
    if (s == STATUS_OK) s = fetch_open(c, q, &all, state, r);
    lock_release(&held);
    questions_close(&all);
    free(lock_path);
    free(state);
    return s;
}
