#include "base/byte_order_mark.h"
#include "text/corpus.h"
#include <string.h>

size_t clean_lines(char *text, size_t bytes) {
    size_t out = 0, in = byte_order_mark(text, bytes);
    for (; in < bytes; in++) {
        char c = text[in];
        if (c == '\r') {
            if (in + 1 < bytes && text[in + 1] == '\n') continue;
            c = '\n';
        }
        if (c == '\n')
            while (out > 0 && (text[out - 1] == ' ' || text[out - 1] == '\t')) out--;
        text[out++] = c;
    }
    while (out > 0 && (text[out - 1] == ' ' || text[out - 1] == '\t')) out--;
    return out;
}

/* A line " = Title =", not " = = Section = =". */
static bool is_title(const char *line, size_t bytes) {
    return bytes >= 6 && memcmp(line, " = ", 3) == 0 && line[3] != '=' && memcmp(line + bytes - 2, " =", 2) == 0 &&
           line[bytes - 3] != '=';
}

static size_t line_length(const char *text, size_t bytes) {
    const char *end = memchr(text, '\n', bytes);
    return end ? (size_t)(end - text) : bytes;
}

/* Offset of the first title line at or after `from`, which is a line's start; `bytes` if there is none. */
static size_t next_title(const char *text, size_t bytes, size_t from) {
    while (from < bytes) {
        size_t length = line_length(text + from, bytes - from);
        if (is_title(text + from, length)) return from;
        from += length + 1;
    }
    return bytes;
}

bool is_wikitext(const char *text, size_t bytes) {
    size_t first = next_title(text, bytes, 0);
    return first < bytes && next_title(text, bytes, first + line_length(text + first, bytes - first) + 1) < bytes;
}

/* The largest cut ≤ limit that lies behind a blank line, else behind a line, else between characters. */
static size_t cut_before(const char *text, size_t limit) {
    for (size_t cut = limit; cut > 1; cut--)
        if (text[cut - 1] == '\n' && text[cut - 2] == '\n') return cut;
    for (size_t cut = limit; cut > 0; cut--)
        if (text[cut - 1] == '\n') return cut;
    size_t cut = limit;
    while (cut > 1 && ((unsigned char)text[cut] & 0xC0) == 0x80) cut--;
    return cut;
}

size_t first_part(const char *text, size_t bytes, bool wikitext) {
    if (wikitext) {
        size_t second_line = line_length(text, bytes) + 1;
        return second_line < bytes ? next_title(text, bytes, second_line) : bytes;
    }
    return bytes <= CORPUS_PART_BYTES ? bytes : cut_before(text, CORPUS_PART_BYTES);
}
