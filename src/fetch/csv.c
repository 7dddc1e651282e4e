#include "fetch/csv.h"
#include "base/byte_order_mark.h"
#include "base/memory.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void csv_open(csv *c, const char *where) {
    *c = (csv){.where = where, .line = 1};
}

void csv_close(csv *c) {
    free(c->text);
    free(c->header);
    *c = (csv){0};
}

const char *csv_field(const csv *c, int field) {
    return c->text + c->starts[field];
}

const char *csv_name(const csv *c, int field) {
    return c->header + c->names[field];
}

static status wrong(const csv *c, const char *expected) {
    return fail("%s:%" PRId64 ": expected %s", c->where, c->line, expected);
}

static status put(csv *c, char byte) {
    if (c->bytes == CSV_MAX_RECORD) return wrong(c, "a record of at most 64 MiB");
    if (c->bytes == c->room) c->text = xrealloc(c->text, c->room = c->room ? 2 * c->room : 4096);
    c->text[c->bytes++] = byte;
    return STATUS_OK;
}

static status begin_field(csv *c) {
    if (c->fields == CSV_MAX_FIELDS) return wrong(c, "at most 1024 fields");
    c->starts[c->fields++] = c->bytes;
    c->state = CSV_FIELD_START;
    return STATUS_OK;
}

/* The names: the record's text changes hands. */
static void take_header(csv *c) {
    c->header = c->text;
    c->name_count = c->fields;
    memcpy(c->names, c->starts, (size_t)c->fields * sizeof *c->names);
    const size_t mark = byte_order_mark(c->header, strlen(c->header));
    if (mark > 0) c->names[0] = mark;
    c->text = NULL;
    c->room = 0;
}

static status end_record(csv *c, csv_record record, void *context) {
    status s = put(c, '\0');
    /* An empty line is a record of one empty field; where records have more it is nothing. */
    const bool blank = c->fields == 1 && c->bytes == 1;
    if (s == STATUS_OK && c->name_count == 0 && !blank)
        take_header(c);
    else if (s == STATUS_OK && c->name_count > 0 && !(blank && c->name_count > 1)) {
        if (c->fields != c->name_count)
            s = fail("%s:%" PRId64 ": expected %d fields as in the first line, found %d", c->where, c->line,
                     c->name_count, c->fields);
        else
            s = record(context, c);
    }
    c->bytes = 0;
    c->fields = 0;
    c->begun = false;
    c->state = CSV_FIELD_START;
    return s;
}

/* Whether all that came so far is a byte order mark. */
static bool is_mark(const csv *c) {
    return c->name_count == 0 && c->bytes == 3 && byte_order_mark(c->text, 3) > 0;
}

static status take(csv *c, char byte, csv_record record, void *context) {
    if (byte == '\0') return wrong(c, "text, found a NUL");
    if (!c->begun) {
        c->begun = true;
        c->line = c->lines + 1;
        TRY(begin_field(c));
    }
    if (byte == '\n') c->lines++;
    if (c->state == CSV_QUOTED) {
        if (byte != '"') return put(c, byte);
        c->state = CSV_QUOTE_IN_QUOTED;
        return STATUS_OK;
    }
    if (c->state == CSV_CARRIAGE_RETURN && byte != '\n') return wrong(c, "a line end behind a carriage return");
    if (byte == '\n') return end_record(c, record, context);
    if (byte == '\r') {
        c->state = CSV_CARRIAGE_RETURN;
        return STATUS_OK;
    }
    if (byte == ',') {
        TRY(put(c, '\0'));
        return begin_field(c);
    }
    if (c->state == CSV_QUOTE_IN_QUOTED && byte != '"') return wrong(c, "a comma or a line end behind a closing quote");
    if (byte == '"' && c->state == CSV_BARE && is_mark(c)) {
        c->bytes = 0;
        c->state = CSV_QUOTED;
        return STATUS_OK;
    }
    if (byte == '"' && c->state == CSV_BARE) return wrong(c, "no quote within a field without quotes");
    const bool opening = byte == '"' && c->state == CSV_FIELD_START;
    c->state = byte == '"' ? CSV_QUOTED : CSV_BARE;
    return opening ? STATUS_OK : put(c, byte);
}

status csv_feed(csv *c, const char *bytes, size_t count, csv_record record, void *context) {
    for (size_t i = 0; i < count; i++) TRY(take(c, bytes[i], record, context));
    return STATUS_OK;
}

status csv_end(csv *c, csv_record record, void *context) {
    if (!c->begun) return STATUS_OK;
    if (c->state == CSV_QUOTED) return wrong(c, "a closing quote, found the end");
    return end_record(c, record, context);
}
