#include "study/table.h"

#include "base/memory.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

table table_create(int columns) {
    return (table){.columns = columns};
}

/* A bar or a line's end in a cell would be a cell's or a row's. */
static char *escape(const char *text) {
    char *out = xmalloc(2 * strlen(text) + 1), *to = out;
    for (; *text; text++) {
        if (*text == '|') *to++ = '\\';
        *to++ = *text == '\n' || *text == '\r' ? ' ' : *text;
    }
    *to = '\0';
    return out;
}

void table_put(table *t, const char *format, ...) {
    char *text;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0) memory_out(strlen(format));
    va_end(arguments);
    t->cells = xrealloc(t->cells, (size_t)(t->count + 1) * sizeof *t->cells);
    t->cells[t->count++] = escape(text);
    free(text);
}

/* Characters: wide enough for what tables hold. */
static int width_of(const char *text) {
    int width = 0;
    for (; *text; text++) width += (*text & 0xC0) != 0x80;
    return width;
}

static int column_width(const table *t, int column) {
    int widest = 3;
    for (int i = column; i < t->count; i += t->columns) {
        const int width = width_of(t->cells[i]);
        if (width > widest) widest = width;
    }
    return widest;
}

static void print_rule(const table *t, FILE *out) {
    for (int c = 0; c < t->columns; c++) {
        const int width = column_width(t, c);
        fputs(c ? " " : "| ", out);
        for (int i = 0; i < width - (c > 0); i++) fputc('-', out);
        fputs(c ? ": |" : " |", out);
    }
    fputc('\n', out);
}

void table_print(table *t, FILE *out) {
    for (int row = 0; (row + 1) * t->columns <= t->count; row++) {
        for (int c = 0; c < t->columns; c++) {
            const char *cell = t->cells[row * t->columns + c];
            const int space = column_width(t, c) - width_of(cell);
            fprintf(out, "%s%*s%s%*s |", c ? " " : "| ", c ? space : 0, "", cell, c ? 0 : space, "");
        }
        fputc('\n', out);
        if (row == 0) print_rule(t, out);
    }
    for (int i = 0; i < t->count; i++) free(t->cells[i]);
    free(t->cells);
    *t = table_create(t->columns);
}

const char *grouped(int64_t number, char text[32]) {
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)number);
    char *out = text;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return text;
}
