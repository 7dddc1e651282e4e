#include "config/yaml.h"
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* One code point of UTF-8; *text moves on. Bytes that are no UTF-8 give U+FFFD. */
static unsigned next_code_point(const unsigned char **text) {
    unsigned lead = *(*text)++;
    if (lead < 0x80) return lead;
    int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4) return 0xFFFD;
    unsigned point = lead & (0x3Fu >> more);
    for (; more > 0; more--) {
        if ((**text & 0xC0) != 0x80) return 0xFFFD;
        point = point << 6 | (*(*text)++ & 0x3F);
    }
    return point;
}

void yaml_write_text(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)(text ? text : ""); *p;) {
        unsigned point = next_code_point(&p);
        if (point == '"' || point == '\\')
            fprintf(out, "\\%c", (char)point);
        else if (point >= ' ' && point < 0x7F)
            fputc((int)point, out);
        else
            fprintf(out, point > 0xFFFF ? "\\U%08X" : "\\u%04X", point);
    }
    fputc('"', out);
}

/* A scalar within brackets: what is not quoted stays so where nothing in it could end it there. */
static void write_scalar(FILE *out, const yaml_node *node) {
    bool safe = !node->quoted;
    for (const char *c = node->text; *c && safe; c++) safe = isalnum((unsigned char)*c) || strchr("+-._/ ", *c);
    if (yaml_is_null(node))
        fputs("null", out);
    else if (safe)
        fputs(node->text, out);
    else
        yaml_write_text(out, node->text);
}

static void write_node(FILE *out, const yaml_node *node) {
    if (node->kind == YAML_SCALAR) {
        write_scalar(out, node);
        return;
    }
    const bool mapping = node->kind == YAML_MAPPING;
    fputc(mapping ? '{' : '[', out);
    for (const yaml_node *child = node->first; child; child = child->next) {
        if (child != node->first) fputs(", ", out);
        write_node(out, child);
        if (!mapping) continue;
        fputs(": ", out);
        write_node(out, child->value);
    }
    fputc(mapping ? '}' : ']', out);
}

void yaml_write_value(FILE *out, const yaml_node *value) {
    if (value->kind == YAML_SCALAR)
        fputs(value->text, out);
    else
        write_node(out, value);
}

static bool is_plain(const char *name) {
    if (!isalnum((unsigned char)*name)) return false;
    while (isalnum((unsigned char)*name) || (*name && strchr("_-.", *name))) name++;
    return *name == '\0';
}

void yaml_write_name(FILE *out, const char *name) {
    if (is_plain(name))
        fputs(name, out);
    else
        yaml_write_text(out, name);
}
