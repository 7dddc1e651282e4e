#include "text/chat_expression.h"

#include "text/normalize.h"
#include <ctype.h>

/* ---- reading ---- */

static const char *skip_space(const char *p) {
    while (isspace((unsigned char)*p)) p++;
    return p;
}

/* Moves *p over the word, if it stands there and ends there. */
static bool take(const char **p, const char *word) {
    size_t length = strlen(word);
    if (strncmp(*p, word, length) != 0) return false;
    if (isalnum((unsigned char)word[length - 1]) && (isalnum((unsigned char)(*p)[length]) || (*p)[length] == '_'))
        return false;
    *p += length;
    return true;
}

/* A string in quotes of either sort. */
static bool take_literal(const char **p, chat_term *term) {
    char quote = **p;
    text_buffer text = {0};
    if (quote != '\'' && quote != '"') return false;
    const char *at = *p + 1;
    for (; *at && *at != quote; at++) {
        static const char letters[] = "ntr\\'\"", meanings[] = "\n\t\r\\'\"";
        const char *letter = *at == '\\' && at[1] ? strchr(letters, at[1]) : NULL;
        if (letter) at++;
        text_append(&text, letter ? &meanings[letter - letters] : at, 1);
    }
    if (*at != quote) {
        text_free(&text);
        return false;
    }
    text_append(&text, "", 0);
    *term = (chat_term){.kind = TERM_LITERAL, .literal = text.text};
    *p = at + 1;
    return true;
}

static bool take_term(const char **p, chat_term *term) {
    static const struct {
        const char *name;
        chat_term_kind kind;
    } names[] = {{"message['role']", TERM_ROLE},
                 {"message[\"role\"]", TERM_ROLE},
                 {"message.role", TERM_ROLE},
                 {"message['content']", TERM_CONTENT},
                 {"message[\"content\"]", TERM_CONTENT},
                 {"message.content", TERM_CONTENT},
                 {"content", TERM_CONTENT},
                 {"system_message", TERM_SYSTEM},
                 {"bos_token", TERM_BOS},
                 {"eos_token", TERM_EOS}};
    if (take_literal(p, term)) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!take(p, names[i].name)) continue;
        *term = (chat_term){.kind = names[i].kind};
        const char *filter = skip_space(*p);
        if (take(p, ".strip()")) {
            term->trims = true;
        } else if (*filter == '|') {
            filter = skip_space(filter + 1);
            if (!take(&filter, "trim")) return false;
            *p = filter;
            term->trims = true;
        }
        return true;
    }
    return false;
}

/* Only white space with a newline up to the next block, which does not take it away. */
static bool newline_follows(const char *behind) {
    const char *next = skip_space(behind);
    return *next == '{' && next[1] && next[2] != '-' && memchr(behind, '\n', (size_t)(next - behind));
}

/* Up to "}}" or "%}", with a minus or not. */
static bool take_sum(const char **p, chat_sum *sum, char close) {
    *sum = (chat_sum){0};
    for (;;) {
        *p = skip_space(*p);
        if (sum->count == CHAT_TERMS || !take_term(p, &sum->terms[sum->count])) break;
        sum->count++;
        *p = skip_space(*p);
        bool trims = **p == '-';
        if (trims) ++*p;
        if (**p == close && (*p)[1] == '}') {
            sum->newline = close == '}' && !trims && newline_follows(*p + 2);
            return true;
        }
        if (**p != '+') break;
        ++*p;
    }
    chat_sum_free(sum);
    return false;
}

bool chat_next_sum(const char **at, chat_sum *sum, bool *sets) {
    while ((*at = strchr(*at, '{'))) {
        const char *p = *at + 2;
        char opened = (*at)[1];
        ++*at;
        if (opened != '{' && opened != '%') continue;
        if (*p == '-') p++;
        p = skip_space(p);
        *sets = opened == '%';
        if (*sets) {
            if (!take(&p, "set")) continue;
            p = skip_space(p);
            if (!take(&p, "content")) continue;
            p = skip_space(p);
            if (!take(&p, "=")) continue;
        }
        if (!take_sum(&p, sum, *sets ? '%' : '}')) continue;
        *at = p;
        return true;
    }
    return false;
}

void chat_sum_free(chat_sum *sum) {
    for (int i = 0; i < sum->count; i++) free(sum->terms[i].literal);
    *sum = (chat_sum){0};
}

/* ---- using ---- */

bool chat_sum_has(const chat_sum *sum, chat_term_kind kind) {
    for (int i = 0; i < sum->count; i++)
        if (sum->terms[i].kind == kind) return true;
    return false;
}

bool chat_sum_is(const chat_sum *sum, chat_term_kind kind) {
    return sum->count == 1 && sum->terms[0].kind == kind;
}

bool chat_sum_says(const chat_sum *sum, const char *part) {
    for (int i = 0; i < sum->count; i++)
        if (sum->terms[i].literal && strstr(sum->terms[i].literal, part)) return true;
    return false;
}

static bool is_python_space(int32_t c) {
    return is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

void chat_append_trimmed(const char *text, text_buffer *out) {
    int length;
    size_t end = strlen(text), begin = 0;
    while (begin < end && is_python_space(character_at(text + begin, &length))) begin += (size_t)length;
    while (end > begin) {
        size_t last = end - 1;
        while (last > begin && ((unsigned char)text[last] & 0xC0) == 0x80) last--;
        if (!is_python_space(character_at(text + last, &length))) break;
        end = last;
    }
    text_append(out, text + begin, end - begin);
}

void chat_sum_append(const chat_sum *sum, const char *const values[TERM_KINDS], text_buffer *out) {
    for (int i = 0; i < sum->count; i++) {
        const chat_term *t = &sum->terms[i];
        const char *value = t->kind == TERM_LITERAL ? t->literal : values[t->kind] ? values[t->kind] : "";
        if (t->trims)
            chat_append_trimmed(value, out);
        else
            text_append_string(out, value);
    }
    if (sum->newline) text_append_string(out, "\n");
}
