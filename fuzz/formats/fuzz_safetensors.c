/* Any bytes are either refused with a message or are a file all of whose tensors can be read and written again. */
#include "base/memory.h"
#include "formats/safetensors.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

static void read_all(const safetensors *s) {
    for (int i = 0; i < s->count; i++) {
        const safetensor *t = &s->tensors[i];
        require(safetensors_find(s, t->name) == t);
        uint32_t *copy = xmalloc(t->bytes / dtype_bytes(t->type) * sizeof *copy);
        bool numbers = t->type != DTYPE_I32 && t->type != DTYPE_I8 && t->type != DTYPE_U8;
        require((safetensors_read_f32(s, t->name, t->ndim, t->shape, (float *)copy) == STATUS_OK) == numbers);
        require((safetensors_read_i32(s, t->name, t->ndim, t->shape, (int32_t *)copy) == STATUS_OK) ==
                (t->type == DTYPE_I32));
        free(copy);
    }
}

/* A header length beyond the end is folded back into the file, since few inputs would get further otherwise; one whose
 * highest byte is set stays as it is. */
static void mend_length(uint8_t *bytes, size_t count) {
    uint64_t length;
    if (count < sizeof length) return;
    memcpy(&length, bytes, sizeof length);
    if (length >> 56 == 0) length %= count - sizeof length + 1;
    memcpy(bytes, &length, sizeof length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    safetensors s;
    uint8_t *copy = xmalloc(count);
    if (count) memcpy(copy, bytes, count);
    mend_length(copy, count);
    if (safetensors_parse(&s, "fuzz", copy, count) == STATUS_OK)
        read_all(&s);
    else
        require(strncmp(error_message(), "fuzz: ", 6) == 0);
    safetensors_close(&s);
    free(copy);
    return 0;
}
