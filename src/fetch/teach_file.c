#include "fetch/teach_file.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include "fetch/json_members.h"
#include "fetch/row.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- writing ---- */

static void put_count(FILE *out, const char *key, int64_t count) {
    if (count >= 0)
        fprintf(out, "\"%s\": %" PRId64, key, count);
    else
        fprintf(out, "\"%s\": null", key);
}

static void put_string_or_null(FILE *out, const char *text) {
    if (text)
        row_put_string(out, text);
    else
        fputs("null", out);
}

status teach_file_append(const char *path, const completion_request *q, const completion *a) {
    text_stream t;
    FILE *out = text_stream_begin(&t);
    fputs("{\"prompt\": ", out);
    row_put_string(out, q->prompt);
    fputs(", \"text\": ", out);
    row_put_string(out, a->text);
    fputs(", \"model\": ", out);
    row_put_string(out, a->model ? a->model : q->model);
    fputs(", \"settings\": {\"temperature\": ", out);
    completion_put_number(out, q->temperature);
    fprintf(out, ", \"max_tokens\": %" PRId64 ", \"seed\": %" PRId64 "}, \"finish_reason\": ", q->max_tokens, q->seed);
    put_string_or_null(out, a->finish);
    fputs(", \"usage\": {", out);
    put_count(out, "prompt_tokens", a->prompt_tokens);
    fputs(", ", out);
    put_count(out, "completion_tokens", a->completion_tokens);
    fputs("}}\n", out);
    char *line = text_stream_end(&t);
    status s = file_append(path, line, t.bytes);
    free(line);
    return s;
}

/* ---- reading ---- */

typedef struct line {
    char *prompt, *text, *finish;
    int64_t seed, tokens; /* -1: not said */
} line;

static status take_size(json_members *p, int64_t *value, const char *what) {
    uint64_t size;
    if (json_take_null(p)) return STATUS_OK;
    if (!json_scan_size(&p->scan, &size)) return json_malformed(p, what);
    *value = (int64_t)size;
    return STATUS_OK;
}

static status take_setting(json_members *p, void *context, bool *taken) {
    *taken = strcmp(p->text, "seed") == 0;
    return *taken ? take_size(p, &((line *)context)->seed, "a seed") : STATUS_OK;
}

static status take_usage(json_members *p, void *context, bool *taken) {
    *taken = strcmp(p->text, "completion_tokens") == 0;
    return *taken ? take_size(p, &((line *)context)->tokens, "a number of tokens") : STATUS_OK;
}

static status take_member(json_members *p, void *context, bool *taken) {
    line *l = context;
    if (strcmp(p->text, "prompt") == 0) return json_take_text(p, &l->prompt, "a prompt");
    if (strcmp(p->text, "text") == 0) return json_take_text(p, &l->text, "a text");
    if (strcmp(p->text, "finish_reason") == 0) return json_take_text(p, &l->finish, "a finish_reason");
    if (strcmp(p->text, "settings") == 0) return json_take_members(p, "settings", take_setting, l);
    if (strcmp(p->text, "usage") == 0) return json_take_members(p, "usage", take_usage, l);
    *taken = false;
    return STATUS_OK;
}

static void line_free(line *l) {
    free(l->prompt);
    free(l->text);
    free(l->finish);
}

/* room: of as many bytes as the text and one more */
static status parse(line *l, const char *text, size_t bytes, const char *where, char *room) {
    json_members p = {.scan = {text, text + bytes}, .where = where, .what = "", .text = room};
    *l = (line){.seed = -1, .tokens = -1};
    TRY(json_take_members(&p, "an answer, a JSON object", take_member, l));
    if (!json_scan_at_end(&p.scan)) return json_malformed(&p, "the end of the line");
    return l->prompt && l->text && l->seed >= 0 ? STATUS_OK
                                                : json_malformed(&p, "prompt, text and settings with a seed");
}

typedef status (*line_visitor)(void *context, const line *l, const char *text, size_t bytes);

/* Every line with its end. */
static status each_line(const char *path, const char *text, size_t bytes, line_visitor visit, void *context) {
    char *room = xmalloc(bytes + 1);
    status s = STATUS_OK;
    int64_t number = 1;
    for (const char *next = text; s == STATUS_OK && next < text + bytes; number++) {
        const char *found = memchr(next, '\n', (size_t)(text + bytes - next)), *end = found ? found + 1 : text + bytes;
        char *where = xasprintf("%s:%" PRId64, path, number);
        line l;
        s = parse(&l, next, (size_t)(end - next), where, room);
        if (s == STATUS_OK) s = visit(context, &l, next, (size_t)(end - next));
        line_free(&l);
        free(where);
        next = end;
    }
    free(room);
    return s;
}

void teach_count(teach_counts *counts, const char *text, const char *finish, int64_t completion_tokens) {
    counts->texts++;
    if (!*text) counts->empty++;
    if (finish && strcmp(finish, "length") == 0) counts->cut++;
    if (completion_tokens > 0) counts->completion_tokens += completion_tokens;
}

typedef struct reader {
    questions *q;
    int domain;
    teach_counts *counts;
} reader;

static status mark(void *context, const line *l, const char *text, size_t bytes) {
    (void)text, (void)bytes;
    reader *r = context;
    question *of = questions_find(r->q, r->domain, l->seed, l->prompt);
    if (of && !of->answered)
        teach_count(r->counts, l->text, l->finish, l->tokens);
    else
        r->counts->others++;
    if (of) of->answered = true;
    return STATUS_OK;
}

/* What a kill left of a line. */
static status cut_half_line(const char *path, const char *text, size_t *bytes) {
    const char *end = *bytes ? memrchr(text, '\n', *bytes) : NULL;
    const size_t whole = end ? (size_t)(end - text) + 1 : 0;
    if (whole < *bytes && truncate(path, (off_t)whole) != 0)
        return fail("%s: cannot cut half a line off at byte %zu: %s", path, whole, strerror(errno));
    *bytes = whole;
    return STATUS_OK;
}

status teach_file_read(const char *path, questions *q, int domain, teach_counts *counts) {
    reader r = {q, domain, counts};
    path_kind kind;
    uint8_t *text;
    size_t bytes;
    *counts = (teach_counts){0};
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return STATUS_OK;
    TRY(file_read(path, FILE_ANY_SIZE, &text, &bytes));
    status s = cut_half_line(path, (char *)text, &bytes);
    if (s == STATUS_OK) s = each_line(path, (char *)text, bytes, mark, &r);
    free(text);
    return s;
}

/* ---- order ---- */

typedef struct place {
    const char *text;
    size_t bytes;
    int prompt, repetition; /* of others INT32_MAX */
    size_t number;
} place;

typedef struct sorter {
    const questions *q;
    int domain;
    place *places;
    size_t count;
} sorter;

static status note_place(void *context, const line *l, const char *text, size_t bytes) {
    sorter *s = context;
    const question *of = questions_find(s->q, s->domain, l->seed, l->prompt);
    if ((s->count & (s->count - 1)) == 0)
        s->places = xrealloc(s->places, (s->count ? 2 * s->count : 1) * sizeof *s->places);
    s->places[s->count] = (place){text, bytes, of ? of->prompt : INT32_MAX, of ? of->repetition : INT32_MAX, s->count};
    s->count++;
    return STATUS_OK;
}

static int compare(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->prompt != y->prompt) return x->prompt < y->prompt ? -1 : 1;
    if (x->repetition != y->repetition) return x->repetition < y->repetition ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static status write_sorted(const char *path, const sorter *s) {
    file_writer w;
    bool sorted = true;
    for (size_t i = 0; i < s->count; i++) sorted = sorted && s->places[i].number == i;
    if (sorted) return STATUS_OK;
    TRY(file_create(&w, path));
    for (size_t i = 0; i < s->count; i++) file_write(&w, s->places[i].text, s->places[i].bytes);
    return file_commit(&w);
}

status teach_file_sort(const char *path, const questions *q, int domain) {
    sorter of = {.q = q, .domain = domain};
    uint8_t *text;
    size_t bytes;
    TRY(file_read(path, FILE_ANY_SIZE, &text, &bytes));
    status s = each_line(path, (char *)text, bytes, note_place, &of);
    if (s == STATUS_OK && of.count > 1) qsort(of.places, of.count, sizeof *of.places, compare);
    if (s == STATUS_OK) s = write_sorted(path, &of);
    free(of.places);
    free(text);
    return s;
}
