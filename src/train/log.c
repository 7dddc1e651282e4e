#include "train/log.h"
#include "base/memory.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run_log {
    char *path;
    FILE *stream;
};

static status open_log(run_log **out, const char *path, const char *mode) {
    FILE *stream = fopen(path, mode);
    *out = NULL;
    if (!stream) return fail("%s: cannot open: %s", path, strerror(errno));
    *out = xmalloc(sizeof **out);
    **out = (run_log){.path = xstrdup(path), .stream = stream};
    return STATUS_OK;
}

status run_log_create(run_log **out, const char *path) {
    return open_log(out, path, "we");
}

/* Whether a line is a whole record that a run resumed at `step` keeps. */
static bool line_stays(const char *line, int64_t step) {
    size_t length = strlen(line);
    if (length == 0 || line[length - 1] != '\n') return false;
    cJSON *record = cJSON_Parse(line);
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(record, "step");
    bool stays = cJSON_IsObject(record) && !(cJSON_IsNumber(number) && number->valuedouble > (double)step);
    cJSON_Delete(record);
    return stays;
}

status run_log_continue(run_log **out, const char *path, int64_t step) {
    TRY(open_log(out, path, access(path, F_OK) == 0 ? "r+e" : "w+e"));
    FILE *stream = (*out)->stream;
    char *line = NULL;
    size_t capacity = 0;
    off_t end = 0;
    while (getline(&line, &capacity, stream) > 0 && line_stays(line, step)) end = ftello(stream);
    free(line);
    if (fseeko(stream, end, SEEK_SET) == 0 && ftruncate(fileno(stream), end) == 0) return STATUS_OK;
    status failed = fail("%s: cannot cut it behind step %lld: %s", path, (long long)step, strerror(errno));
    run_log_close(*out);
    *out = NULL;
    return failed;
}

void run_log_close(run_log *l) {
    if (!l) return;
    fclose(l->stream);
    free(l->path);
    free(l);
}

status run_log_write(run_log *l, cJSON *record) {
    char *text = cJSON_PrintUnformatted(record);
    cJSON_Delete(record);
    bool written = fprintf(l->stream, "%s\n", text) >= 0 && fflush(l->stream) == 0;
    cJSON_free(text);
    return written ? STATUS_OK : fail("%s: cannot write: %s", l->path, strerror(errno));
}

status run_log_sync(run_log *l) {
    return fdatasync(fileno(l->stream)) == 0 ? STATUS_OK : fail("%s: cannot sync: %s", l->path, strerror(errno));
}

/* Numbers that are read by people and plots, not compared bit by bit. */
static void add_short(cJSON *object, const char *key, const char *format, double value) {
    char text[64];
    snprintf(text, sizeof text, format, value);
    cJSON_AddRawToObject(object, key, text);
}

/* The shares lie behind the entries that point at them. */
void step_record_take(step_record *r, const pass_statistics *s) {
    size_t shares = 0;
    for (int i = 0; i < s->routed; i++) shares += (size_t)s->routing[i].experts;
    free(r->routing);
    r->ce = s->ce;
    r->aux = s->aux;
    r->routed = s->routed;
    r->routing = xmalloc((size_t)s->routed * sizeof *r->routing + shares * sizeof(double) + 1);
    double *share = (double *)(r->routing + s->routed);
    for (int i = 0; i < s->routed; i++) {
        const size_t E = (size_t)s->routing[i].experts;
        r->routing[i] = s->routing[i];
        r->routing[i].share = memcpy(share, s->routing[i].share, E * sizeof *share);
        r->routing[i].first = NULL;
        share += E;
    }
}

void step_record_free(step_record *r) {
    cJSON_Delete(r->events);
    free(r->routing);
    *r = (step_record){0};
}

static cJSON *routing_record(const step_record *s) {
    cJSON *passes = cJSON_CreateArray();
    for (int i = 0; i < s->routed; i++) {
        const routing_entry *e = &s->routing[i];
        cJSON *pass = cJSON_CreateObject(), *share = cJSON_AddArrayToObject(pass, "share");
        for (int j = 0; j < e->experts; j++) {
            char text[32];
            snprintf(text, sizeof text, "%.4f", e->share[j]);
            cJSON_AddItemToArray(share, cJSON_CreateRaw(text));
        }
        cJSON_AddNumberToObject(pass, "layer", e->layer);
        add_short(pass, "entropy", "%.4f", e->entropy);
        cJSON_AddItemToArray(passes, pass);
    }
    return passes;
}

status run_log_step(run_log *l, step_record *s) {
    cJSON *record = cJSON_CreateObject();
    cJSON_AddStringToObject(record, "record", "step");
    cJSON_AddNumberToObject(record, "step", (double)s->step);
    add_short(record, "loss", "%.9g", s->ce);
    add_short(record, "aux", "%.9g", s->aux);
    cJSON_AddNumberToObject(record, "lr_factor", s->lr_factor);
    cJSON_AddNumberToObject(record, "grad_norm", s->grad_norm);
    cJSON_AddNumberToObject(record, "tokens", (double)s->tokens);
    add_short(record, "seconds", "%.4f", s->seconds);
    add_short(record, "tokens_per_second", "%.1f", s->tokens_per_second);
    if (s->routed) cJSON_AddItemToObject(record, "experts", routing_record(s));
    if (s->events) cJSON_AddItemToObject(record, "events", s->events);
    s->events = NULL;
    if (s->has_val) cJSON_AddNumberToObject(record, "val_bpb", s->val_bpb);
    if (s->has_val_ema) cJSON_AddNumberToObject(record, "val_bpb_ema", s->val_bpb_ema);
    return run_log_write(l, record);
}
