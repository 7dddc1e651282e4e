#include "config/write.h"
#include "base/file.h"
#include "base/text_stream.h"
#include "config/records.h"
#include "config/yaml.h"
#include <stdlib.h>
#include <string.h>

static void write_field(FILE *out, const config_field *f, const void *c) {
    char *text = field_text(f, c);
    fprintf(out, "  %s: ", f->key);
    if (f->type == FIELD_STRING)
        yaml_write_text(out, text);
    else
        fputs(text, out);
    fputc('\n', out);
    free(text);
}

/* The section is the list itself. */
static void write_records(FILE *out, const config_field *f, const void *c) {
    const void *list = (const char *)c + f->offset;
    fprintf(out, records_count(f->records, list) ? "%s:\n" : "%s: []\n", f->key);
    records_write(f->records, out, list);
}

static void write_yaml(FILE *out, const config_schema *s, const void *c) {
    const config_section *section = NULL;
    for (int i = 0; i < schema_size(s); i++) {
        const config_key key = schema_key(s, i);
        if (key.field.type == FIELD_RECORDS) {
            write_records(out, &key.field, c);
            continue;
        }
        if (key.section != section) fprintf(out, "%s:\n", key.section->name);
        section = key.section;
        write_field(out, &key.field, c);
    }
}

char *config_text(const config_schema *s, const void *c) {
    text_stream t;
    FILE *out = text_stream_begin(&t);
    write_yaml(out, s, c);
    return text_stream_end(&t);
}

status config_write(const config_schema *s, const void *c, const char *path) {
    char *text = config_text(s, c);
    const status result = file_write_whole(path, text, strlen(text));
    free(text);
    return result;
}

void config_describe(const config_schema *s, const void *defaults, FILE *out) {
    const config_section *section = NULL;
    for (int i = 0; i < schema_size(s); i++) {
        const config_key key = schema_key(s, i);
        if (key.field.type == FIELD_RECORDS) {
            records_describe(key.field.records, key.field.key, out);
            continue;
        }
        if (key.section != section) fprintf(out, "\n%s:\n", key.section->name);
        section = key.section;
        char *expected = field_expected(&key.field), *text = field_text(&key.field, defaults);
        fprintf(out, "  %-27s %s; %s. Default: %s\n", key.field.key, key.field.meaning, expected,
                text ? text : "(none)");
        free(expected);
        free(text);
    }
}
