#include "train/tensorboard.h"
#include "base/file.h"
#include "base/memory.h"
#include "train/event_file.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME_FRONT "events.out.tfevents."
#define NAME_END ".moec"

struct tensorboard {
    event_file *file;
};

/* ---- files ---- */

static bool is_made_name(const char *name) {
    const size_t front = strlen(NAME_FRONT);
    if (strncmp(name, NAME_FRONT, front) != 0) return false;
    const size_t digits = strspn(name + front, "0123456789");
    return digits > 0 && strcmp(name + front + digits, NAME_END) == 0;
}

status tensorboard_remove(const char *run) {
    char **names;
    size_t count;
    TRY(folder_list(run, &names, &count));
    status s = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(run, names[i]);
        if (s == STATUS_OK && is_made_name(names[i]) && unlink(path) != 0)
            s = fail("%s: cannot be removed: %s", path, strerror(errno));
        free(path);
        free(names[i]);
    }
    free(names);
    return s;
}

status tensorboard_create(tensorboard **out, const char *run) {
    *out = NULL;
    TRY(tensorboard_remove(run));
    tensorboard *t = xcalloc(1, sizeof *t);
    const time_t now = time(NULL);
    char *path = xasprintf("%s/" NAME_FRONT "%010lld" NAME_END, run, (long long)now);
    const status s = event_file_create(&t->file, path, (double)now);
    free(path);
    if (s == STATUS_OK)
        *out = t;
    else
        tensorboard_close(t);
    return s;
}

void tensorboard_close(tensorboard *t) {
    if (!t) return;
    event_file_close(t->file);
    free(t);
}

/* ---- records ---- */

static void add(tensorboard *t, double value, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add(tensorboard *t, double value, const char *format, ...) {
    char tag[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tag, sizeof tag, format, arguments);
    va_end(arguments);
    event_file_add(t->file, tag, value);
}

static void add_number(tensorboard *t, const cJSON *number) {
    static const char *const not_scalars[] = {"step", "time"};
    const char *key = number->string;
    for (size_t i = 0; i < sizeof not_scalars / sizeof *not_scalars; i++)
        if (strcmp(key, not_scalars[i]) == 0) return;
    if (strncmp(key, "val_", 4) == 0)
        add(t, number->valuedouble, "val/%s", key + 4);
    else
        add(t, number->valuedouble, "train/%s", key);
}

/* The how-manieth pass through the layer this is: the log has them in the order in which they ran. */
static int pass_of(const cJSON *experts, const cJSON *pass, double layer) {
    int number = 1;
    for (const cJSON *before = experts->child; before && before != pass; before = before->next)
        number += cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(before, "layer")) == layer;
    return number;
}

static void add_experts(tensorboard *t, const cJSON *experts) {
    const cJSON *pass, *share;
    cJSON_ArrayForEach(pass, experts) {
        const double layer = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(pass, "layer"));
        const cJSON *entropy = cJSON_GetObjectItemCaseSensitive(pass, "entropy");
        const int number = pass_of(experts, pass, layer);
        int expert = 0;
        cJSON_ArrayForEach(share, cJSON_GetObjectItemCaseSensitive(pass, "share"))
            add(t, share->valuedouble, "experts/layer%.0f_pass%d_expert%d", layer, number, expert++);
        if (cJSON_IsNumber(entropy)) add(t, entropy->valuedouble, "router_entropy/layer%.0f_pass%d", layer, number);
    }
}

static void add_item(tensorboard *t, const cJSON *item) {
    const cJSON *number;
    if (cJSON_IsNumber(item)) add_number(t, item);
    if (cJSON_IsArray(item) && strcmp(item->string, "experts") == 0) add_experts(t, item);
    if (!cJSON_IsObject(item)) return;
    cJSON_ArrayForEach(number, item) if (cJSON_IsNumber(number))
        add(t, number->valuedouble, "%s/%.200s", item->string, number->string);
}

/* Records of older logs have no time: their events are as far apart as the seconds of training. */
status tensorboard_record(void *context, const cJSON *record) {
    tensorboard *t = context;
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(record, "step"), *item;
    const cJSON *time = cJSON_GetObjectItemCaseSensitive(record, "time");
    if (!cJSON_IsNumber(time)) time = cJSON_GetObjectItemCaseSensitive(record, "seconds");
    if (!cJSON_IsNumber(step)) return STATUS_OK;
    cJSON_ArrayForEach(item, record) add_item(t, item);
    return event_file_write(t->file, (int64_t)step->valuedouble, cJSON_IsNumber(time) ? time->valuedouble : 0);
}
