#include "store/layout_head.h"

#include "base/file.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

enum {
    MAGIC_BYTES = 8,
    FIXED_BYTES = MAGIC_BYTES + 4 + 4 + 8,                 /* magic, version, the head's bytes, the file's */
    ENTRY_BYTES = 8 + 5 + 3 * 8 + STORED_ARRAYS * (8 + 8), /* name, kinds and flags, sizes, arrays */
    ENDING_BYTES = 8,                                      /* its CRC-64 */
    HALF = 1,
    HAS_OFFSET = 2,
    FINE = 4,
    KINDS = 3,
    VECTOR = STORED_NOTHING /* in the place of a matrix's kind */
};

void layout_head_free(layout_head *h) {
    free(h->path);
    free(h->key);
    free(h->entries);
    free(h->pieces);
    *h = (layout_head){0};
}

static uint64_t up(uint64_t value, uint64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/* ---- writing ---- */

/* From `at` on; returns where they end. */
static uint64_t place_entries(layout_head *h, uint64_t at) {
    for (int i = 0; i < h->count; i++) {
        layout_entry *e = &h->entries[i];
        at = up(at, LAYOUT_PAGE);
        for (int a = 0; a < STORED_ARRAYS; a++) {
            e->offset[a] = at;
            at = up(at + (uint64_t)e->weight.bytes[a], STORED_ALIGNMENT);
        }
    }
    return at;
}

void layout_head_place(layout_head *h) {
    const uint64_t arrays = place_entries(h, 0); /* the data's bytes: its beginning is a whole page */
    h->piece_count = (int64_t)(up(arrays, LAYOUT_PIECE) / LAYOUT_PIECE);
    const uint64_t head = FIXED_BYTES + 4 + strlen(h->path) + 4 + strlen(h->key) + 4 +
                          (uint64_t)h->count * ENTRY_BYTES + 4 + (uint64_t)h->piece_count * 8 + ENDING_BYTES;
    h->data = up(head, LAYOUT_PAGE);
    h->file_bytes = place_entries(h, h->data);
    free(h->pieces);
    h->pieces = xcalloc((size_t)h->piece_count, sizeof *h->pieces);
}

static void add_text(byte_buffer *out, const char *text) {
    buffer_add_number(out, strlen(text), 4);
    buffer_add(out, text, strlen(text));
}

static void add_entry(byte_buffer *out, const layout_entry *e) {
    const stored_weight *w = &e->weight;
    buffer_add_number(out, e->name, 8);
    buffer_add_number(out, e->is_vector ? VECTOR : w->kind, 1);
    buffer_add_number(out, w->type, 1);
    buffer_add_number(out, (uint64_t)w->bits, 1);
    buffer_add_number(out, (uint64_t)w->zero, 1);
    buffer_add_number(out, (w->half ? HALF : 0) | (w->has_offset ? HAS_OFFSET : 0) | (w->fine ? FINE : 0), 1);
    buffer_add_number(out, (uint64_t)w->rows, 8);
    buffer_add_number(out, (uint64_t)w->cols, 8);
    buffer_add_number(out, (uint64_t)w->group, 8);
    for (int a = 0; a < STORED_ARRAYS; a++) {
        buffer_add_number(out, e->offset[a], 8);
        buffer_add_number(out, (uint64_t)w->bytes[a], 8);
    }
}

void layout_head_write(const layout_head *h, byte_buffer *out) {
    byte_buffer rest = {0};
    add_text(&rest, h->path);
    add_text(&rest, h->key);
    buffer_add_number(&rest, (uint64_t)h->count, 4);
    for (int i = 0; i < h->count; i++) add_entry(&rest, &h->entries[i]);
    buffer_add_number(&rest, (uint64_t)h->piece_count, 4);
    for (int64_t i = 0; i < h->piece_count; i++) buffer_add_number(&rest, h->pieces[i], 8);
    buffer_add(out, LAYOUT_MAGIC, MAGIC_BYTES);
    buffer_add_number(out, LAYOUT_VERSION, 4);
    buffer_add_number(out, FIXED_BYTES + rest.count + ENDING_BYTES, 4);
    buffer_add_number(out, h->file_bytes, 8);
    buffer_add(out, rest.bytes, rest.count);
    buffer_add_number(out, crc64(0, out->bytes, out->count), 8);
    free(rest.bytes);
}

/* ---- reading ---- */

/* A new string without NULs inside; NULL: it is not one. */
static char *take_text(byte_reader *r) {
    const uint64_t bytes = reader_number(r, 4);
    const uint8_t *text = bytes <= LAYOUT_MOST_TEXT ? reader_take(r, (size_t)bytes) : NULL;
    return text && !memchr(text, 0, (size_t)bytes) ? xasprintf("%.*s", (int)bytes, (const char *)text) : NULL;
}

/* What a head begins with, in every version. */
typedef struct beginning {
    uint64_t version, head, file; /* head, file: bytes */
} beginning;

/* The reader is behind it then; false: there is none. */
static bool begin(byte_reader *r, const uint8_t *bytes, size_t count, beginning *b) {
    *r = (byte_reader){.next = bytes, .left = count};
    const uint8_t *magic = reader_take(r, MAGIC_BYTES);
    const bool mine = magic && memcmp(magic, LAYOUT_MAGIC, MAGIC_BYTES) == 0;
    b->version = reader_number(r, 4);
    b->head = reader_number(r, 4);
    b->file = reader_number(r, 8);
    return mine && !r->overrun;
}

char *layout_head_path(const uint8_t *bytes, size_t count) {
    byte_reader r;
    beginning b;
    return begin(&r, bytes, count, &b) ? take_text(&r) : NULL;
}

static bool read_kind(layout_entry *e, byte_reader *r) {
    stored_weight *w = &e->weight;
    const uint64_t kind = reader_number(r, 1), type = reader_number(r, 1);
    w->bits = (int)reader_number(r, 1);
    w->zero = (int)reader_number(r, 1);
    const uint64_t flags = reader_number(r, 1);
    e->is_vector = kind == VECTOR;
    w->kind = (stored_kind)kind;
    w->type = (dtype)type;
    w->half = flags & HALF;
    w->has_offset = flags & HAS_OFFSET;
    w->fine = flags & FINE;
    return kind < KINDS && (type == DTYPE_F32 || type == DTYPE_BF16) && flags < 2 * FINE;
}

/* Arrays come one behind another, within the file; *end is where the last one ended. */
static bool read_places(layout_entry *e, byte_reader *r, uint64_t file_bytes, uint64_t *end) {
    for (int a = 0; a < STORED_ARRAYS; a++) {
        const uint64_t offset = reader_number(r, 8), bytes = reader_number(r, 8);
        if (offset % (a == 0 ? LAYOUT_PAGE : STORED_ALIGNMENT) != 0 || offset < *end) return false;
        if (offset > file_bytes || bytes > file_bytes - offset) return false;
        e->offset[a] = offset;
        e->weight.bytes[a] = (int64_t)bytes;
        *end = offset + bytes;
    }
    return true;
}

static bool read_entry(layout_entry *e, byte_reader *r, uint64_t file_bytes, uint64_t *end) {
    e->name = reader_number(r, 8);
    if (!read_kind(e, r)) return false;
    const uint64_t rows = reader_number(r, 8), cols = reader_number(r, 8), group = reader_number(r, 8);
    if (rows > INT32_MAX || cols > INT32_MAX || group > INT32_MAX) return false;
    e->weight.rows = (int64_t)rows;
    e->weight.cols = (int64_t)cols;
    e->weight.group = (int64_t)group;
    return read_places(e, r, file_bytes, end) && !r->overrun;
}

static status read_entries(layout_head *h, byte_reader *r, const char *where) {
    const uint64_t count = reader_number(r, 4);
    uint64_t end = h->data;
    if (r->overrun || count > r->left / ENTRY_BYTES)
        return fail("%s: expected entries for its parameters, found %llu of them in %zu bytes", where,
                    (unsigned long long)count, r->left);
    h->entries = xcalloc((size_t)count, sizeof *h->entries);
    h->count = (int)count;
    for (int i = 0; i < h->count; i++)
        if (!read_entry(&h->entries[i], r, h->file_bytes, &end))
            return fail("%s: entry %d of %d: expected kinds, sizes and places that can be, found others", where, i,
                        h->count);
    return STATUS_OK;
}

static status read_pieces(layout_head *h, byte_reader *r, const char *where) {
    const uint64_t count = reader_number(r, 4), data = h->file_bytes - h->data;
    if (r->overrun || count != up(data, LAYOUT_PIECE) / LAYOUT_PIECE || r->left != count * 8)
        return fail("%s: expected the checksums of %llu bytes, found %llu", where, (unsigned long long)data,
                    (unsigned long long)count);
    h->pieces = xcalloc((size_t)count, sizeof *h->pieces);
    h->piece_count = (int64_t)count;
    for (uint64_t i = 0; i < count; i++) h->pieces[i] = reader_number(r, 8);
    return STATUS_OK;
}

static status parse(layout_head *h, byte_reader *r, const char *where) {
    h->path = take_text(r);
    h->key = take_text(r);
    if (!h->path || !h->key) return fail("%s: expected a path and what it was made for, found neither", where);
    TRY(read_entries(h, r, where));
    return read_pieces(h, r, where);
}

status layout_head_parse(layout_head *h, const uint8_t *bytes, size_t count, uint64_t file_bytes, const char *where,
                         bool check_crc) {
    byte_reader r;
    beginning b;
    *h = (layout_head){0};
    if (!begin(&r, bytes, count, &b) || b.version != LAYOUT_VERSION)
        return fail("%s: expected a layout of version %d, found something else", where, LAYOUT_VERSION);
    if (b.head < FIXED_BYTES + ENDING_BYTES || b.head > count || b.head > LAYOUT_MOST_HEAD)
        return fail("%s: expected a head of at most %zu bytes, found one of %llu", where, count,
                    (unsigned long long)b.head);
    byte_reader ending = {.next = bytes + b.head - ENDING_BYTES, .left = ENDING_BYTES};
    if (check_crc && reader_number(&ending, 8) != crc64(0, bytes, (size_t)b.head - ENDING_BYTES))
        return fail("%s: expected a head with its checksum, found another: it is damaged", where);
    h->data = up(b.head, LAYOUT_PAGE);
    h->file_bytes = b.file;
    if (b.file != file_bytes || h->data > b.file)
        return fail("%s: expected a file of %llu bytes, found %llu", where, (unsigned long long)b.file,
                    (unsigned long long)file_bytes);
    r.left = (size_t)b.head - FIXED_BYTES - ENDING_BYTES;
    const status s = parse(h, &r, where);
    if (s != STATUS_OK) layout_head_free(h);
    return s;
}
