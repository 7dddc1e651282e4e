#include "text/byte_characters.h"

#include <pthread.h>
#include <stdint.h>

enum { CHARACTERS = 256 + 68 }; /* 68 bytes have no printable character of their own: U+0100 and on */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint16_t character_of[256];
static int16_t byte_of[CHARACTERS]; /* −1: none */

static void fill(void) {
    for (int c = 0; c < CHARACTERS; c++) byte_of[c] = -1;
    for (int byte = 0, next = 256; byte < 256; byte++) {
        bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        character_of[byte] = (uint16_t)(printable ? byte : next++);
        byte_of[character_of[byte]] = (int16_t)byte;
    }
}

void byte_characters(const char *text, size_t bytes, text_buffer *out) {
    pthread_once(&once, fill);
    text_reserve(out, 2 * bytes);
    char *p = out->text + out->bytes;
    for (size_t i = 0; i < bytes; i++) {
        unsigned c = character_of[(unsigned char)text[i]];
        if (c >= 0x80) *p++ = (char)(0xC0 | c >> 6);
        *p++ = (char)(c < 0x80 ? c : 0x80 | (c & 0x3F));
    }
    *p = '\0';
    out->bytes = (size_t)(p - out->text);
}

bool byte_characters_undo(const char *piece, size_t bytes, text_buffer *out) {
    pthread_once(&once, fill);
    size_t before = out->bytes;
    text_reserve(out, bytes);
    for (size_t i = 0; i < bytes; i++) {
        unsigned c = (unsigned char)piece[i];
        if (c >= 0x80 && i + 1 < bytes && (c & 0xE0) == 0xC0) c = (c & 0x1F) << 6 | ((unsigned char)piece[++i] & 0x3F);
        if (c >= CHARACTERS || byte_of[c] < 0 || (c >= 0x80 && ((unsigned char)piece[i] & 0xC0) != 0x80)) {
            out->bytes = before;
            return false;
        }
        out->text[out->bytes++] = (char)byte_of[c];
    }
    out->text[out->bytes] = '\0';
    return true;
}
