/* Rows of JSON become texts. Only the members that are asked for are kept, so a row costs a few times its own size whatever
 * else it holds. */
#include "base/byte_order_mark.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "text/corpus.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 16 };

/* A member that was asked for. */
typedef struct field {
    const char *name; /* part of the option */
    size_t name_bytes;
    const char *text; /* NULL: not seen yet */
    bool seen;        /* as another type, where there is no text */
} field;

typedef struct row {
    const char *where;
    json_scan scan;
    const char *begin;
    field fields[MAX_FIELDS];
    int count;
    char *buffer, *free; /* as large as the row; the texts one after another */
} row;

static status split_fields(row *r, const char *fields) {
    for (const char *name = fields; name;) {
        const char *comma = strchr(name, ',');
        if (r->count == MAX_FIELDS)
            return fail_usage("--field: expected at most %d names, found `%s`", MAX_FIELDS, fields);
        r->fields[r->count++] = (field){.name = name, .name_bytes = comma ? (size_t)(comma - name) : strlen(name)};
        name = comma ? comma + 1 : NULL;
    }
    return STATUS_OK;
}

static field *find_field(row *r, const char *name) {
    size_t bytes = strlen(name);
    for (int i = 0; i < r->count; i++)
        if (r->fields[i].name_bytes == bytes && memcmp(r->fields[i].name, name, bytes) == 0) return &r->fields[i];
    return NULL;
}

static status not_json(const row *r) {
    const char *at = r->scan.next;
    static const char zero[] = "\\u0000";
    if (at - r->begin >= 6 && memcmp(at - 6, zero, 6) == 0)
        return fail("%s: expected text, found the character U+0000 at byte %td of the row", r->where,
                    at - 6 - r->begin);
    size_t left = (size_t)(r->scan.end - at);
    if (left == 0) return fail("%s: expected one JSON object, found the end of the row within it", r->where);
    return fail("%s: expected one JSON object and nothing else, found \"%.*s\" at byte %td of the row", r->where,
                (int)(left < 40 ? left : 40), at, at - r->begin);
}

/* "name": value */
static status read_member(row *r) {
    if (!json_scan_string(&r->scan, r->free) || !json_scan_take(&r->scan, ':')) return not_json(r);
    field *f = find_field(r, r->free);
    if (!f) return json_scan_skip(&r->scan) ? STATUS_OK : not_json(r);
    if (f->seen) return fail("%s: expected \"%.*s\" once, found it twice", r->where, (int)f->name_bytes, f->name);
    f->seen = true;
    if (json_scan_peek(&r->scan) != '"') return json_scan_skip(&r->scan) ? STATUS_OK : not_json(r);
    if (!json_scan_string(&r->scan, r->free)) return not_json(r);
    f->text = r->free;
    r->free += strlen(r->free) + 1;
    return STATUS_OK;
}

static status read_members(row *r) {
    if (json_scan_peek(&r->scan) != '{')
        return json_scan_skip(&r->scan) && json_scan_at_end(&r->scan)
                   ? fail("%s: expected an object with a string \"%.*s\" (see --field), found no object", r->where,
                          (int)r->fields[0].name_bytes, r->fields[0].name)
                   : not_json(r);
    json_scan_take(&r->scan, '{');
    if (!json_scan_take(&r->scan, '}')) {
        do TRY(read_member(r));
        while (json_scan_take(&r->scan, ','));
        if (!json_scan_take(&r->scan, '}')) return not_json(r);
    }
    return json_scan_at_end(&r->scan) ? STATUS_OK : not_json(r);
}

/* The texts in the order of the fields, joined by line ends. */
static status join_fields(const row *r, char **text, size_t *bytes) {
    size_t total = 0;
    for (int i = 0; i < r->count; i++) {
        const field *f = &r->fields[i];
        if (!f->text)
            return fail("%s: expected an object with a string \"%.*s\" (see --field), found %s", r->where,
                        (int)f->name_bytes, f->name, f->seen ? "another type" : "no such member");
        total += strlen(f->text) + 1;
    }
    char *at = *text = xmalloc(total);
    for (int i = 0; i < r->count; i++) {
        at = stpcpy(at, r->fields[i].text);
        *at++ = '\n';
    }
    *bytes = total - 1;
    (*text)[*bytes] = '\0';
    return STATUS_OK;
}

status jsonl_row(const char *line, size_t bytes, const char *fields, const char *where, char **text, size_t *count) {
    row r = {.where = where, .scan = {line, line + bytes}, .begin = line};
    TRY(split_fields(&r, fields));
    /* Texts and their NULs never need more than the row with its quotes; a name is put where the next text will be. */
    r.buffer = r.free = xmalloc(bytes + 1);
    status s = read_members(&r);
    if (s == STATUS_OK) s = join_fields(&r, text, count);
    free(r.buffer);
    return s;
}

static bool is_blank(const char *text, size_t bytes) {
    size_t at = 0;
    while (at < bytes && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r')) at++;
    return at == bytes;
}

static status add_row(corpus *c, const char *where, const char *line, size_t bytes) {
    char *text;
    size_t count;
    if (bytes > CORPUS_ROW_BYTES)
        return fail("%s: expected a row of at most %d bytes, found %zu", where, CORPUS_ROW_BYTES, bytes);
    TRY(jsonl_row(line, bytes, c->options.fields, where, &text, &count));
    corpus_add_text(c, where, text, count, count > CORPUS_LONG_FILE);
    free(text);
    return STATUS_OK;
}

status corpus_add_jsonl(corpus *c, const char *path, const char *text, size_t bytes) {
    long long number = 1;
    for (size_t at = byte_order_mark(text, bytes), length; at < bytes; at += length + 1, number++) {
        const char *end = memchr(text + at, '\n', bytes - at);
        length = end ? (size_t)(end - text) - at : bytes - at;
        if (is_blank(text + at, length)) continue;
        char *where = xasprintf("%s:%lld", path, number);
        status s = add_row(c, where, text + at, length);
        free(where);
        TRY(s);
    }
    return STATUS_OK;
}
