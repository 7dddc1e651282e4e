#include "serve/request_log.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct request_log {
    int descriptor;
    pthread_mutex_t lock;
};

status request_log_open(request_log **out, const char *path) {
    const bool there = path_exists(path);
    int descriptor;
    if (there) {
        TRY(file_open(path, O_WRONLY | O_APPEND, &descriptor));
    } else {
        descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
        if (descriptor < 0) return fail("%s: cannot make it: %m", path);
    }
    request_log *l = xcalloc(1, sizeof *l);
    l->descriptor = descriptor;
    pthread_mutex_init(&l->lock, NULL);
    *out = l;
    return STATUS_OK;
}

void request_log_close(request_log *l) {
    if (!l) return;
    close(l->descriptor);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void add_seconds(cJSON *json, const char *key, double seconds) {
    char text[32];
    snprintf(text, sizeof text, "%.6f", seconds);
    cJSON_AddRawToObject(json, key, text);
}

static void add_texts(cJSON *json, const call *c) {
    const answer_tally *t = &c->tally;
    cJSON_AddNumberToObject(json, "prompt_tokens", (double)t->prompt_tokens);
    cJSON_AddNumberToObject(json, "cached_tokens", (double)t->cached_tokens);
    cJSON_AddNumberToObject(json, "completion_tokens", (double)t->completion_tokens);
    add_seconds(json, "queue_seconds", t->queue_seconds);
    add_seconds(json, "first_token_seconds", t->first_token_seconds);
    cJSON_AddStringToObject(json, "end", end_reason_name(t->worst));
    cJSON_AddBoolToObject(json, "stream", c->streamed);
}

static char *line_of(const char *client, const char *method, const char *route, const call *c, bool left,
                     double seconds) {
    cJSON *json = cJSON_CreateObject();
    add_seconds(json, "time", time_of_day());
    cJSON_AddStringToObject(json, "client", client);
    cJSON_AddStringToObject(json, "method", method);
    cJSON_AddStringToObject(json, "route", route);
    cJSON_AddNumberToObject(json, "status", c->http);
    add_seconds(json, "seconds", seconds);
    if (left) cJSON_AddTrueToObject(json, "left");
    if (c->param[0]) cJSON_AddStringToObject(json, "param", c->param);
    if (c->error_code && c->error_code[0]) cJSON_AddStringToObject(json, "code", c->error_code);
    if (c->writes || c->tally.prompt_tokens > 0) add_texts(json, c);
    char *text = cJSON_PrintUnformatted(json), *line = NULL;
    if (text && asprintf(&line, "%s\n", text) < 0) line = NULL; /* nobody guards this thread here */
    cJSON_free(text);
    cJSON_Delete(json);
    return line;
}

/* In one write, so that lines stay whole where several processes share the file. */
void request_log_write(request_log *l, const char *client, const char *method, const char *route, const call *c,
                       bool left, double seconds) {
    if (!l) return;
    char *line = line_of(client, method, route, c, left, seconds);
    if (!line) return;
    pthread_mutex_lock(&l->lock);
    (void)!write(l->descriptor, line, strlen(line)); /* a full disk is no reason to answer nobody */
    pthread_mutex_unlock(&l->lock);
    free(line);
}
