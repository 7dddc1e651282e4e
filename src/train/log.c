#include "train/log.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run_log {
    char *path;
    FILE *stream;
    struct {
        run_log_listener tell;
        void *context;
    } listeners[RUN_LOG_LISTENERS];
    int listener_count;
};

static status open_log(run_log **out, const char *path, int flags) {
    FILE *stream;
    *out = NULL;
    TRY(file_open_stream(path, O_WRONLY | O_APPEND | flags, "a", &stream));
    *out = xmalloc(sizeof **out);
    **out = (run_log){.path = xstrdup(path), .stream = stream};
    return STATUS_OK;
}

status run_log_create(run_log **out, const char *path) {
    return open_log(out, path, O_CREAT | O_TRUNC);
}

static void add_domains(cJSON *record, const char *key, const cJSON *domains) {
    if (domains) cJSON_AddItemToObject(record, key, cJSON_Duplicate(domains, true));
}

static void add_looks(cJSON *record, const step_record *s) {
    cJSON_DeleteItemFromObjectCaseSensitive(record, "val_bpb"); /* where only the average's was missing */
    cJSON_DeleteItemFromObjectCaseSensitive(record, "val_bpb_domains");
    if (s->has_val) {
        cJSON_AddNumberToObject(record, "val_bpb", s->val_bpb);
        add_domains(record, "val_bpb_domains", s->val_domains);
    }
    if (s->has_val_ema) {
        cJSON_AddNumberToObject(record, "val_bpb_ema", s->val_bpb_ema);
        add_domains(record, "val_bpb_ema_domains", s->val_ema_domains);
    }
}

/* ---- an older log, line by line ---- */

typedef enum line_state {
    LINE_KEPT,   /* a record that a run resumed at a step keeps */
    LINE_LATER,  /* that of a later step */
    LINE_DAMAGED /* no record */
} line_state;

/* The record on a line, or NULL. A NUL in it would hide what follows. */
static cJSON *parse_line(const char *line, size_t length) {
    const char *end;
    cJSON *record = memchr(line, 0, length) ? NULL : cJSON_ParseWithOpts(line, &end, true);
    if (cJSON_IsObject(record)) return record;
    cJSON_Delete(record);
    return NULL;
}

/* Of a step's own record, or of the one before it where a run was resumed; 0 for others. */
static double step_of(const cJSON *record) {
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(record, "step");
    const cJSON *from = cJSON_GetObjectItemCaseSensitive(record, "from_step");
    return cJSON_IsNumber(step) ? step->valuedouble : cJSON_IsNumber(from) ? from->valuedouble : 0;
}

static bool is_record_of(const cJSON *record, int64_t step) {
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(record, "step");
    return cJSON_IsNumber(number) && number->valuedouble == (double)step;
}

static line_state look_at_line(const char *line, size_t length, int64_t step) {
    cJSON *record = parse_line(line, length);
    line_state state = !record ? LINE_DAMAGED : step_of(record) > (double)step ? LINE_LATER : LINE_KEPT;
    cJSON_Delete(record);
    /* A step's line is on the disk before its checkpoint: one that was cut short is that of a later step. */
    return state == LINE_DAMAGED && line[length - 1] != '\n' ? LINE_LATER : state;
}

/* What a log has for a run that goes on behind a step. */
typedef struct survey {
    off_t kept;    /* bytes of the records that stay, as far as nothing that goes is between them */
    bool together; /* they are all that stays */
    int64_t damaged;
} survey;

static survey survey_lines(FILE *stream, int64_t step) {
    survey v = {.together = true};
    bool gap = false;
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t length; (length = getline(&line, &capacity, stream)) > 0;) {
        line_state state = look_at_line(line, (size_t)length, step);
        v.damaged += state == LINE_DAMAGED;
        if (state == LINE_KEPT && !gap && line[length - 1] == '\n')
            v.kept = ftello(stream);
        else
            v.together = v.together && state != LINE_KEPT;
        gap = gap || state != LINE_KEPT;
    }
    free(line);
    return v;
}

status run_log_check(const char *path) {
    FILE *stream;
    if (!path_exists(path)) return STATUS_OK;
    TRY(file_open_stream(path, O_RDONLY, "r", &stream));
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length = getline(&line, &capacity, stream);
    cJSON *record = length > 0 ? parse_line(line, (size_t)length) : NULL;
    bool replaceable = length <= 0 || cJSON_HasObjectItem(record, "record");
    cJSON_Delete(record);
    free(line);
    fclose(stream);
    if (replaceable) return STATUS_OK;
    return fail("%s: expected nothing or the log of an older run to replace, found another file", path);
}

/* A line that could not be read ends a loop over lines as the last one does. */
static status all_read(FILE *stream, const char *path) {
    return ferror(stream) ? fail("%s: cannot read: %s", path, strerror(errno)) : STATUS_OK;
}

/* ---- writing it anew ---- */

static void put_line(file_writer *w, const char *line, size_t length) {
    file_write(w, line, length);
    if (line[length - 1] != '\n') file_write(w, "\n", 1);
}

/* `added` (may be NULL): what the record of `step` is to get. */
static status copy_lines(FILE *from, const char *path, file_writer *w, int64_t step, const step_record *added) {
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t length; (length = getline(&line, &capacity, from)) > 0;) {
        if (look_at_line(line, (size_t)length, step) != LINE_KEPT) continue;
        cJSON *record = added ? parse_line(line, (size_t)length) : NULL;
        if (is_record_of(record, step)) {
            add_looks(record, added);
            char *text = cJSON_PrintUnformatted(record);
            put_line(w, text, strlen(text));
            cJSON_free(text);
        } else {
            put_line(w, line, (size_t)length);
        }
        cJSON_Delete(record);
    }
    free(line);
    return all_read(from, path);
}

static status rewrite(const char *path, int64_t step, const step_record *added) {
    FILE *from;
    file_writer w;
    TRY(file_open_stream(path, O_RDONLY, "r", &from));
    status s = file_create(&w, path);
    if (s == STATUS_OK) {
        s = copy_lines(from, path, &w, step, added);
        if (s == STATUS_OK)
            s = file_commit(&w);
        else
            file_abandon(&w);
    }
    fclose(from);
    return s;
}

static status set_aside(const char *path, char **aside) {
    uint8_t *bytes;
    size_t count;
    *aside = xasprintf("%s.damaged", path);
    for (int i = 2; path_exists(*aside); i++) {
        free(*aside);
        *aside = xasprintf("%s.damaged-%d", path, i);
    }
    TRY(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    status s = file_write_whole(*aside, bytes, count);
    free(bytes);
    return s;
}

static status repair(const char *path, int64_t step, int64_t damaged, char **note) {
    char *aside = NULL;
    status s = damaged ? set_aside(path, &aside) : STATUS_OK;
    if (s == STATUS_OK) s = rewrite(path, step, NULL);
    if (s == STATUS_OK && damaged)
        *note =
            xasprintf("%s: %lld damaged lines are left out; the file with them is %s", path, (long long)damaged, aside);
    free(aside);
    return s;
}

status run_log_continue(run_log **out, const char *path, int64_t step, char **note) {
    FILE *stream;
    *out = NULL;
    *note = NULL;
    TRY(file_open_stream(path, O_RDWR | O_CREAT, "r+", &stream));
    survey v = survey_lines(stream, step);
    status s = all_read(stream, path);
    bool cut = v.together && !v.damaged;
    if (s == STATUS_OK && cut && ftruncate(fileno(stream), v.kept) != 0)
        s = fail("%s: cannot cut it behind step %lld: %s", path, (long long)step, strerror(errno));
    fclose(stream);
    if (s == STATUS_OK && !cut) s = repair(path, step, v.damaged, note);
    return s == STATUS_OK ? open_log(out, path, 0) : s;
}

status run_log_find(const char *path, int64_t step, cJSON **record) {
    FILE *stream;
    char *line = NULL;
    size_t capacity = 0;
    *record = NULL;
    if (!path_exists(path)) return STATUS_OK;
    TRY(file_open_stream(path, O_RDONLY, "r", &stream));
    for (ssize_t length; !*record && (length = getline(&line, &capacity, stream)) > 0;) {
        cJSON *found = parse_line(line, (size_t)length);
        if (is_record_of(found, step))
            *record = found;
        else
            cJSON_Delete(found);
    }
    free(line);
    const status s = all_read(stream, path);
    fclose(stream);
    return s;
}

status run_log_amend(run_log *l, const step_record *s) {
    FILE *stream;
    TRY(rewrite(l->path, s->step, s));
    TRY(file_open_stream(l->path, O_WRONLY | O_APPEND, "a", &stream)); /* another file has the name now */
    fclose(l->stream);
    l->stream = stream;
    return STATUS_OK;
}

/* ---- writing ---- */

void run_log_close(run_log *l) {
    if (!l) return;
    fclose(l->stream);
    free(l->path);
    free(l);
}

/* Numbers that are read by people and plots, not compared bit by bit. */
static void add_short(cJSON *object, const char *key, const char *format, double value) {
    char text[64];
    snprintf(text, sizeof text, format, value);
    cJSON_AddRawToObject(object, key, text);
}

static status tell(const run_log *l, const char *text) {
    cJSON *record = l->listener_count > 0 ? cJSON_Parse(text) : NULL;
    status s = STATUS_OK;
    for (int i = 0; i < l->listener_count && record && s == STATUS_OK; i++)
        s = l->listeners[i].tell(l->listeners[i].context, record);
    cJSON_Delete(record);
    return s;
}

status run_log_write(run_log *l, cJSON *record) {
    char *text = cJSON_PrintUnformatted(record);
    cJSON_Delete(record);
    bool written = fprintf(l->stream, "%s\n", text) >= 0 && fflush(l->stream) == 0;
    status s = written ? STATUS_OK : fail("%s: cannot write: %s", l->path, strerror(errno));
    if (s == STATUS_OK) s = tell(l, text);
    cJSON_free(text);
    return s;
}

status run_log_listen(run_log *l, run_log_listener listener, void *context) {
    FILE *stream;
    char *line = NULL;
    size_t capacity = 0;
    status s = STATUS_OK;
    TRY(file_open_stream(l->path, O_RDONLY, "r", &stream));
    for (ssize_t length; s == STATUS_OK && (length = getline(&line, &capacity, stream)) > 0;) {
        cJSON *record = parse_line(line, (size_t)length);
        if (record) s = listener(context, record);
        cJSON_Delete(record);
    }
    free(line);
    fclose(stream);
    TRY(s);
    l->listeners[l->listener_count].tell = listener;
    l->listeners[l->listener_count++].context = context;
    return STATUS_OK;
}

status run_log_sync(run_log *l) {
    return fdatasync(fileno(l->stream)) == 0 ? STATUS_OK : fail("%s: cannot sync: %s", l->path, strerror(errno));
}

/* The shares lie behind the entries that point at them. */
void step_record_take(step_record *r, const pass_statistics *s) {
    size_t shares = 0;
    for (int i = 0; i < s->routed; i++) shares += (size_t)s->routing[i].experts;
    free(r->routing);
    r->ce = s->ce;
    r->aux = s->aux;
    r->kl = s->kl;
    r->hidden = s->hidden;
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
    cJSON_Delete(r->val_domains);
    cJSON_Delete(r->val_ema_domains);
    cJSON_Delete(r->drawn);
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
        if (e->labelled > 0) {
            add_short(pass, "label_ce", "%.5f", e->label_ce);
            add_short(pass, "label_hits", "%.4f", e->label_hits);
        }
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
    if (s->has_kl) add_short(record, "kl", "%.9g", s->kl);
    if (s->has_hidden) add_short(record, "hidden", "%.9g", s->hidden);
    cJSON_AddNumberToObject(record, "lr_factor", s->lr_factor);
    cJSON_AddNumberToObject(record, "lr", s->lr);
    cJSON_AddNumberToObject(record, "grad_norm", s->grad_norm);
    cJSON_AddNumberToObject(record, "tokens", (double)s->tokens);
    add_short(record, "seconds", "%.4f", s->seconds);
    add_short(record, "tokens_per_second", "%.1f", s->tokens_per_second);
    add_short(record, "time", "%.3f", time_of_day());
    if (s->routed) cJSON_AddItemToObject(record, "experts", routing_record(s));
    if (s->events) cJSON_AddItemToObject(record, "events", s->events);
    if (s->drawn) cJSON_AddItemToObject(record, "drawn", s->drawn);
    s->events = s->drawn = NULL;
    add_looks(record, s);
    return run_log_write(l, record);
}
