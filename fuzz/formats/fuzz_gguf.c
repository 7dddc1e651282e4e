/* Any bytes are refused with a message or are a GGUF all of whose metadata and tensors can be read; its configuration and its
 * tokenizer are refused with a message or are one. */
#include "base/memory.h"
#include "formats/family.h"
#include "formats/gguf_tokenizer.h"
#include "tensor/quantized.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

static void require_message(void) {
    require(strncmp(error_message(), "fuzz", 4) == 0);
}

static void read_array(const gguf *g, const gguf_value *v) {
    const gguf_value *found;
    const uint8_t *at = v->data;
    size_t bytes = 0;
    require(gguf_array(g, v->key, true, v->element, &found) == STATUS_OK && found == v);
    for (uint64_t i = 0; i < v->count; i++) {
        if (v->element == GGUF_STRING) bytes += gguf_next_string(&at).bytes;
        if (v->element == GGUF_FLOAT32) bytes += gguf_array_float(v, i) > 0;
        if (v->element != GGUF_STRING) bytes += (size_t)gguf_array_integer(v, i) & 1;
    }
    require(bytes < SIZE_MAX);
}

static void read_values(const gguf *g) {
    for (int i = 0; i < g->value_count; i++) {
        const gguf_value *v = &g->values[i];
        int64_t integer;
        double number;
        char *text;
        require(gguf_find(g, v->key) == v);
        if (v->type == GGUF_ARRAY) read_array(g, v);
        if (gguf_integer(g, v->key, true, INT64_MIN, INT64_MAX, &integer) != STATUS_OK) require_message();
        if (gguf_number(g, v->key, true, &number) != STATUS_OK) require_message();
        if (gguf_text(g, v->key, true, &text) != STATUS_OK) require_message();
        free(text);
    }
}

/* A row as codes has the values of the row, to the bit where they are numbers. */
static void read_codes(const stored_tensor *t, int64_t row, const float *values) {
    const int64_t cols = stored_cols(t), group = storage_group(t->type);
    if (group == 0) return;
    quantized q = quantized_alloc(1, cols, group, storage_has_offset(t->type));
    storage_read_codes(t->type, t->data + (size_t)row * storage_bytes(t->type, cols), cols, q.q, q.scale, q.offset);
    for (int64_t c = 0; c < cols; c++) {
        const float scaled = (float)q.q[c] * q.scale[c / group], value = scaled + (q.offset ? q.offset[c / group] : 0);
        require(value == values[c] || !(values[c] - values[c] == 0));
    }
    quantized_free(&q);
}

static void read_tensors(const tensor_set *s) {
    for (int i = 0; i < s->count; i++) {
        const stored_tensor *t = &s->tensors[i];
        const int64_t rows = stored_rows(t), cols = stored_cols(t);
        float *row = xmalloc((size_t)cols * sizeof *row);
        require(tensor_set_find(s, t->name) == t);
        for (int64_t r = 0; r < rows; r++) {
            stored_read(t, r, 1, row);
            read_codes(t, r, row);
        }
        free(row);
    }
}

static void read_tokenizer(const gguf *g) {
    tokenizer *t;
    int32_t *ids;
    size_t count;
    if (gguf_read_tokenizer(&t, g) != STATUS_OK) {
        require_message();
        return;
    }
    if (t && tokenizer_encode_special(t, "a word <s>", 10, &ids, &count) == STATUS_OK) free(ids);
    tokenizer_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    gguf g;
    const family *f;
    model_config c;
    int context, window;
    uint8_t *copy = xmalloc(count + 1); /* of its own, so that reading beyond is seen */
    copy = xrealloc(copy, count ? count : 1);
    memcpy(copy, bytes, count);
    if (gguf_parse(&g, "fuzz", copy, count) == STATUS_OK) {
        read_values(&g);
        read_tensors(&g.tensors);
        if (gguf_config_read(&g, &f, &c, &context, &window) != STATUS_OK) require_message();
        read_tokenizer(&g);
        gguf_close(&g);
    } else {
        require_message();
    }
    free(copy);
    return 0;
}
