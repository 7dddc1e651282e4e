/* moec fetch --recipe */
#include "cli/fetch_recipe.h"
#include "base/file.h"
#include "base/memory.h"
#include "fetch/data_recipe.h"
#include <stdio.h>
#include <stdlib.h>

static char *path_of(const data_source *s, const char *folder) {
    return s->path ? xstrdup(s->path) : xasprintf("%s/%s.jsonl", folder, s->name);
}

static status fetch_source(http_client *c, const data_source *s, const char *folder, fetch_rows fetch) {
    if (s->path) {
        if (path_exists(s->path)) return STATUS_OK;
        return fail("%s: %s is absent%s%s", s->name, s->path, s->made_by ? "; this makes it: " : "",
                    s->made_by ? s->made_by : "");
    }
    fprintf(stderr, "moec fetch: %s: %s, licence: %s\n", s->name, s->dataset, s->licence ? s->licence : "not said");
    row_form form = {0};
    char *out = path_of(s, folder);
    const dataset_request q = {
        .dataset = s->dataset, .config = s->config, .split = s->split, .rows = s->rows, .form = &form, .out = out};
    status outcome = row_form_open(&form, s->fields);
    if (outcome == STATUS_OK) outcome = fetch(c, &q);
    row_form_close(&form);
    free(out);
    return fail_in(outcome, "%s", s->name);
}

/* In quotes where a shell would see more than a word. */
static void print_word(const char *text) {
    fputc('\'', stdout);
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            fputc(*text, stdout);
    fputc('\'', stdout);
}

status fetch_recipe(http_client *c, const char *recipe, const char *folder, fetch_rows fetch) {
    data_recipe r;
    status s = data_recipe_read(&r, recipe);
    for (int i = 0; s == STATUS_OK && i < r.count; i++) s = fetch_source(c, &r.sources[i], folder, fetch);
    if (s == STATUS_OK) {
        fputs("moec data ", stdout);
        char *shards = path_join(folder, "shards");
        print_word(shards);
        free(shards);
        for (int i = 0; i < r.count; i++) {
            char *path = path_of(&r.sources[i], folder);
            printf(" --domain %s=", r.sources[i].name);
            print_word(path);
            free(path);
        }
        fputc('\n', stdout);
    }
    data_recipe_free(&r);
    return s;
}
