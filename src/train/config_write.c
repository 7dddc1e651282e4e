/* run_config → YAML, and → help. */
#include "base/file.h"
#include "base/memory.h"
#include "train/config_table.h"
#include <stdlib.h>
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

/* In double quotes, everything but printable ASCII as an escape. */
static void write_string(FILE *out, const char *text) {
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

static void write_event(FILE *out, const event *e) {
    bool by_rate = e->below_lr != 0;
    fputs("  - {", out);
    bool first = true;
    for (int i = 0; i < EVENT_KEYS; i++) {
        const event_field *f = &event_fields[i];
        if (!(f->kinds >> e->kind & 1) || (i == EVENT_KEY_AT && by_rate) || (i == EVENT_KEY_BELOW_LR && !by_rate))
            continue;
        char *text = field_text(&f->field, e);
        fprintf(out, "%s%s: %s", first ? "" : ", ", f->field.key, text);
        first = false;
        free(text);
    }
    fputs("}\n", out);
}

static void write_field(FILE *out, const config_field *f, const run_config *c) {
    char *text = field_text(f, c);
    fprintf(out, "  %s: ", f->key);
    if (f->type == FIELD_STRING)
        write_string(out, text);
    else
        fputs(text, out);
    fputc('\n', out);
    free(text);
}

static void write_yaml(FILE *out, const run_config *c) {
    const char *section = "";
    for (int i = 0; i < RUN_CONFIG_FIELDS; i++) {
        config_field f = run_config_field(i);
        if (f.type == FIELD_EVENTS) { /* the section is the list itself */
            fputs(c->event_count ? "events:\n" : "events: []\n", out);
            for (int e = 0; e < c->event_count; e++) write_event(out, &c->events[e]);
            section = f.section;
            continue;
        }
        if (strcmp(section, f.section) != 0) fprintf(out, "%s:\n", f.section);
        section = f.section;
        write_field(out, &f, c);
    }
}

status run_config_write(const run_config *c, const char *path) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return fail("%s: out of memory", path);
    write_yaml(out, c);
    if (fclose(out) != 0) {
        free(text);
        return fail("%s: out of memory", path);
    }
    status s = file_write_whole(path, text, bytes);
    free(text);
    return s;
}

/* ---- help ---- */

static void describe_events(FILE *out) {
    fputs("\nevents: a list of {at: PART, do: upcycle, layers: [4, 5], experts: 2, top_k: 1}, {at: PART, do: loop},\n"
          "  {at: PART, do: qat, bits: 6} and {below_lr: FACTOR, do: qat}; their keys:\n",
          out);
    for (int i = 0; i < EVENT_KEYS; i++) {
        const config_field *f = &event_fields[i].field;
        char *expected = field_expected(f);
        fprintf(out, "  %-10s %s (%s)\n", f->key, f->meaning, expected);
        free(expected);
    }
}

void run_config_describe(FILE *out) {
    run_config c = run_config_default();
    const char *section = "";
    for (int i = 0; i < RUN_CONFIG_FIELDS; i++) {
        config_field f = run_config_field(i);
        if (f.type == FIELD_EVENTS) {
            describe_events(out);
            continue;
        }
        if (strcmp(section, f.section) != 0) fprintf(out, "\n%s:\n", f.section);
        section = f.section;
        char *expected = field_expected(&f), *text = field_text(&f, &c);
        fprintf(out, "  %-27s %s; %s. Default: %s\n", f.key, f.meaning, expected, text ? text : "(none)");
        free(expected);
        free(text);
    }
    run_config_free(&c);
}
