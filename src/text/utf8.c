#include "text/utf8.h"

#include "text/text_buffer.h"

int utf8_character(const char *text, size_t bytes) {
    if (bytes == 0) return UTF8_CUT;
    unsigned char lead = (unsigned char)text[0], least = 0x80, most = 0xBF;
    if (lead <= 0x7F) return 1;
    size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                    : lead >= 0xE0 && lead <= 0xEF ? 3
                    : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                   : 0;
    if (length == 0) return UTF8_NONE;
    if (lead == 0xE0) least = 0xA0; /* what overlong forms, surrogates and numbers beyond the last would begin with */
    if (lead == 0xED) most = 0x9F;
    if (lead == 0xF0) least = 0x90;
    if (lead == 0xF4) most = 0x8F;
    for (size_t i = 1; i < length; i++, least = 0x80, most = 0xBF) {
        if (i == bytes) return UTF8_CUT;
        if ((unsigned char)text[i] < least || (unsigned char)text[i] > most) return UTF8_NONE;
    }
    return (int)length;
}

size_t utf8_valid_prefix(const char *text, size_t bytes) {
    size_t at = 0;
    while (at < bytes && text[at] != '\0') {
        int length = utf8_character(text + at, bytes - at);
        if (length <= 0) break;
        at += (size_t)length;
    }
    return at;
}

char *utf8_mended(const char *text) {
    text_buffer b = {0};
    for (;;) {
        const size_t valid = utf8_valid_prefix(text, strlen(text));
        text_append(&b, text, valid);
        text += valid;
        if (!*text) return b.text;
        text_append_string(&b, UTF8_REPLACEMENT);
        text++;
    }
}
