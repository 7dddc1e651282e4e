/* GGUF (github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3: metadata by key, and tensors. Little-endian.
 * Reading maps the file; what it claims is checked against its size before anything is allocated or used. */
#ifndef MOEC_FORMATS_GGUF_H
#define MOEC_FORMATS_GGUF_H

#include "base/file.h"
#include "formats/tensor_set.h"

typedef enum gguf_type {
    GGUF_UINT8,
    GGUF_INT8,
    GGUF_UINT16,
    GGUF_INT16,
    GGUF_UINT32,
    GGUF_INT32,
    GGUF_FLOAT32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_UINT64,
    GGUF_INT64,
    GGUF_FLOAT64,
    GGUF_TYPES
} gguf_type;
size_t gguf_type_bytes(gguf_type type); /* of one value; 0: strings and arrays have no fixed size */

/* A string in the map, without a NUL behind it. */
typedef struct gguf_string {
    const char *text;
    size_t bytes;
} gguf_string;

typedef struct gguf_value {
    char *key;
    gguf_type type;      /* GGUF_ARRAY: of `element`s */
    gguf_type element;   /* of an array; no arrays of arrays */
    uint64_t count;      /* of an array; 1 otherwise */
    const uint8_t *data; /* the value, or the first element, in the map, unaligned */
} gguf_value;

typedef struct gguf {
    char *path;
    file_map map;
    gguf_value *values;
    int value_count;
    tensor_set tensors; /* names point into `names` */
    char *names;
} gguf;

bool gguf_is(const char *path); /* the magic is there */
status gguf_open(gguf *g, const char *path);
/* The same over bytes in memory (fuzzing); path only names them. */
status gguf_parse(gguf *g, const char *path, const uint8_t *bytes, size_t count);
void gguf_close(gguf *g);

/* ---- metadata; errors name file and key ---- */
const gguf_value *gguf_find(const gguf *g, const char *key); /* NULL: absent */
/* Of any integer type (booleans too), within its range. *value stays as it is, a default, where the key is absent and not required. */
status gguf_integer(const gguf *g, const char *key, bool required, int64_t least, int64_t most, int64_t *value);
status gguf_number(const gguf *g, const char *key, bool required, double *value); /* of any numeric type */
/* A new string; NULL where it is absent and not required. A NUL within is refused. */
status gguf_text(const gguf *g, const char *key, bool required, char **value);
/* The array of that element type; NULL where it is absent and not required. */
status gguf_array(const gguf *g, const char *key, bool required, gguf_type element, const gguf_value **value);
int64_t gguf_array_integer(const gguf_value *array, uint64_t index);
float gguf_array_float(const gguf_value *array, uint64_t index);
/* Strings come one after another: *at begins as array->data and moves on. */
gguf_string gguf_next_string(const uint8_t **at);

#endif
