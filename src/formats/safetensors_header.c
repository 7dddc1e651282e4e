#include "formats/safetensors_header.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
    [DTYPE_F32] = "F32", [DTYPE_BF16] = "BF16", [DTYPE_F16] = "F16",
    [DTYPE_I32] = "I32", [DTYPE_I8] = "I8",     [DTYPE_U8] = "U8",
};
enum { TYPE_NAMES = sizeof type_names / sizeof *type_names, SHOWN_BYTES = 16 };

const char *safetensors_type_name(dtype type) {
    return type_names[type];
}

typedef struct reader {
    safetensors *s;
    json_scan scan;
    const char *start; /* of the header */
    const uint8_t *data;
    uint64_t data_bytes;
} reader;

static status invalid(const reader *r) {
    return fail("%s: the header is not valid JSON (at byte %td)", r->s->path, r->scan.next - r->start);
}

/* ---- the members of an entry ---- */

/* What an entry has said so far. */
typedef struct entry {
    safetensor t;
    bool has_type, has_shape, has_offsets;
    uint64_t begin, end;
} entry;

/* A value of another type than expected counts as none. */
static status pass_over(reader *r) {
    return json_scan_skip(&r->scan) ? STATUS_OK : invalid(r);
}

static status read_type(reader *r, entry *e) {
    if (json_scan_peek(&r->scan) != '"') return pass_over(r);
    const char *quote = r->scan.next;
    if (!json_scan_string(&r->scan, NULL)) return invalid(r);
    const char *text = quote + 1;
    size_t length = (size_t)(r->scan.next - 1 - text);
    for (int i = 0; i < TYPE_NAMES; i++) {
        if (length != strlen(type_names[i]) || memcmp(text, type_names[i], length) != 0) continue;
        e->t.type = (dtype)i;
        e->has_type = true;
        return STATUS_OK;
    }
    return fail("%s: tensor %s: expected dtype F32, BF16, F16, I32, I8 or U8, found %.*s", r->s->path, e->t.name,
                (int)(length < SHOWN_BYTES ? length : SHOWN_BYTES), text);
}

static status read_shape(reader *r, entry *e) {
    if (json_scan_peek(&r->scan) != '[') return pass_over(r);
    e->has_shape = true;
    json_scan_take(&r->scan, '[');
    if (json_scan_take(&r->scan, ']')) return STATUS_OK;
    do {
        uint64_t size;
        if (e->t.ndim == TENSOR_MAX_DIMS)
            return fail("%s: tensor %s: more than %d dimensions", r->s->path, e->t.name, TENSOR_MAX_DIMS);
        if (!json_scan_size(&r->scan, &size))
            return fail("%s: tensor %s: dimension %d is not a possible size", r->s->path, e->t.name, e->t.ndim);
        e->t.shape[e->t.ndim++] = (int64_t)size;
    } while (json_scan_take(&r->scan, ','));
    return json_scan_take(&r->scan, ']') ? STATUS_OK : invalid(r);
}

static status read_offsets(reader *r, entry *e) {
    json_scan *s = &r->scan;
    e->has_offsets = json_scan_take(s, '[') && json_scan_size(s, &e->begin) && json_scan_take(s, ',') &&
                     json_scan_size(s, &e->end) && json_scan_take(s, ']');
    if (e->has_offsets) return STATUS_OK;
    return fail("%s: tensor %s: \"data_offsets\" are not two sizes", r->s->path, e->t.name);
}

static bool takes_key(reader *r, const char *key) {
    json_scan ahead = r->scan;
    size_t length = strlen(key);
    if (!json_scan_take(&ahead, '"') || (size_t)(ahead.end - ahead.next) <= length ||
        memcmp(ahead.next, key, length) != 0 || ahead.next[length] != '"')
        return false;
    ahead.next += length + 1;
    r->scan = ahead;
    return true;
}

static status read_member(reader *r, entry *e) {
    static const struct {
        const char *key;
        status (*read)(reader *, entry *);
    } members[] = {{"dtype", read_type}, {"shape", read_shape}, {"data_offsets", read_offsets}};
    const bool seen[] = {e->has_type, e->has_shape, e->has_offsets};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (!takes_key(r, members[i].key)) continue;
        if (seen[i]) return fail("%s: tensor %s: \"%s\" occurs twice", r->s->path, e->t.name, members[i].key);
        return json_scan_take(&r->scan, ':') ? members[i].read(r, e) : invalid(r);
    }
    if (!json_scan_string(&r->scan, NULL) || !json_scan_take(&r->scan, ':')) return invalid(r);
    return pass_over(r);
}

/* ---- an entry ---- */

/* That its parts are there and fit each other and the data. */
static status check_entry(const reader *r, entry *e) {
    const char *path = r->s->path, *name = e->t.name;
    if (!e->has_type) return fail("%s: tensor %s: no \"dtype\"", path, name);
    if (!e->has_shape) return fail("%s: tensor %s: no \"shape\"", path, name);
    if (!e->has_offsets) return fail("%s: tensor %s: \"data_offsets\" are not two sizes", path, name);
    uint64_t bytes = dtype_bytes(e->t.type);
    for (int i = 0; i < e->t.ndim; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)e->t.shape[i], &bytes) || bytes > INT64_MAX)
            return fail("%s: tensor %s: dimension %d is not a possible size", path, name, i);
    if (e->begin > e->end || e->end > r->data_bytes)
        return fail("%s: tensor %s: expected offsets within %llu bytes of data, found [%llu, %llu]", path, name,
                    (unsigned long long)r->data_bytes, (unsigned long long)e->begin, (unsigned long long)e->end);
    if (e->end - e->begin != bytes)
        return fail("%s: tensor %s: its shape needs %llu bytes, its offsets hold %llu", path, name,
                    (unsigned long long)bytes, (unsigned long long)(e->end - e->begin));
    e->t.bytes = bytes;
    e->t.data = r->data + e->begin;
    return STATUS_OK;
}

static status read_entry(reader *r, char *name, safetensor *out) {
    entry e = {.t.name = name};
    if (json_scan_peek(&r->scan) != '{') {
        TRY(pass_over(r));
        return fail("%s: tensor %s: expected a JSON object", r->s->path, name);
    }
    json_scan_take(&r->scan, '{');
    if (!json_scan_take(&r->scan, '}')) {
        do TRY(read_member(r, &e));
        while (json_scan_take(&r->scan, ','));
        if (!json_scan_take(&r->scan, '}')) return invalid(r);
    }
    TRY(check_entry(r, &e));
    *out = e.t;
    return STATUS_OK;
}

/* ---- all of them ---- */

/* No entry is shorter than `"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}`: room for as many as the header can hold. What
 * is not written to costs no memory. */
enum { LEAST_ENTRY_BYTES = 49 };

static status read_entries(reader *r, size_t bytes) {
    safetensors *s = r->s;
    s->names = xmalloc(bytes + 1);
    s->tensors = xmalloc((bytes / LEAST_ENTRY_BYTES + 1) * sizeof *s->tensors);
    char *name = s->names;
    if (json_scan_take(&r->scan, '}')) return STATUS_OK;
    do {
        if (!json_scan_string(&r->scan, name) || !json_scan_take(&r->scan, ':')) return invalid(r);
        if (strcmp(name, SAFETENSORS_METADATA_KEY) == 0) {
            TRY(pass_over(r));
            continue;
        }
        TRY(read_entry(r, name, &s->tensors[s->count]));
        s->count++;
        name += strlen(name) + 1;
    } while (json_scan_take(&r->scan, ','));
    return json_scan_take(&r->scan, '}') ? STATUS_OK : invalid(r);
}

status safetensors_parse_header(safetensors *s, const char *header, size_t bytes, const uint8_t *data,
                                size_t data_bytes) {
    reader r = {s, {header, header + bytes}, header, data, data_bytes};
    if (json_scan_peek(&r.scan) != '{') {
        TRY(pass_over(&r));
        return fail("%s: the header is not a JSON object", s->path);
    }
    json_scan_take(&r.scan, '{');
    TRY(read_entries(&r, bytes));
    return json_scan_at_end(&r.scan) ? STATUS_OK : invalid(&r);
}
