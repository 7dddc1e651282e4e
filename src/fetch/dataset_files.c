#include "fetch/dataset_files.h"
#include "base/byte_order_mark.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/text_stream.h"
#include "fetch/csv.h"
#include "fetch/hub.h"
#include "fetch/mend.h"
#include "fetch/unpack.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

/* ---- kinds of files ---- */

typedef enum file_kind { KIND_NONE, KIND_JSONL, KIND_CSV, KIND_TEXT } file_kind;

static bool ends_in(const char *name, size_t length, const char *end) {
    return length >= strlen(end) && strncasecmp(name + length - strlen(end), end, strlen(end)) == 0;
}

static file_kind kind_of(const char *name) {
    static const struct {
        const char *end;
        file_kind kind;
    } ends[] = {{".jsonl", KIND_JSONL}, {".ndjson", KIND_JSONL}, {".json", KIND_JSONL}, {".csv", KIND_CSV},
                {".txt", KIND_TEXT},    {".text", KIND_TEXT},    {".md", KIND_TEXT}};
    size_t length = strlen(name);
    if (ends_in(name, length, ".gz"))
        length -= 3;
    else if (ends_in(name, length, ".zst"))
        length -= 4;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_in(name, length, ends[i].end)) return ends[i].kind;
    return KIND_NONE;
}

status dataset_files_check(const char *name) {
    if (kind_of(name) != KIND_NONE) return STATUS_OK;
    if (ends_in(name, strlen(name), ".parquet"))
        return fail("%s: Parquet is not read (no maintained C library in Debian does); without --file its rows come "
                    "through the viewer",
                    name);
    return fail("%s: expected .jsonl, .csv or .txt, or one of them with .gz or .zst behind", name);
}

/* ---- rows ---- */

typedef struct reading {
    const dataset_request *q;
    dataset_result *r;
    FILE *out;
    const char *where;
} reading;

static bool is_enough(const reading *g) {
    return g->q->rows && g->r->rows >= g->q->rows;
}

static status put_row(reading *g, const char *row, size_t bytes, int64_t line) {
    bool empty = false;
    char *where = xasprintf("%s:%" PRId64, g->where, line);
    status s = STATUS_OK;
    if (g->q->form->field_count == 0) s = row_choose(g->q->form, row, bytes, where);
    if (s == STATUS_OK) s = row_write(g->q->form, row, bytes, where, g->out, &empty);
    free(where);
    TRY(s);
    g->r->rows++;
    g->r->lines += !empty;
    g->r->empty += empty;
    return STATUS_OK;
}

static status read_jsonl(reading *g, unpacker *u) {
    char *line;
    size_t bytes;
    for (int64_t number = 1; !is_enough(g); number++) {
        TRY(unpack_line(u, &line, &bytes));
        if (!line) break;
        const size_t mark = number == 1 ? byte_order_mark(line, bytes) : 0;
        line += mark, bytes -= mark;
        if (line[strspn(line, " \t")] == '\0' && strlen(line) == bytes) continue;
        g->r->mended += (int64_t)(mend_utf8(line, bytes) + mend_escapes(line, bytes));
        TRY(put_row(g, line, bytes, number));
    }
    return STATUS_OK;
}

static void put_json_member(FILE *out, const csv *c, int field) {
    fputs(field ? ", " : "{", out);
    row_put_string(out, csv_name(c, field));
    fputs(": ", out);
    row_put_string(out, csv_field(c, field));
}

static status take_record(void *context, const csv *c) {
    reading *g = context;
    text_stream t;
    if (is_enough(g)) return STATUS_OK;
    FILE *out = text_stream_begin(&t);
    for (int i = 0; i < c->name_count; i++) put_json_member(out, c, i);
    fputc('}', out);
    char *row = text_stream_end(&t);
    g->r->mended += (int64_t)mend_utf8(row, t.bytes);
    status s = put_row(g, row, t.bytes, c->line);
    free(row);
    return s;
}

static status read_csv(reading *g, unpacker *u) {
    static _Thread_local char piece[1 << 16];
    csv c;
    size_t count;
    csv_open(&c, g->where);
    status s;
    do {
        s = unpack_read(u, piece, sizeof piece, &count);
        if (s == STATUS_OK) s = count ? csv_feed(&c, piece, count, take_record, g) : csv_end(&c, take_record, g);
    } while (s == STATUS_OK && count && !is_enough(g));
    csv_close(&c);
    return s;
}

static void put_text(reading *g, const char *text) {
    g->r->rows++;
    if (text[strspn(text, " \t\r\n")] == '\0') {
        g->r->empty++;
        return;
    }
    fputs("{\"text\": ", g->out);
    row_put_string(g->out, text);
    fputs("}\n", g->out);
    g->r->lines++;
}

/* One document's lines. */
static status gather_text(reading *g, unpacker *u, FILE *text, size_t *bytes, bool *end) {
    char *line;
    size_t count;
    for (;;) {
        TRY(unpack_line(u, &line, &count));
        *end = !line;
        if (!line) return STATUS_OK;
        g->r->mended += (int64_t)mend_utf8(line, count);
        fwrite(line, 1, count, text);
        fputc('\n', text);
        fflush(text);
        const bool blank = line[strspn(line, " \t")] == '\0';
        if ((blank && *bytes >= FILES_TEXT_BYTES) || *bytes >= FILES_MAX_TEXT_BYTES) return STATUS_OK;
    }
}

static status read_text(reading *g, unpacker *u) {
    status s = STATUS_OK;
    for (bool end = false; s == STATUS_OK && !end && !is_enough(g);) {
        text_stream t;
        s = gather_text(g, u, text_stream_begin(&t), &t.bytes, &end);
        char *text = text_stream_end(&t);
        if (s == STATUS_OK && t.bytes > 0) put_text(g, text);
        free(text);
    }
    return s;
}

status dataset_files_read(const dataset_request *q, const char *path, const char *name, FILE *out, dataset_result *r) {
    reading g = {.q = q, .r = r, .out = out, .where = name};
    unpacker *u = NULL;
    const file_kind kind = kind_of(name);
    if (kind == KIND_NONE) return dataset_files_check(name);
    status s = unpack_open(&u, path);
    if (s == STATUS_OK)
        s = kind == KIND_JSONL ? read_jsonl(&g, u) : kind == KIND_CSV ? read_csv(&g, u) : read_text(&g, u);
    unpack_close(u);
    return s;
}

/* ---- the whole ---- */

static ssize_t write_to(void *context, const char *bytes, size_t count) {
    file_writer *w = context;
    file_write(w, bytes, count);
    return w->failed ? 0 : (ssize_t)count;
}

static status read_files(const dataset_request *q, const hub_result *files, dataset_result *r) {
    file_writer w;
    TRY(file_create(&w, q->out));
    FILE *out = fopencookie(&w, "w", (cookie_io_functions_t){.write = write_to});
    if (!out) memory_out(1);
    status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < files->files && !(q->rows && r->rows >= q->rows); i++) {
        char *path = path_join(files->folder, files->names[i]);
        s = dataset_files_read(q, path, files->names[i], out, r);
        free(path);
    }
    fclose(out);
    if (s == STATUS_OK) return file_commit(&w);
    file_abandon(&w);
    return s;
}

status dataset_files_fetch(http_client *c, const dataset_request *q, const char *revision, const char *pattern,
                           dataset_result *r) {
    hub_result files;
    const hub_request request = {.dataset = true,
                                 .repo = q->dataset,
                                 .revision = revision,
                                 .include = &pattern,
                                 .include_count = 1,
                                 .check = dataset_files_check};
    *r = (dataset_result){0};
    if (path_exists(q->out)) return fail("%s: is there: choose another -o, or remove it", q->out);
    char *parent = path_parent(q->out);
    status s = folder_create(parent);
    free(parent);
    TRY(s);
    s = hub_fetch(c, &request, &files);
    if (s == STATUS_OK && files.unreached && c->note) c->note(c->note_context, files.unreached);
    if (s == STATUS_OK) s = read_files(q, &files, r);
    hub_result_free(&files);
    return s;
}
