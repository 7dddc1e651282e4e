#include "train/log_csv.h"
#include "base/csv_text.h"
#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_COLUMN "step"

struct log_csv {
    char *path;
    FILE *stream;
    char **columns;
    int count;
};

status log_csv_check(const char *path) {
    FILE *stream;
    char begin[sizeof FIRST_COLUMN] = "";
    if (!path_exists(path)) return STATUS_OK;
    TRY(file_open_stream(path, O_RDONLY, "r", &stream));
    const size_t count = fread(begin, 1, strlen(FIRST_COLUMN ","), stream);
    fclose(stream);
    if (count == 0 || memcmp(begin, FIRST_COLUMN ",", strlen(FIRST_COLUMN ",")) == 0) return STATUS_OK;
    return fail("%s: expected nothing or the table of an older run to replace, found another file", path);
}

/* ---- values ---- */

/* KEY, or KEY.NAME: no key of the log has a dot, names of domains may. */
static const cJSON *find(const cJSON *record, const char *column) {
    const char *dot = strchr(column, '.');
    const cJSON *whole = cJSON_GetObjectItemCaseSensitive(record, column);
    if (whole || !dot) return whole;
    char *key = xasprintf("%.*s", (int)(dot - column), column);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(record, key), dot + 1);
    free(key);
    return item;
}

static void put_value(FILE *out, const cJSON *value) {
    char *text = cJSON_IsNumber(value) ? cJSON_PrintUnformatted(value) : NULL;
    if (text) fputs(text, out);
    cJSON_free(text);
}

static status end_line(log_csv *c) {
    const bool written = fputs("\n", c->stream) >= 0 && fflush(c->stream) == 0;
    return written ? STATUS_OK : fail("%s: cannot write: %s", c->path, strerror(errno));
}

/* ---- lines ---- */

static status write_header(log_csv *c) {
    for (int i = 0; i < c->count; i++) {
        if (i > 0) fputc(',', c->stream);
        csv_put_text(c->stream, c->columns[i]);
    }
    return end_line(c);
}

status log_csv_create(log_csv **out, const char *path, char **columns, int count) {
    log_csv *c = xcalloc(1, sizeof *c);
    c->path = xstrdup(path);
    c->columns = columns;
    c->count = count;
    status s = log_csv_check(path);
    if (s == STATUS_OK) s = file_open_stream(path, O_WRONLY | O_CREAT | O_TRUNC, "w", &c->stream);
    if (s == STATUS_OK) s = write_header(c);
    if (s != STATUS_OK) {
        log_csv_close(c);
        c = NULL;
    }
    *out = c;
    return s;
}

status log_csv_record(void *context, const cJSON *record) {
    log_csv *c = context;
    if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(record, FIRST_COLUMN))) return STATUS_OK;
    for (int i = 0; i < c->count; i++) {
        if (i > 0) fputc(',', c->stream);
        put_value(c->stream, find(record, c->columns[i]));
    }
    return end_line(c);
}

void log_csv_close(log_csv *c) {
    if (!c) return;
    if (c->stream) fclose(c->stream);
    for (int i = 0; i < c->count; i++) free(c->columns[i]);
    free(c->columns);
    free(c->path);
    free(c);
}
