#include "config/load.h"
#include "base/file.h"
#include "base/memory.h"
#include "config/parse.h"
#include <stdlib.h>
#include <string.h>

/* The files that one configuration is made of. A file that is being read waits for its bases, each of which waits for its
 * own. */
typedef struct chain {
    const config_schema *schema;
    void *config;
    int *texts;
    const char *path[CONFIG_MAX_FILES]; /* of the files that wait, outermost first, as they are opened */
    char *real[CONFIG_MAX_FILES];       /* the same without links and dots */
    int depth, opened, done;
} chain;

/* The key `base`; NULL: there is none. */
static status find_base(const yaml_document *d, const yaml_node **base) {
    *base = NULL;
    if (!d->root || d->root->kind != YAML_MAPPING) return STATUS_OK;
    for (const yaml_node *key = d->root->first; key; key = key->next) {
        if (strcmp(key->text, CONFIG_BASE_KEY) != 0) continue;
        if (*base) return yaml_fail(d, key, CONFIG_BASE_KEY " is given twice, first on line %d", (*base)->line);
        *base = key;
    }
    return STATUS_OK;
}

/* "a.yaml > b.yaml > a.yaml": a preset that its own bases build on would be read for ever. */
static status refuse_circle(const chain *c, int first, const yaml_document *d, const yaml_node *node) {
    char *circle = xstrdup("");
    for (int i = first; i < c->depth; i++) {
        char *longer = xasprintf("%s%s > ", circle, c->path[i]);
        free(circle);
        circle = longer;
    }
    const status s = yaml_fail(d, node, CONFIG_BASE_KEY ": found a circle: %s%s", circle, c->path[first]);
    free(circle);
    return s;
}

static status read_file(chain *c, const char *path);

static status read_base_file(chain *c, const char *path, const yaml_document *d, const yaml_node *node) {
    char *real = realpath(path, NULL);
    int same = 0;
    while (real && same < c->depth && strcmp(c->real[same], real) != 0) same++;
    const bool circle = real && same < c->depth;
    free(real);
    if (circle) return refuse_circle(c, same, d, node);
    if (c->opened == CONFIG_MAX_FILES)
        return yaml_fail(d, node, CONFIG_BASE_KEY ": expected a configuration of at most %d files, found more",
                         CONFIG_MAX_FILES);
    return read_file(c, path);
}

/* A preset that the document's file builds on. */
static status read_base(chain *c, const yaml_document *d, const yaml_node *node) {
    const char *slash = strrchr(d->where, '/');
    if (node->kind != YAML_SCALAR || !*node->text)
        return yaml_fail(d, node,
                         CONFIG_BASE_KEY ": expected the path of a preset from this file's folder, or a list of them");
    char *path = *node->text == '/' || !slash ? xstrdup(node->text)
                                              : xasprintf("%.*s/%s", (int)(slash - d->where), d->where, node->text);
    const status s = read_base_file(c, path, d, node);
    free(path);
    return s;
}

static status read_bases(chain *c, const yaml_document *d, const yaml_node *base) {
    if (!base) return STATUS_OK;
    if (base->value->kind != YAML_LIST) return read_base(c, d, base->value);
    for (const yaml_node *item = base->value->first; item; item = item->next) TRY(read_base(c, d, item));
    return STATUS_OK;
}

static status read_text(chain *c, const char *path, const char *text, size_t bytes) {
    yaml_document d;
    const yaml_node *base;
    status s = yaml_read(&d, path, true, text, bytes);
    if (s == STATUS_OK) s = find_base(&d, &base);
    if (s == STATUS_OK) s = read_bases(c, &d, base);
    if (s == STATUS_OK) s = config_read_document(c->schema, c->config, &d, base != NULL, c->texts, ++c->done);
    yaml_close(&d);
    return s;
}

static status read_file(chain *c, const char *path) {
    uint8_t *bytes;
    size_t count;
    TRY(file_read(path, YAML_MAX_BYTES, &bytes, &count));
    char *real = realpath(path, NULL);
    c->path[c->depth] = path;
    c->real[c->depth++] = real ? real : xstrdup(path);
    c->opened++;
    const status s = read_text(c, path, (const char *)bytes, count);
    free(c->real[--c->depth]);
    free(bytes);
    return s;
}

status config_load(const config_schema *s, void *c, const char *path, char *const *overrides, int count, int *texts) {
    chain files = {.schema = s, .config = c, .texts = texts};
    if (path) TRY(read_file(&files, path));
    for (int i = 0; i < count; i++) TRY(config_apply_override(s, c, overrides[i], texts, files.done + 1));
    return STATUS_OK;
}
