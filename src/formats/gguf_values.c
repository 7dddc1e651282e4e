/* What a GGUF's metadata says, by key and with the type that is expected. */
#include "base/memory.h"
#include "formats/gguf.h"
#include <math.h>
#include <string.h>

const gguf_value *gguf_find(const gguf *g, const char *key) {
    for (int i = 0; i < g->value_count; i++)
        if (strcmp(g->values[i].key, key) == 0) return &g->values[i];
    return NULL;
}

static const char *type_name(const gguf_value *v) {
    static const char *const names[GGUF_TYPES] = {"uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
                                                  "bool",  "string", "array",  "uint64", "int64",  "float64"};
    return names[v->type];
}

/* *v NULL: absent, and allowed to be. */
static status find(const gguf *g, const char *key, bool required, const gguf_value **v) {
    *v = gguf_find(g, key);
    if (*v || !required) return STATUS_OK;
    return fail("%s: expected the key %s in its metadata, found none", g->path, key);
}

static status mistyped(const gguf *g, const gguf_value *v, const char *expected) {
    return fail("%s: %s: expected %s, found %s", g->path, v->key, expected, type_name(v));
}

#define READ(type) (memcpy(&type##_value, at, sizeof type##_value), type##_value)

static bool integer_at(gguf_type type, const uint8_t *at, int64_t *value) {
    uint8_t u8_value;
    int8_t i8_value;
    uint16_t u16_value;
    int16_t i16_value;
    uint32_t u32_value;
    int32_t i32_value;
    uint64_t u64_value;
    int64_t i64_value;
    switch (type) {
    case GGUF_UINT8:
    case GGUF_BOOL:
        *value = READ(u8);
        return true;
    case GGUF_INT8:
        *value = READ(i8);
        return true;
    case GGUF_UINT16:
        *value = READ(u16);
        return true;
    case GGUF_INT16:
        *value = READ(i16);
        return true;
    case GGUF_UINT32:
        *value = READ(u32);
        return true;
    case GGUF_INT32:
        *value = READ(i32);
        return true;
    case GGUF_UINT64:
        *value = READ(u64) > INT64_MAX ? INT64_MAX : (int64_t)u64_value;
        return true;
    case GGUF_INT64:
        *value = READ(i64);
        return true;
    default:
        return false;
    }
}

status gguf_integer(const gguf *g, const char *key, bool required, int64_t least, int64_t most, int64_t *value) {
    const gguf_value *v;
    int64_t found;
    TRY(find(g, key, required, &v));
    if (!v) return STATUS_OK;
    if (!integer_at(v->type, v->data, &found)) return mistyped(g, v, "an integer");
    if (found < least || found > most)
        return fail("%s: %s: expected %lld to %lld, found %lld", g->path, key, (long long)least, (long long)most,
                    (long long)found);
    *value = found;
    return STATUS_OK;
}

static bool number_at(gguf_type type, const uint8_t *at, double *value) {
    float f32_value;
    double f64_value;
    int64_t integer;
    if (type == GGUF_FLOAT32)
        *value = (double)READ(f32);
    else if (type == GGUF_FLOAT64)
        *value = READ(f64);
    else if (integer_at(type, at, &integer))
        *value = (double)integer;
    else
        return false;
    return true;
}

status gguf_number(const gguf *g, const char *key, bool required, double *value) {
    const gguf_value *v;
    double found;
    TRY(find(g, key, required, &v));
    if (!v) return STATUS_OK;
    if (!number_at(v->type, v->data, &found)) return mistyped(g, v, "a number");
    if (!isfinite(found)) return fail("%s: %s: expected a finite number, found %g", g->path, key, found);
    *value = found;
    return STATUS_OK;
}

status gguf_text(const gguf *g, const char *key, bool required, char **value) {
    const gguf_value *v;
    *value = NULL;
    TRY(find(g, key, required, &v));
    if (!v) return STATUS_OK;
    if (v->type != GGUF_STRING) return mistyped(g, v, "a text");
    const uint8_t *at = v->data;
    const gguf_string s = gguf_next_string(&at);
    if (memchr(s.text, 0, s.bytes)) return fail("%s: %s: expected a text, found a NUL within", g->path, key);
    *value = xmalloc(s.bytes + 1);
    memcpy(*value, s.text, s.bytes);
    (*value)[s.bytes] = '\0';
    return STATUS_OK;
}

status gguf_array(const gguf *g, const char *key, bool required, gguf_type element, const gguf_value **value) {
    TRY(find(g, key, required, value));
    const gguf_value *v = *value;
    if (v && (v->type != GGUF_ARRAY || v->element != element))
        return mistyped(g, v, element == GGUF_STRING ? "an array of texts" : "an array of numbers of another type");
    return STATUS_OK;
}

size_t gguf_type_bytes(gguf_type type) {
    static const size_t bytes[GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return bytes[type];
}

int64_t gguf_array_integer(const gguf_value *array, uint64_t index) {
    int64_t value = 0;
    integer_at(array->element, array->data + index * gguf_type_bytes(array->element), &value);
    return value;
}

float gguf_array_float(const gguf_value *array, uint64_t index) {
    float value;
    memcpy(&value, array->data + index * sizeof value, sizeof value);
    return value;
}

gguf_string gguf_next_string(const uint8_t **at) {
    uint64_t length;
    memcpy(&length, *at, sizeof length);
    gguf_string s = {(const char *)*at + sizeof length, length};
    *at += sizeof length + length;
    return s;
}
