#include "fetch/data_recipe.h"
#include "base/memory.h"
#include "config/read.h"
#include "fetch/hub.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const config_field fields[] = {
    CONFIG_FIELD(data_source, "dataset", FIELD_STRING, dataset, 1, 0, NULL, "ORG/NAME on the hub"),
    CONFIG_FIELD(data_source, "config", FIELD_STRING, config, 1, 0, NULL, "which part of the data set"),
    CONFIG_FIELD(data_source, "split", FIELD_STRING, split, 1, 0, NULL, "which split of that"),
    CONFIG_FIELD(data_source, "fields", FIELD_STRING, fields, 1, 0, NULL,
                 "the members that make the text, with commas"),
    CONFIG_FIELD(data_source, "rows", FIELD_INT64, rows, 1, 0x1p53, NULL, "so many at most"),
    CONFIG_FIELD(data_source, "path", FIELD_STRING, path, 1, 0, NULL, "a folder or file on this machine, instead"),
    CONFIG_FIELD(data_source, "made_by", FIELD_STRING, made_by, 1, 0, NULL, "the command that makes it"),
    CONFIG_FIELD(data_source, "licence", FIELD_STRING, licence, 1, 0, NULL, "of the text"),
};
enum { FIELDS = sizeof fields / sizeof *fields };

void data_recipe_free(data_recipe *r) {
    for (int i = 0; i < r->count; i++) {
        data_source *s = &r->sources[i];
        char *const texts[] = {s->name, s->dataset, s->config, s->split, s->fields, s->path, s->made_by, s->licence};
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) free(texts[t]);
    }
    *r = (data_recipe){0};
}

/* It becomes the name of a file. */
static bool is_name(const char *text) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return isalnum((unsigned char)*text) && strlen(text) <= DATA_RECIPE_MAX_NAME && text[strspn(text, letters)] == '\0';
}

static status read_source(data_recipe *r, const yaml_document *d, const yaml_node *key) {
    int lines[FIELDS] = {0};
    if (r->count == DATA_RECIPE_MAX_DOMAINS)
        return yaml_fail(d, key, "expected at most %d domains", DATA_RECIPE_MAX_DOMAINS);
    if (!is_name(key->text))
        return yaml_fail(d, key,
                         "expected a domain's name of up to %d letters, digits, '.', '_' and '-', found `%.80s`",
                         DATA_RECIPE_MAX_NAME, key->text);
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->sources[i].name, key->text) == 0) return yaml_fail(d, key, "%s is given twice", key->text);
    data_source *s = &r->sources[r->count++];
    s->name = xstrdup(key->text);
    TRY(read_mapping(d, key->value, "a domain", fields, FIELDS, s, lines));
    for (int i = 0; i < FIELDS; i++)
        if (lines[i] && fields[i].type == FIELD_INT64)
            TRY(fail_in(field_check(&fields[i], s), "%s:%d", d->where, lines[i]));
    if (!s->dataset == !s->path) return yaml_fail(d, key, "%s: expected one of dataset and path", key->text);
    return s->dataset ? fail_in(hub_check_repo(s->dataset), "%s:%d: dataset", d->where, key->line) : STATUS_OK;
}

static status read_document(data_recipe *r, const yaml_document *d) {
    if (!d->root || d->root->kind != YAML_MAPPING || !d->root->first)
        return fail_usage("%s: expected a mapping from domains to their sources, found something else", d->where);
    for (const yaml_node *key = d->root->first; key; key = key->next) TRY(read_source(r, d, key));
    return STATUS_OK;
}

status data_recipe_read(data_recipe *r, const char *path) {
    yaml_document d;
    *r = (data_recipe){0};
    status s = yaml_read_file(&d, path);
    if (s == STATUS_OK) s = read_document(r, &d);
    yaml_close(&d);
    return s;
}
