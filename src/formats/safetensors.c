#include "formats/safetensors.h"
#include "base/half.h"
#include "base/json.h"
#include "base/memory.h"
#include "formats/safetensors_header.h"
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's numbers are used in place");

enum { LENGTH_BYTES = 8, DATA_ALIGNMENT = 8 };
static const uint64_t HEADER_LIMIT = 100000000; /* the reference implementation's, too */

/* ---- reading ---- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const safetensor *)a)->name, ((const safetensor *)b)->name);
}

/* By place; an empty tensor goes before the one that starts where it stands. */
static int by_data(const void *a, const void *b) {
    const safetensor *x = a, *y = b;
    const uint8_t *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* The format wants every byte of data to belong to exactly one tensor. */
static status check_tiling(safetensors *s, const uint8_t *data, size_t data_bytes) {
    if (s->count) qsort(s->tensors, (size_t)s->count, sizeof *s->tensors, by_data);
    const uint8_t *expected = data;
    for (int i = 0; i < s->count; i++) {
        const safetensor *t = &s->tensors[i];
        const uint8_t *begin = t->data;
        if (begin != expected)
            return fail("%s: tensor %s: expected its data at offset %td, found %td (%s)", s->path, t->name,
                        expected - data, begin - data, begin < expected ? "an overlap" : "a gap");
        expected += t->bytes;
    }
    if (expected != data + data_bytes)
        return fail("%s: expected %td bytes of data, found %zu", s->path, expected - data, data_bytes);
    return STATUS_OK;
}

/* Leaves them sorted by name. */
static status check_distinct(const char *path, safetensor *tensors, int count) {
    if (count) qsort(tensors, (size_t)count, sizeof *tensors, by_name);
    for (int i = 1; i < count; i++)
        if (!strcmp(tensors[i - 1].name, tensors[i].name))
            return fail("%s: tensor %s: the name occurs twice", path, tensors[i].name);
    return STATUS_OK;
}

static status parse(safetensors *s, const uint8_t *bytes, size_t count) {
    uint64_t length;
    if (count < LENGTH_BYTES) return fail("%s: expected a safetensors file, found only %zu bytes", s->path, count);
    memcpy(&length, bytes, LENGTH_BYTES);
    if (length > count - LENGTH_BYTES || length > HEADER_LIMIT)
        return fail("%s: expected a header of at most %zu bytes, found a length of %llu (truncated, or no safetensors)",
                    s->path, count - LENGTH_BYTES, (unsigned long long)length);
    const uint8_t *header = bytes + LENGTH_BYTES, *data = header + length;
    const size_t data_bytes = count - LENGTH_BYTES - length;
    TRY(safetensors_parse_header(s, (const char *)header, length, data, data_bytes));
    TRY(check_tiling(s, data, data_bytes));
    return check_distinct(s->path, s->tensors, s->count);
}

status safetensors_parse(safetensors *s, const char *path, const uint8_t *bytes, size_t count) {
    *s = (safetensors){.path = xstrdup(path)};
    status result = parse(s, bytes, count);
    if (result != STATUS_OK) safetensors_close(s);
    return result;
}

status safetensors_open(safetensors *s, const char *path) {
    *s = (safetensors){0};
    file_map map;
    TRY(file_map_open(&map, path));
    status result = safetensors_parse(s, path, map.bytes, map.count);
    if (result == STATUS_OK)
        s->map = map;
    else
        file_map_close(&map);
    return result;
}

void safetensors_close(safetensors *s) {
    free(s->tensors);
    free(s->names);
    free(s->path);
    file_map_close(&s->map);
    *s = (safetensors){0};
}

const safetensor *safetensors_find(const safetensors *s, const char *name) {
    safetensor key = {.name = (char *)name};
    return s->count ? bsearch(&key, s->tensors, (size_t)s->count, sizeof key, by_name) : NULL;
}

/* ---- copying out ---- */

status safetensors_expect(const safetensors *s, const char *name, int ndim, const int64_t *shape,
                          const safetensor **found) {
    const safetensor *t = *found = safetensors_find(s, name);
    if (!t) return fail("%s: no tensor %s", s->path, name);
    bool same = t->ndim == ndim;
    for (int i = 0; same && i < ndim; i++) same = t->shape[i] == shape[i];
    if (same) return STATUS_OK;
    char expected[128], actual[128];
    return fail("%s: tensor %s: expected shape %s, found %s", s->path, name,
                shape_text(expected, sizeof expected, ndim, shape),
                shape_text(actual, sizeof actual, t->ndim, t->shape));
}

/* Elements first … of a tensor of floats. */
static status read_floats(const safetensors *s, const safetensor *t, int64_t first, int64_t count, float *out) {
    const uint8_t *bytes = (const uint8_t *)t->data + (size_t)first * dtype_bytes(t->type);
    if (t->type != DTYPE_F32 && t->type != DTYPE_BF16 && t->type != DTYPE_F16)
        return fail("%s: tensor %s: expected F32, BF16 or F16, found %s", s->path, t->name,
                    safetensors_type_name(t->type));
    if (t->type == DTYPE_F32 && count) memcpy(out, bytes, (size_t)count * sizeof *out);
    for (int64_t i = 0; t->type != DTYPE_F32 && i < count; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        out[i] = t->type == DTYPE_BF16 ? bfloat_to_float(half) : half_to_float(half);
    }
    file_map_forget(&s->map, bytes, (size_t)count * dtype_bytes(t->type)); /* else a model is in memory twice */
    return STATUS_OK;
}

status safetensors_read_f32(const safetensors *s, const char *name, int ndim, const int64_t *shape, float *out) {
    const safetensor *t;
    TRY(safetensors_expect(s, name, ndim, shape, &t));
    return read_floats(s, t, 0, (int64_t)(t->bytes / dtype_bytes(t->type)), out);
}

status safetensors_read_rows(const safetensors *s, const char *name, int ndim, const int64_t *shape, int64_t first,
                             int64_t rows, float *out) {
    const safetensor *t;
    TRY(safetensors_expect(s, name, ndim, shape, &t));
    const int64_t cols = ndim > 0 ? shape[ndim - 1] : 1;
    return read_floats(s, t, first * cols, rows * cols, out);
}

status safetensors_read_i32(const safetensors *s, const char *name, int ndim, const int64_t *shape, int32_t *out) {
    const safetensor *t;
    TRY(safetensors_expect(s, name, ndim, shape, &t));
    if (t->type != DTYPE_I32)
        return fail("%s: tensor %s: expected I32, found %s", s->path, name, safetensors_type_name(t->type));
    if (t->bytes) memcpy(out, t->data, t->bytes);
    return STATUS_OK;
}

/* ---- writing ---- */

/* Wide types first, so that every tensor of a file is aligned to its type; then by name, as Hugging Face does. */
static int by_width_and_name(const void *a, const void *b) {
    size_t x = dtype_bytes(((const safetensor *)a)->type), y = dtype_bytes(((const safetensor *)b)->type);
    return x != y ? (x > y ? -1 : 1) : by_name(a, b);
}

static status check_tensor(const char *path, const safetensor *t) {
    if (!strcmp(t->name, SAFETENSORS_METADATA_KEY)) return fail("%s: tensor %s: the name is reserved", path, t->name);
    uint64_t bytes = dtype_bytes(t->type);
    for (int i = 0; i < t->ndim; i++) bytes *= (uint64_t)t->shape[i];
    if (bytes == t->bytes) return STATUS_OK;
    return fail("%s: tensor %s: its shape needs %llu bytes, %zu were given", path, t->name, (unsigned long long)bytes,
                t->bytes);
}

/* The header's JSON without padding; cJSON_free() it. */
static char *build_header(const safetensor *tensors, int count) {
    cJSON *header = cJSON_CreateObject();
    cJSON_AddStringToObject(cJSON_AddObjectToObject(header, SAFETENSORS_METADATA_KEY), "format",
                            "pt"); /* transformers asks for it */
    uint64_t offset = 0;
    for (int i = 0; i < count; i++) {
        const safetensor *t = &tensors[i];
        cJSON *entry = cJSON_AddObjectToObject(header, t->name);
        cJSON_AddStringToObject(entry, "dtype", safetensors_type_name(t->type));
        cJSON *shape = cJSON_AddArrayToObject(entry, "shape");
        for (int d = 0; d < t->ndim; d++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[d]));
        cJSON *offsets = cJSON_AddArrayToObject(entry, "data_offsets");
        cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)offset));
        offset += t->bytes;
        cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)offset));
    }
    char *text = cJSON_PrintUnformatted(header);
    cJSON_Delete(header);
    return text;
}

/* What a source must have given of one tensor. */
static status put_tensor(file_writer *w, const safetensor *t, safetensors_source source, void *context) {
    const uint64_t before = w->bytes;
    TRY(source(context, t, w));
    if (w->failed || w->bytes - before == t->bytes) return STATUS_OK;
    return fail("%s: tensor %s: expected %zu bytes to write, found %llu", w->path, t->name, t->bytes,
                (unsigned long long)(w->bytes - before));
}

static status write_sorted(const char *path, const safetensor *tensors, int count, safetensors_source source,
                           void *context, uint64_t *crc) {
    for (int i = 0; i < count; i++) TRY(check_tensor(path, &tensors[i]));
    char *header = build_header(tensors, count);
    if (!header) return fail("%s: cannot format the header", path);
    uint64_t text_length = strlen(header),
             length = (text_length + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT;
    file_writer w;
    status s = file_create(&w, path);
    if (s == STATUS_OK) {
        file_write(&w, &length, LENGTH_BYTES);
        file_write(&w, header, text_length);
        file_write(&w, "       ", length - text_length);
        for (int i = 0; i < count && s == STATUS_OK; i++) s = put_tensor(&w, &tensors[i], source, context);
        if (crc) *crc = w.crc;
        if (s == STATUS_OK)
            s = file_commit(&w);
        else
            file_abandon(&w);
    }
    cJSON_free(header);
    return s;
}

static status put_data(void *context, const safetensor *t, file_writer *w) {
    (void)context;
    file_write(w, t->data, t->bytes);
    return STATUS_OK;
}

status safetensors_write(const char *path, const safetensor *tensors, int count, uint64_t *crc) {
    return safetensors_stream(path, tensors, count, put_data, NULL, crc);
}

status safetensors_stream(const char *path, const safetensor *tensors, int count, safetensors_source source,
                          void *context, uint64_t *crc) {
    safetensor *sorted = xmalloc((size_t)count * sizeof *sorted);
    if (count) memcpy(sorted, tensors, (size_t)count * sizeof *sorted);
    status s = check_distinct(path, sorted, count);
    if (s == STATUS_OK) {
        qsort(sorted, (size_t)count, sizeof *sorted, by_width_and_name);
        s = write_sorted(path, sorted, count, source, context, crc);
    }
    free(sorted);
    return s;
}
