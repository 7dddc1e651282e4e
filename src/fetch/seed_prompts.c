#include "fetch/seed_prompts.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/text_stream.h"
#include "config/read.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char name_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

/* ---- the file ---- */

static void texts_free(text_list *l) {
    for (int i = 0; i < l->count; i++) free(l->texts[i]);
    free(l->texts);
    *l = (text_list){0};
}

void seed_prompts_free(seed_prompts *p) {
    for (int i = 0; i < p->count; i++) {
        prompt_domain *d = &p->domains[i];
        for (int j = 0; j < d->place_count; j++) {
            free(d->places[j].name);
            texts_free(&d->places[j].words);
        }
        texts_free(&d->prompts);
        free(d->places);
        free(d->system);
        free(d->name);
    }
    *p = (seed_prompts){0};
}

static status check_text(const yaml_document *d, const yaml_node *text, const char *key) {
    if (text->kind != YAML_SCALAR) return read_wrong(d, text, key, "a text");
    const size_t bytes = strlen(text->text);
    if (bytes > 0 && bytes <= PROMPTS_MAX_TEXT) return STATUS_OK;
    return yaml_fail(d, text, "%s: expected a text of 1 to %d bytes, found %zu", key, PROMPTS_MAX_TEXT, bytes);
}

static status read_texts(const yaml_document *d, const yaml_node *value, const char *key, text_list *l) {
    if (value->kind != YAML_LIST) return read_wrong(d, value, key, "a list of texts");
    if (!value->first) return yaml_fail(d, value, "%s: expected at least one text", key);
    for (const yaml_node *item = value->first; item; item = item->next) {
        TRY(check_text(d, item, key));
        l->texts = xrealloc(l->texts, (size_t)(l->count + 1) * sizeof *l->texts);
        l->texts[l->count++] = xstrdup(item->text);
    }
    return STATUS_OK;
}

static status read_system(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    TRY(check_text(d, value, f->key));
    ((prompt_domain *)base)->system = xstrdup(value->text);
    return STATUS_OK;
}

/* None twice: it would be the same question with the same seed. */
static status read_prompts(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    text_list *l = &((prompt_domain *)base)->prompts;
    TRY(read_texts(d, value, f->key, l));
    for (int i = 0; i < l->count; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(l->texts[i], l->texts[j]) == 0)
                return yaml_fail(d, value, "%s: number %d and number %d are the same", f->key, j + 1, i + 1);
    return STATUS_OK;
}

static bool is_name(const char *text) {
    return isalnum((unsigned char)*text) && strlen(text) <= PROMPTS_MAX_NAME &&
           text[strspn(text, name_letters)] == '\0';
}

static status check_name(const yaml_document *d, const yaml_node *key, const char *what) {
    if (is_name(key->text)) return STATUS_OK;
    return yaml_fail(d, key, "expected a %s's name of up to %d letters, digits, '.', '_' and '-', found `%.80s`", what,
                     PROMPTS_MAX_NAME, key->text);
}

static prompt_place *find_place(const prompt_domain *d, const char *name, size_t bytes) {
    for (int i = 0; i < d->place_count; i++)
        if (strlen(d->places[i].name) == bytes && memcmp(d->places[i].name, name, bytes) == 0) return &d->places[i];
    return NULL;
}

static status read_places(const yaml_document *d, const yaml_node *value, const config_field *f, void *base) {
    prompt_domain *domain = base;
    if (value->kind != YAML_MAPPING) return read_wrong(d, value, f->key, "a mapping from names to lists of texts");
    for (const yaml_node *key = value->first; key; key = key->next) {
        TRY(check_name(d, key, "place"));
        if (domain->place_count == PROMPTS_MAX_PLACES)
            return yaml_fail(d, key, "%s: expected at most %d places", f->key, PROMPTS_MAX_PLACES);
        if (find_place(domain, key->text, strlen(key->text))) return yaml_fail(d, key, "%s is given twice", key->text);
        domain->places = xrealloc(domain->places, (size_t)(domain->place_count + 1) * sizeof *domain->places);
        prompt_place *place = &domain->places[domain->place_count++];
        *place = (prompt_place){.name = xstrdup(key->text)};
        TRY(read_texts(d, key->value, key->text, &place->words));
    }
    return STATUS_OK;
}

#define OWN(KEY, READ)                                                                                                 \
    { .key = KEY, .type = FIELD_OWN, .read = READ }
static const config_field fields[] = {OWN("system", read_system), OWN("vary", read_places),
                                      OWN("prompts", read_prompts)};
enum { FIELDS = sizeof fields / sizeof *fields };

static bool is_used(const prompt_domain *d, const prompt_place *place) {
    char *braced = xasprintf("{%s}", place->name);
    bool found = false;
    for (int i = 0; i < d->prompts.count && !found; i++) found = strstr(d->prompts.texts[i], braced) != NULL;
    free(braced);
    return found;
}

static status read_domain(seed_prompts *p, const yaml_document *d, const yaml_node *key) {
    int lines[FIELDS] = {0};
    if (p->count == PROMPTS_MAX_DOMAINS) return yaml_fail(d, key, "expected at most %d domains", PROMPTS_MAX_DOMAINS);
    TRY(check_name(d, key, "domain"));
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->domains[i].name, key->text) == 0) return yaml_fail(d, key, "%s is given twice", key->text);
    prompt_domain *domain = &p->domains[p->count++];
    domain->name = xstrdup(key->text);
    TRY(read_mapping(d, key->value, "a domain", fields, FIELDS, domain, lines));
    if (domain->prompts.count == 0) return yaml_fail(d, key, "%s: expected prompts", key->text);
    for (int i = 0; i < domain->place_count; i++)
        if (!is_used(domain, &domain->places[i]))
            return yaml_fail(d, key, "%s: vary: no prompt has {%s} in it", key->text, domain->places[i].name);
    return STATUS_OK;
}

static status read_document(seed_prompts *p, const yaml_document *d) {
    const yaml_node *key = d->root && d->root->kind == YAML_MAPPING ? d->root->first : NULL;
    if (!key || key->next || strcmp(key->text, "domains") != 0)
        return fail_usage("%s: expected `domains:` and nothing beside it, found something else", d->where);
    if (key->value->kind != YAML_MAPPING || !key->value->first)
        return read_wrong(d, key->value, "domains", "a mapping from domains to their prompts");
    for (const yaml_node *domain = key->value->first; domain; domain = domain->next) TRY(read_domain(p, d, domain));
    return STATUS_OK;
}

status seed_prompts_read(seed_prompts *p, const char *path) {
    yaml_document d;
    *p = (seed_prompts){0};
    status s = yaml_read_file(&d, path);
    if (s == STATUS_OK) s = read_document(p, &d);
    yaml_close(&d);
    return s;
}

/* ---- questions ---- */

char *seed_prompts_question(const prompt_domain *d, int prompt, int repetition, uint64_t seed, int64_t *question_seed) {
    const char *text = d->prompts.texts[prompt];
    char *name = xasprintf("%s\n%s\n%s\n%d", d->name, d->system ? d->system : "", text, repetition);
    rng r = rng_named(seed, name);
    text_stream t;
    int drawn[PROMPTS_MAX_PLACES]; /* a place that stands twice is the same words */
    FILE *out = text_stream_begin(&t);
    *question_seed = (int64_t)(rng_next(&r) >> 33);
    for (int i = 0; i < d->place_count; i++) drawn[i] = (int)rng_below(&r, (uint64_t)d->places[i].words.count);
    while (*text) {
        const char *close = *text == '{' ? strchr(text, '}') : NULL;
        const prompt_place *place = close ? find_place(d, text + 1, (size_t)(close - text - 1)) : NULL;
        if (place) {
            fputs(place->words.texts[drawn[place - d->places]], out);
            text = close + 1;
        } else {
            fputc(*text++, out);
        }
    }
    free(name);
    return text_stream_end(&t);
}
