#include "fetch/mend.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the character that begins there; 0: none does. */
static size_t character(const unsigned char *c, size_t left) {
    if (*c < 0x80) return *c != 0;
    const size_t more = *c >= 0xC2 && *c < 0xE0 ? 1 : *c >= 0xE0 && *c < 0xF0 ? 2 : *c >= 0xF0 && *c < 0xF5 ? 3 : 0;
    if (more == 0 || left <= more) return 0;
    for (size_t i = 1; i <= more; i++)
        if ((c[i] & 0xC0) != 0x80) return 0;
    /* Longer than need be, surrogates, beyond U+10FFFF */
    if ((*c == 0xE0 && c[1] < 0xA0) || (*c == 0xED && c[1] > 0x9F)) return 0;
    if ((*c == 0xF0 && c[1] < 0x90) || (*c == 0xF4 && c[1] > 0x8F)) return 0;
    return more + 1;
}

size_t mend_utf8(char *text, size_t bytes) {
    size_t mended = 0;
    for (size_t i = 0; i < bytes;) {
        const size_t length = character((const unsigned char *)text + i, bytes - i);
        if (length == 0) {
            text[i] = '?';
            mended++;
        }
        i += length ? length : 1;
    }
    return mended;
}

static unsigned unit_at(const char *digits) {
    char text[5] = {digits[0], digits[1], digits[2], digits[3], '\0'}, *end;
    unsigned long value = strtoul(text, &end, 16);
    return end == text + 4 ? (unsigned)value : 0x10000;
}

size_t mend_escapes(char *text, size_t bytes) {
    size_t mended = 0;
    for (size_t i = 0; i + 6 <= bytes;) {
        if (text[i] != '\\') {
            i++;
        } else if (text[i + 1] != 'u') {
            i += 2;
        } else {
            const unsigned unit = unit_at(text + i + 2);
            const bool high = unit >= 0xD800 && unit < 0xDC00, low = unit >= 0xDC00 && unit < 0xE000;
            const unsigned next =
                high && i + 12 <= bytes && text[i + 6] == '\\' && text[i + 7] == 'u' ? unit_at(text + i + 8) : 0;
            const bool pair = next >= 0xDC00 && next < 0xE000;
            if (unit == 0 || low || (high && !pair)) {
                memcpy(text + i, "\\uFFFD", 6);
                mended++;
            }
            i += pair ? 12 : 6;
        }
    }
    return mended;
}
