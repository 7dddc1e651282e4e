#include "serve/base64.h"

#include "base/memory.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

char *base64_encode(const void *bytes, size_t count) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = bytes;
    char *text = xmalloc((count + 2) / 3 * 4 + 1), *out = text;
    for (size_t i = 0; i < count; i += 3) {
        const size_t left = count - i;
        const uint32_t three =
            (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    *out = '\0';
    return text;
}

char *base64_floats(const float *values, size_t count) {
    uint8_t *bytes = xmalloc(4 * count + 1);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        for (int b = 0; b < 4; b++) bytes[4 * i + (size_t)b] = (uint8_t)(bits >> (8 * b));
    }
    char *text = base64_encode(bytes, 4 * count);
    free(bytes);
    return text;
}
