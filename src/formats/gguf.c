#include "formats/gguf.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

#define MAGIC "GGUF"
enum { MOST_VALUES = 4096, MOST_TENSORS = 1 << 20, MOST_KEY = 65535, MOST_NAME = 255, DEFAULT_ALIGNMENT = 32 };

/* ---- reading bytes ---- */

typedef struct cursor {
    const char *path;
    const uint8_t *begin, *next;
    size_t left;
} cursor;

static status ends(const cursor *c, const char *what) {
    return fail("%s: truncated or damaged: it ends within %s (byte %td)", c->path, what, c->next - c->begin);
}

static const uint8_t *take(cursor *c, uint64_t bytes) {
    if (bytes > c->left) return NULL;
    const uint8_t *at = c->next;
    c->next += bytes;
    c->left -= bytes;
    return at;
}

static status read_number(cursor *c, void *value, size_t bytes, const char *what) {
    const uint8_t *at = take(c, bytes);
    if (!at) return ends(c, what);
    memcpy(value, at, bytes);
    return STATUS_OK;
}

static status read_string(cursor *c, uint64_t most, gguf_string *s, const char *what) {
    uint64_t length = 0;
    TRY(read_number(c, &length, sizeof length, what));
    if (length > most || length > c->left)
        return fail("%s: %s: expected a text of at most %llu bytes, found a length of %llu", c->path, what,
                    (unsigned long long)(most < c->left ? most : c->left), (unsigned long long)length);
    *s = (gguf_string){(const char *)take(c, length), length};
    return STATUS_OK;
}

/* ---- metadata ---- */

static status skip_strings(cursor *c, uint64_t count, const char *key) {
    gguf_string s = {0};
    for (uint64_t i = 0; i < count; i++) TRY(read_string(c, c->left, &s, key));
    return STATUS_OK;
}

static status read_elements(cursor *c, gguf_value *v, gguf_type type) {
    if (type == GGUF_STRING) return v->count > c->left / 8 ? ends(c, v->key) : skip_strings(c, v->count, v->key);
    if (v->count > c->left / gguf_type_bytes(type)) return ends(c, v->key);
    take(c, v->count * gguf_type_bytes(type));
    return STATUS_OK;
}

static status read_type(cursor *c, gguf_type *type, const char *key) {
    uint32_t number = 0;
    TRY(read_number(c, &number, sizeof number, key));
    if (number >= GGUF_TYPES)
        return fail("%s: %s: found a value of type %u, which does not exist", c->path, key, number);
    *type = (gguf_type)number;
    return STATUS_OK;
}

static status read_value(cursor *c, gguf_value *v) {
    gguf_string key = {0};
    TRY(read_string(c, MOST_KEY, &key, "a key"));
    if (key.bytes == 0 || memchr(key.text, 0, key.bytes)) return fail("%s: found a key that is no text", c->path);
    v->key = xasprintf("%.*s", (int)key.bytes, key.text);
    v->count = 1;
    TRY(read_type(c, &v->type, v->key));
    if (v->type == GGUF_ARRAY) {
        TRY(read_type(c, &v->element, v->key));
        if (v->element == GGUF_ARRAY)
            return fail("%s: %s: found an array of arrays, which moec does not read", c->path, v->key);
        TRY(read_number(c, &v->count, sizeof v->count, v->key));
    }
    v->data = c->next;
    return read_elements(c, v, v->type == GGUF_ARRAY ? v->element : v->type);
}

static status read_values(gguf *g, cursor *c, uint64_t count) {
    if (count > MOST_VALUES || count > c->left / 12)
        return fail("%s: expected at most %d metadata values in %zu bytes, found %llu", g->path, MOST_VALUES, c->left,
                    (unsigned long long)count);
    g->values = xcalloc(count + 1, sizeof *g->values);
    for (uint64_t i = 0; i < count; i++) {
        g->value_count++;
        TRY(read_value(c, &g->values[i]));
        for (uint64_t j = 0; j < i; j++)
            if (strcmp(g->values[j].key, g->values[i].key) == 0)
                return fail("%s: %s: the key occurs twice", g->path, g->values[i].key);
    }
    return STATUS_OK;
}

/* ---- tensors ---- */

/* ggml's numbers of the types that are read. */
static bool storage_of(uint32_t number, storage *s) {
    static const struct {
        uint32_t number;
        storage type;
    } types[] = {{0, STORAGE_F32},  {1, STORAGE_F16},  {2, STORAGE_Q4_0},  {3, STORAGE_Q4_1},  {6, STORAGE_Q5_0},
                 {7, STORAGE_Q5_1}, {8, STORAGE_Q8_0}, {12, STORAGE_Q4_K}, {14, STORAGE_Q6_K}, {30, STORAGE_BF16}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].number == number) {
            *s = types[i].type;
            return true;
        }
    return false;
}

typedef struct entry {
    stored_tensor tensor;
    uint64_t offset;
    int64_t elements;
} entry;

/* Dimensions come innermost first. */
static status read_shape(cursor *c, entry *e) {
    uint32_t ndim = 0;
    e->elements = 1;
    TRY(read_number(c, &ndim, sizeof ndim, e->tensor.name));
    if (ndim < 1 || ndim > TENSOR_MAX_DIMS)
        return fail("%s: tensor %s: expected 1 to %d dimensions, found %u", c->path, e->tensor.name, TENSOR_MAX_DIMS,
                    ndim);
    e->tensor.ndim = (int)ndim;
    for (uint32_t i = 0; i < ndim; i++) {
        uint64_t size = 0;
        TRY(read_number(c, &size, sizeof size, e->tensor.name));
        if (size < 1 || size > (uint64_t)(INT64_MAX / 8) / (uint64_t)e->elements)
            return fail("%s: tensor %s: dimension %u: found %llu, which is none or too large", c->path, e->tensor.name,
                        i, (unsigned long long)size);
        e->tensor.shape[ndim - 1 - i] = (int64_t)size;
        e->elements *= (int64_t)size;
    }
    return STATUS_OK;
}

static status read_entry(cursor *c, entry *e, char *name) {
    gguf_string s = {0};
    uint32_t type = 0;
    TRY(read_string(c, MOST_NAME, &s, "a tensor's name"));
    if (s.bytes == 0 || memchr(s.text, 0, s.bytes)) return fail("%s: found a tensor's name that is no text", c->path);
    memcpy(name, s.text, s.bytes);
    name[s.bytes] = '\0';
    e->tensor.name = name;
    e->tensor.file = c->path;
    TRY(read_shape(c, e));
    TRY(read_number(c, &type, sizeof type, name));
    TRY(read_number(c, &e->offset, sizeof e->offset, name));
    if (!storage_of(type, &e->tensor.type))
        return fail(
            "%s: tensor %s: its type (ggml's number %u) is none of those that moec reads: F32, F16, BF16, Q8_0, "
            "Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K",
            c->path, name, type);
    if (stored_cols(&e->tensor) % storage_block(e->tensor.type) != 0)
        return fail("%s: tensor %s: expected rows of a multiple of %lld elements for %s, found %lld", c->path, name,
                    (long long)storage_block(e->tensor.type), storage_name(e->tensor.type),
                    (long long)stored_cols(&e->tensor));
    return STATUS_OK;
}

static int by_offset(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Tensors begin at multiples of the alignment, lie within the file and not in one another. */
static status place(const gguf *g, entry *entries, int count, const uint8_t *data, size_t bytes, int64_t alignment) {
    uint64_t end = 0;
    if (count) qsort(entries, (size_t)count, sizeof *entries, by_offset);
    for (int i = 0; i < count; i++) {
        entry *e = &entries[i];
        const size_t size = storage_bytes(e->tensor.type, e->elements);
        if (e->offset % (uint64_t)alignment != 0 || e->offset < end)
            return fail("%s: tensor %s: its offset %llu is %s", g->path, e->tensor.name, (unsigned long long)e->offset,
                        e->offset < end ? "within another tensor" : "not aligned");
        if (e->offset > bytes || size > bytes - e->offset)
            return fail("%s: tensor %s: expected %zu bytes from offset %llu on, found a file of %zu bytes of data",
                        g->path, e->tensor.name, size, (unsigned long long)e->offset, bytes);
        e->tensor.data = data + e->offset;
        end = e->offset + size;
    }
    return STATUS_OK;
}

static status read_tensors(gguf *g, cursor *c, uint64_t count, entry **entries) {
    if (count > MOST_TENSORS || count > c->left / 24)
        return fail("%s: expected fewer tensors in %zu bytes, found %llu", g->path, c->left, (unsigned long long)count);
    *entries = xcalloc(count + 1, sizeof **entries);
    g->names = xcalloc(count + 1, MOST_NAME + 1);
    for (uint64_t i = 0; i < count; i++) TRY(read_entry(c, &(*entries)[i], g->names + i * (MOST_NAME + 1)));
    return STATUS_OK;
}

static status place_tensors(gguf *g, cursor *c, entry *entries, uint64_t count) {
    int64_t alignment = DEFAULT_ALIGNMENT;
    TRY(gguf_integer(g, "general.alignment", false, 1, 1 << 20, &alignment));
    const size_t used = (size_t)(c->next - c->begin), padding = (alignment - used % alignment) % alignment;
    if (count && !take(c, padding)) return ends(c, "the padding before the tensors' data");
    TRY(place(g, entries, (int)count, c->next, c->left, alignment));
    g->tensors.tensors = xmalloc((count + 1) * sizeof *g->tensors.tensors);
    for (uint64_t i = 0; i < count; i++) g->tensors.tensors[i] = entries[i].tensor;
    g->tensors.count = (int)count;
    return tensor_set_seal(&g->tensors);
}

/* ---- the file ---- */

static status parse(gguf *g, cursor *c, entry **entries) {
    uint32_t version = 0;
    uint64_t tensors = 0, values = 0;
    const uint8_t *magic = take(c, 4);
    if (!magic || memcmp(magic, MAGIC, 4) != 0) return fail("%s: expected a GGUF file, found something else", g->path);
    TRY(read_number(c, &version, sizeof version, "the header"));
    if (version < 2 || version > 3)
        return fail("%s: expected GGUF of version 2 or 3, found version %u%s", g->path, version,
                    version > 0xffff ? " (a big-endian file?)" : "");
    TRY(read_number(c, &tensors, sizeof tensors, "the header"));
    TRY(read_number(c, &values, sizeof values, "the header"));
    TRY(read_values(g, c, values));
    TRY(read_tensors(g, c, tensors, entries));
    return place_tensors(g, c, *entries, tensors);
}

status gguf_parse(gguf *g, const char *path, const uint8_t *bytes, size_t count) {
    *g = (gguf){.path = xstrdup(path)};
    cursor c = {.path = g->path, .begin = bytes, .next = bytes, .left = count};
    entry *entries = NULL;
    status s = parse(g, &c, &entries);
    free(entries);
    if (s != STATUS_OK) gguf_close(g);
    return s;
}

status gguf_open(gguf *g, const char *path) {
    file_map map;
    *g = (gguf){0};
    TRY(file_map_open(&map, path));
    status s = gguf_parse(g, path, map.bytes, map.count);
    if (s == STATUS_OK)
        g->map = map;
    else
        file_map_close(&map);
    return s;
}

void gguf_close(gguf *g) {
    for (int i = 0; i < g->value_count; i++) free(g->values[i].key);
    free(g->values);
    tensor_set_close(&g->tensors);
    free(g->names);
    free(g->path);
    if (g->map.bytes) file_map_close(&g->map);
    *g = (gguf){0};
}

bool gguf_is(const char *path) {
    char magic[4];
    FILE *f;
    if (path_is_folder(path) || file_open_stream(path, 0, "rb", &f) != STATUS_OK) return false;
    const bool found = fread(magic, 1, sizeof magic, f) == sizeof magic && memcmp(magic, MAGIC, 4) == 0;
    fclose(f);
    return found;
}
