#include "formats/safetensors.h"
#include "base/json.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's numbers are used in place");

enum { LENGTH_BYTES = 8, DATA_ALIGNMENT = 8 };
static const uint64_t HEADER_LIMIT = 100000000; /* the reference implementation's, too */
static const char METADATA_KEY[] = "__metadata__";

static const char *const format_names[] = {
    [DTYPE_F32] = "F32", [DTYPE_BF16] = "BF16", [DTYPE_F16] = "F16",
    [DTYPE_I32] = "I32", [DTYPE_I8] = "I8",     [DTYPE_U8] = "U8",
};
enum { FORMAT_NAMES = sizeof format_names / sizeof *format_names };

/* ---- reading ---- */

/* The data section that offsets are relative to. */
typedef struct section {
    const char *path;
    const uint8_t *bytes;
    uint64_t count;
} section;

static bool as_count(const cJSON *item, uint64_t *value) {
    if (!cJSON_IsNumber(item)) return false;
    double number = item->valuedouble;
    if (!(number >= 0) || number > 0x1p53 || number != floor(number)) return false;
    *value = (uint64_t)number;
    return true;
}

static status parse_dtype(const char *path, const cJSON *entry, safetensor *t) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    if (!cJSON_IsString(item)) return fail("%s: tensor %s: no \"dtype\"", path, t->name);
    for (int i = 0; i < FORMAT_NAMES; i++) {
        if (strcmp(item->valuestring, format_names[i]) != 0) continue;
        t->type = (dtype)i;
        return STATUS_OK;
    }
    return fail("%s: tensor %s: expected dtype F32, BF16, F16, I32, I8 or U8, found %.16s", path, t->name,
                item->valuestring);
}

/* Fills ndim, shape and bytes; the product must not overflow. */
static status parse_shape(const char *path, const cJSON *entry, safetensor *t) {
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape"), *item;
    if (!cJSON_IsArray(shape)) return fail("%s: tensor %s: no \"shape\"", path, t->name);
    uint64_t bytes = dtype_bytes(t->type), size;
    cJSON_ArrayForEach(item, shape) {
        if (t->ndim == TENSOR_MAX_DIMS)
            return fail("%s: tensor %s: more than %d dimensions", path, t->name, TENSOR_MAX_DIMS);
        if (!as_count(item, &size) || __builtin_mul_overflow(bytes, size, &bytes) || bytes > INT64_MAX)
            return fail("%s: tensor %s: dimension %d is not a possible size", path, t->name, t->ndim);
        t->shape[t->ndim++] = (int64_t)size;
    }
    t->bytes = bytes;
    return STATUS_OK;
}

static status parse_offsets(const section *data, const cJSON *entry, safetensor *t) {
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    uint64_t begin, end;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !as_count(cJSON_GetArrayItem(offsets, 0), &begin) || !as_count(cJSON_GetArrayItem(offsets, 1), &end))
        return fail("%s: tensor %s: \"data_offsets\" are not two sizes", data->path, t->name);
    if (begin > end || end > data->count)
        return fail("%s: tensor %s: expected offsets within %llu bytes of data, found [%llu, %llu]", data->path,
                    t->name, (unsigned long long)data->count, (unsigned long long)begin, (unsigned long long)end);
    if (end - begin != t->bytes)
        return fail("%s: tensor %s: its shape needs %zu bytes, its offsets hold %llu", data->path, t->name, t->bytes,
                    (unsigned long long)(end - begin));
    t->data = data->bytes + begin;
    return STATUS_OK;
}

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
static status check_tiling(safetensors *s, const section *data) {
    if (s->count) qsort(s->tensors, (size_t)s->count, sizeof *s->tensors, by_data);
    const uint8_t *expected = data->bytes;
    for (int i = 0; i < s->count; i++) {
        const safetensor *t = &s->tensors[i];
        const uint8_t *begin = t->data;
        if (begin != expected)
            return fail("%s: tensor %s: expected its data at offset %td, found %td (%s)", s->path, t->name,
                        expected - data->bytes, begin - data->bytes, begin < expected ? "an overlap" : "a gap");
        expected += t->bytes;
    }
    if (expected != data->bytes + data->count)
        return fail("%s: expected %td bytes of data, found %llu", s->path, expected - data->bytes,
                    (unsigned long long)data->count);
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

static status parse_entries(safetensors *s, const cJSON *header, const section *data) {
    const cJSON *entry;
    if (!cJSON_IsObject(header)) return fail("%s: the header is not a JSON object", s->path);
    s->tensors = xcalloc((size_t)cJSON_GetArraySize(header), sizeof *s->tensors);
    cJSON_ArrayForEach(entry, header) {
        if (!strcmp(entry->string, METADATA_KEY)) continue;
        safetensor *t = &s->tensors[s->count++];
        t->name = xstrdup(entry->string);
        if (!cJSON_IsObject(entry)) return fail("%s: tensor %s: expected a JSON object", s->path, t->name);
        TRY(parse_dtype(s->path, entry, t));
        TRY(parse_shape(s->path, entry, t));
        TRY(parse_offsets(data, entry, t));
    }
    TRY(check_tiling(s, data));
    return check_distinct(s->path, s->tensors, s->count);
}

/* Parses a copy that ends in NUL, which cJSON's releases before 1.7.18 need in order not to read past the end. */
static status parse_header(const char *path, const uint8_t *bytes, size_t count, cJSON **header) {
    char *text = xmalloc(count + 1);
    memcpy(text, bytes, count);
    text[count] = 0;
    const char *stop = text;
    *header = memchr(text, 0, count) ? NULL : cJSON_ParseWithLengthOpts(text, count + 1, &stop, 1);
    status s = *header ? STATUS_OK : fail("%s: the header is not valid JSON (at byte %td)", path, stop - text);
    free(text);
    return s;
}

status safetensors_parse(safetensors *s, const char *path, const uint8_t *bytes, size_t count) {
    *s = (safetensors){.path = xstrdup(path)};
    uint64_t length = 0;
    cJSON *header = NULL;
    status result;
    if (count >= LENGTH_BYTES) memcpy(&length, bytes, LENGTH_BYTES);
    if (count < LENGTH_BYTES) {
        result = fail("%s: expected a safetensors file, found only %zu bytes", path, count);
    } else if (length > count - LENGTH_BYTES || length > HEADER_LIMIT) {
        result =
            fail("%s: expected a header of at most %zu bytes, found a length of %llu (truncated, or no safetensors)",
                 path, count - LENGTH_BYTES, (unsigned long long)length);
    } else if ((result = parse_header(path, bytes + LENGTH_BYTES, length, &header)) == STATUS_OK) {
        section data = {path, bytes + LENGTH_BYTES + length, count - LENGTH_BYTES - length};
        result = parse_entries(s, header, &data);
    }
    cJSON_Delete(header);
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
    for (int i = 0; i < s->count; i++) free(s->tensors[i].name);
    free(s->tensors);
    free(s->path);
    file_map_close(&s->map);
    *s = (safetensors){0};
}

const safetensor *safetensors_find(const safetensors *s, const char *name) {
    safetensor key = {.name = (char *)name};
    return s->count ? bsearch(&key, s->tensors, (size_t)s->count, sizeof key, by_name) : NULL;
}

/* ---- copying out ---- */

/* "[2, 3]" */
static const char *format_shape(char *text, size_t bytes, int ndim, const int64_t *shape) {
    size_t used = (size_t)snprintf(text, bytes, "[");
    for (int i = 0; i < ndim && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
    if (used < bytes) snprintf(text + used, bytes - used, "]");
    return text;
}

status safetensors_expect(const safetensors *s, const char *name, int ndim, const int64_t *shape,
                          const safetensor **found) {
    const safetensor *t = *found = safetensors_find(s, name);
    if (!t) return fail("%s: no tensor %s", s->path, name);
    bool same = t->ndim == ndim;
    for (int i = 0; same && i < ndim; i++) same = t->shape[i] == shape[i];
    if (same) return STATUS_OK;
    char expected[128], actual[128];
    return fail("%s: tensor %s: expected shape %s, found %s", s->path, name,
                format_shape(expected, sizeof expected, ndim, shape),
                format_shape(actual, sizeof actual, t->ndim, t->shape));
}

static float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. Subnormals are mantissa · 2^-24. */
static float float_of_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1f, mantissa = half & 0x3ff;
    if (exponent == 0x1f) return float_of_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent == 0) return float_of_bits(sign) + (sign ? -1.0f : 1.0f) * (float)mantissa * 0x1p-24f;
    return float_of_bits(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
}

status safetensors_read_f32(const safetensors *s, const char *name, int ndim, const int64_t *shape, float *out) {
    const safetensor *t;
    TRY(safetensors_expect(s, name, ndim, shape, &t));
    if (t->type == DTYPE_F32) {
        if (t->bytes) memcpy(out, t->data, t->bytes);
        return STATUS_OK;
    }
    if (t->type != DTYPE_BF16 && t->type != DTYPE_F16)
        return fail("%s: tensor %s: expected F32, BF16 or F16, found %s", s->path, name, format_names[t->type]);
    const uint8_t *bytes = t->data;
    for (size_t i = 0; i < t->bytes / 2; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        out[i] = t->type == DTYPE_BF16 ? float_of_bits((uint32_t)half << 16) : float_of_half(half);
    }
    return STATUS_OK;
}

status safetensors_read_i32(const safetensors *s, const char *name, int ndim, const int64_t *shape, int32_t *out) {
    const safetensor *t;
    TRY(safetensors_expect(s, name, ndim, shape, &t));
    if (t->type != DTYPE_I32)
        return fail("%s: tensor %s: expected I32, found %s", s->path, name, format_names[t->type]);
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
    if (!strcmp(t->name, METADATA_KEY)) return fail("%s: tensor %s: the name is reserved", path, t->name);
    uint64_t bytes = dtype_bytes(t->type);
    for (int i = 0; i < t->ndim; i++) bytes *= (uint64_t)t->shape[i];
    if (bytes == t->bytes) return STATUS_OK;
    return fail("%s: tensor %s: its shape needs %llu bytes, %zu were given", path, t->name, (unsigned long long)bytes,
                t->bytes);
}

/* The header's JSON without padding; cJSON_free() it. */
static char *build_header(const safetensor *tensors, int count) {
    cJSON *header = cJSON_CreateObject();
    cJSON_AddStringToObject(cJSON_AddObjectToObject(header, METADATA_KEY), "format",
                            "pt"); /* transformers asks for it */
    uint64_t offset = 0;
    for (int i = 0; i < count; i++) {
        const safetensor *t = &tensors[i];
        cJSON *entry = cJSON_AddObjectToObject(header, t->name);
        cJSON_AddStringToObject(entry, "dtype", format_names[t->type]);
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

static status write_sorted(const char *path, const safetensor *tensors, int count, uint64_t *crc) {
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
        for (int i = 0; i < count; i++) file_write(&w, tensors[i].data, tensors[i].bytes);
        if (crc) *crc = w.crc;
        s = file_commit(&w);
    }
    cJSON_free(header);
    return s;
}

status safetensors_write(const char *path, const safetensor *tensors, int count, uint64_t *crc) {
    safetensor *sorted = xmalloc((size_t)count * sizeof *sorted);
    if (count) memcpy(sorted, tensors, (size_t)count * sizeof *sorted);
    status s = check_distinct(path, sorted, count);
    if (s == STATUS_OK) {
        qsort(sorted, (size_t)count, sizeof *sorted, by_width_and_name);
        s = write_sorted(path, sorted, count, crc);
    }
    free(sorted);
    return s;
}
