#include "text/regex_translate.h"

#include <ctype.h>
#include <stdbool.h>

/* Contents of classes. Oniguruma's \s is Unicode's White_Space, PCRE2's has U+180E too; Oniguruma's \w is Alphabetic, marks,
 * decimal digits and connectors (Unicode TR 18), PCRE2's letters, numbers and "_". \h is a hexadecimal digit to Ruby. */
#define SPACES "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define WORD                                                                                                           \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{"    \
    "1F189}"
#define HEXADECIMAL "0-9A-Fa-f"

static bool all_hexadecimal(const char *text, int digits) {
    for (int i = 0; i < digits; i++)
        if (!isxdigit((unsigned char)text[i])) return false;
    return true;
}

static void append_class(text_buffer *out, bool negated, const char *content) {
    text_append_string(out, negated ? "[^" : "[");
    text_append_string(out, content);
    text_append_string(out, "]");
}

/* *p stands on a backslash and moves behind the escape. */
static const char *translate_escape(const char **p, bool in_class, text_buffer *out) {
    char letter = (*p)[1];
    const char *content = NULL;
    switch (letter) {
    case 's':
    case 'S':
        content = SPACES;
        break;
    case 'w':
    case 'W':
        content = WORD;
        break;
    case 'h':
    case 'H':
        content = HEXADECIMAL;
        break;
    case 'b':
        if (in_class) break;
        text_append_string(out, "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))");
        *p += 2;
        return NULL;
    case 'u':
        if (!all_hexadecimal(*p + 2, 4)) return "\\u without four hexadecimal digits";
        text_append_string(out, "\\x{");
        text_append(out, *p + 2, 4);
        text_append_string(out, "}");
        *p += 6;
        return NULL;
    case '\0':
        return "a backslash at the end";
    }
    if (!content) {
        text_append(out, *p, 2);
    } else if (!in_class) {
        append_class(out, isupper((unsigned char)letter), content);
    } else if (islower((unsigned char)letter)) {
        text_append_string(out, content);
    } else if (letter == 'S') {
        text_append_string(out, "\\S"); /* the same but for U+180E */
    } else {
        return "\\W or \\H in a class";
    }
    *p += 2;
    return NULL;
}

/* *p stands on "[" and moves behind its "]". */
static const char *translate_class(const char **p, text_buffer *out) {
    const char *at = *p, *wrong;
    text_append(out, at++, 1);
    if (*at == '^') text_append(out, at++, 1);
    if (*at == ']') { /* the first is a character, also to PCRE2 */
        text_append_string(out, "\\]");
        at++;
    }
    while (*at != ']') {
        if (*at == '\0') return "a class without its end";
        if (*at == '&' && at[1] == '&') return "an intersection of classes (&&)";
        if (*at == '[') {
            const char *end = at[1] == ':' ? strstr(at, ":]") : NULL;
            if (!end) return "a class within a class";
            text_append(out, at, (size_t)(end + 2 - at));
            at = end + 2;
        } else if (*at == '\\') {
            if ((wrong = translate_escape(&at, true, out))) return wrong;
        } else {
            text_append(out, at++, 1);
        }
    }
    text_append(out, at++, 1);
    *p = at;
    return NULL;
}

/* *p stands on "(?", perhaps with flags: Ruby's m is PCRE2's s. */
static void translate_flags(const char **p, text_buffer *out) {
    size_t flags = strspn(*p + 2, "imx-");
    char close = (*p)[2 + flags];
    if (flags == 0 || (close != ':' && close != ')')) flags = 0;
    text_append_string(out, "(?");
    for (size_t i = 0; i < flags; i++) {
        char flag = (*p)[2 + i];
        text_append(out, flag == 'm' ? "s" : &flag, 1);
    }
    *p += 2 + flags;
}

/* "{1,3}+" is possessive to PCRE2, and a repetition of the repetition to Ruby. */
static bool is_repeated_repetition(const char *brace) {
    size_t inside = strspn(brace + 1, "0123456789,");
    return inside > 0 && brace[1 + inside] == '}' && brace[2 + inside] == '+';
}

const char *regex_translate(const char *pattern, text_buffer *out) {
    const char *p = pattern, *wrong = NULL;
    text_append(out, "", 0);
    while (*p && !wrong) {
        if (*p == '\\') {
            wrong = translate_escape(&p, false, out);
        } else if (*p == '[') {
            wrong = translate_class(&p, out);
        } else if (*p == '(' && p[1] == '?') {
            translate_flags(&p, out);
        } else if (*p == '(' && p[1] == '*') {
            wrong = "(*";
        } else if (*p == '{' && is_repeated_repetition(p)) {
            wrong = "a repetition that is repeated ({n,m}+)";
        } else {
            text_append(out, p++, 1);
        }
    }
    return wrong;
}

void regex_quote(const char *string, text_buffer *out) {
    text_append(out, "", 0);
    for (; *string; string++) {
        if (strchr("\\^$.[]|()?*+{}-", *string)) text_append_string(out, "\\");
        text_append(out, string, 1);
    }
}
