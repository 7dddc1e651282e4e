#include "base/json_scan.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void skip_space(json_scan *s) {
    while (s->next < s->end && (*s->next == ' ' || *s->next == '\t' || *s->next == '\n' || *s->next == '\r')) s->next++;
}

/* Without passing over white space: what stands inside of a token. */
static bool accept(json_scan *s, char c) {
    if (s->next == s->end || *s->next != c) return false;
    s->next++;
    return true;
}

static bool is_digit(const json_scan *s) {
    return s->next < s->end && *s->next >= '0' && *s->next <= '9';
}

char json_scan_peek(json_scan *s) {
    skip_space(s);
    return s->next < s->end ? *s->next : '\0';
}

bool json_scan_take(json_scan *s, char punctuation) {
    skip_space(s);
    return accept(s, punctuation);
}

bool json_scan_at_end(json_scan *s) {
    skip_space(s);
    return s->next == s->end;
}

/* ---- strings ---- */

/* Four hexadecimal digits */
static bool scan_unit(json_scan *s, unsigned *unit) {
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        if (s->next == s->end) return false;
        char c = *s->next;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return false;
        *unit = *unit << 4 | (unsigned)digit;
        s->next++;
    }
    return true;
}

/* Behind "\u": one UTF-16 unit, or a pair of surrogates. */
static bool scan_code_point(json_scan *s, unsigned *point) {
    unsigned low;
    if (!scan_unit(s, point) || *point == 0 || (*point >= 0xDC00 && *point < 0xE000)) return false;
    if (*point < 0xD800 || *point >= 0xE000) return true;
    if (!accept(s, '\\') || !accept(s, 'u') || !scan_unit(s, &low) || low < 0xDC00 || low > 0xDFFF) return false;
    *point = 0x10000 + ((*point - 0xD800) << 10 | (low - 0xDC00));
    return true;
}

static char *put_utf8(char *out, unsigned point) {
    if (point < 0x80) {
        *out++ = (char)point;
        return out;
    }
    int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned leads[] = {0, 0xC0, 0xE0, 0xF0};
    *out++ = (char)(leads[more] | point >> (6 * more));
    while (more-- > 0) *out++ = (char)(0x80 | (point >> (6 * more) & 0x3F));
    return out;
}

/* Behind a backslash. */
static bool scan_escape(json_scan *s, unsigned *point) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (accept(s, 'u')) return scan_code_point(s, point);
    const char *letter = s->next < s->end && *s->next ? strchr(letters, *s->next) : NULL;
    if (!letter) return false;
    s->next++;
    *point = (unsigned char)meanings[letter - letters];
    return true;
}

bool json_scan_string(json_scan *s, char *text) {
    char ignored[4];
    if (!json_scan_take(s, '"')) return false;
    while (!accept(s, '"')) {
        unsigned point;
        if (accept(s, '\\')) {
            if (!scan_escape(s, &point)) return false;
            char *behind = put_utf8(text ? text : ignored, point);
            if (text) text = behind;
        } else {
            if (s->next == s->end || (unsigned char)*s->next < ' ') return false;
            if (text) *text++ = *s->next;
            s->next++;
        }
    }
    if (text) *text = '\0';
    return true;
}

/* ---- numbers ---- */

bool json_scan_size(json_scan *s, uint64_t *value) {
    skip_space(s);
    bool zero = accept(s, '0');
    if (!zero && !is_digit(s)) return false;
    *value = 0;
    for (; !zero && is_digit(s); s->next++) {
        *value = 10 * *value + (uint64_t)(*s->next - '0');
        if (*value > UINT64_C(1) << 53) return false;
    }
    return s->next == s->end || !strchr("0123456789.eE", *s->next) || *s->next == '\0';
}

static bool skip_digits(json_scan *s) {
    if (!is_digit(s)) return false;
    while (is_digit(s)) s->next++;
    return true;
}

static bool skip_number(json_scan *s) {
    accept(s, '-');
    if (!accept(s, '0') && !skip_digits(s)) return false;
    if (accept(s, '.') && !skip_digits(s)) return false;
    if (!accept(s, 'e') && !accept(s, 'E')) return true;
    if (!accept(s, '+')) accept(s, '-');
    return skip_digits(s);
}

/* ---- any value ---- */

bool json_scan_number(json_scan *s, double *value) {
    char text[64]; /* more digits than a double tells apart are not read */
    skip_space(s);
    const char *begin = s->next;
    if (!skip_number(s) || (size_t)(s->next - begin) >= sizeof text) return false;
    memcpy(text, begin, (size_t)(s->next - begin));
    text[s->next - begin] = '\0';
    *value = strtod(text, NULL);
    return isfinite(*value);
}

static bool skip_word(json_scan *s, const char *word) {
    for (; *word; word++)
        if (!accept(s, *word)) return false;
    return true;
}

static bool skip_value(json_scan *s, int depth);

/* Members of an object, or of an array, whose opening bracket was taken. */
static bool skip_members(json_scan *s, bool object, int depth) {
    const char close = object ? '}' : ']';
    if (depth > JSON_SCAN_DEPTH) return false;
    if (json_scan_take(s, close)) return true;
    do {
        if (object && !(json_scan_string(s, NULL) && json_scan_take(s, ':'))) return false;
        if (!skip_value(s, depth)) return false;
    } while (json_scan_take(s, ','));
    return json_scan_take(s, close);
}

static bool skip_value(json_scan *s, int depth) {
    switch (json_scan_peek(s)) {
    case '{':
        return json_scan_take(s, '{') && skip_members(s, true, depth + 1);
    case '[':
        return json_scan_take(s, '[') && skip_members(s, false, depth + 1);
    case '"':
        return json_scan_string(s, NULL);
    case 't':
        return skip_word(s, "true");
    case 'f':
        return skip_word(s, "false");
    case 'n':
        return skip_word(s, "null");
    default:
        return skip_number(s);
    }
}

bool json_scan_skip(json_scan *s) {
    return skip_value(s, 0);
}
