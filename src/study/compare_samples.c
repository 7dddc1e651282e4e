/* The same prompts and seeds for every model. */
#include "base/memory.h"
#include "base/progress.h"
#include "study/compare_child.h"
#include <stdlib.h>
#include <string.h>

enum { PROMPT_BYTES = 64, MOST_PROMPTS = 8 };

typedef struct prompt_list {
    char *texts[MOST_PROMPTS];
    int count;
} prompt_list;

/* The beginning of a text, up to its first line's end or the last whole word that has room. */
static char *beginning(const char *text, size_t bytes) {
    size_t length = bytes < PROMPT_BYTES ? bytes : PROMPT_BYTES, word = length;
    const char *line = memchr(text, '\n', length);
    if (line && line > text + PROMPT_BYTES / 4) return xasprintf("%.*s", (int)(line - text), text);
    while (word > PROMPT_BYTES / 2 && text[word - 1] != ' ') word--;
    if (word > PROMPT_BYTES / 2) length = word - 1; /* no prompt ends with a space, which belongs to the next token */
    length = utf8_valid_prefix(text, length);
    return xasprintf("%.*s", (int)length, text);
}

/* Of the document in the middle of each domain; without a text one that begins from nothing. */
static void cut_prompts(const scored_text *t, prompt_list *list) {
    const document_table *d = &t->documents;
    for (int domain = 0; domain < d->domain_count && t->text && list->count < MOST_PROMPTS; domain++) {
        int64_t all = 0, seen = 0;
        const char *at = (const char *)t->text;
        for (int64_t i = 0; i < d->count; i++) all += d->documents[i].domain == domain;
        for (int64_t i = 0; i < d->count; at += d->documents[i++].bytes)
            if (d->documents[i].domain == domain && seen++ == all / 2)
                list->texts[list->count++] = beginning(at, (size_t)d->documents[i].bytes);
    }
    if (list->count == 0) list->texts[list->count++] = xstrdup("");
}

typedef struct text {
    char *bytes;
    size_t count;
} text;

static bool append(void *context, const char *more, size_t bytes) {
    text *t = context;
    t->bytes = xrealloc(t->bytes, t->count + bytes + 1);
    memcpy(t->bytes + t->count, more, bytes);
    t->count += bytes;
    return true;
}

/* JSON's texts end with a NUL: what a model writes may hold one. */
static cJSON *json_text(text *t) {
    for (size_t i = 0; i < t->count; i++)
        if (t->bytes[i] == '\0') t->bytes[i] = ' ';
    append(t, "", 1);
    cJSON *json = cJSON_CreateString(t->bytes);
    free(t->bytes);
    return json;
}

static status add_sample(generation *g, const char *prompt, const sampler *s, int64_t most, cJSON *out) {
    generate_result r;
    text t = {0};
    status made = generation_continue(g, s, append, &t, &r);
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "prompt", prompt);
    cJSON_AddItemToObject(item, "text", json_text(&t));
    cJSON_AddNumberToObject(item, "seed", (double)s->seed);
    cJSON_AddNumberToObject(item, "tokens", (double)r.new_tokens);
    cJSON_AddBoolToObject(item, "ended", r.new_tokens < most);
    cJSON_AddItemToArray(out, item);
    return made;
}

static status sample_prompt(const compare_task *task, pass *p, const tokenizer *tok, const char *prompt,
                            progress *shown, int total, cJSON *out) {
    const compare_options *o = task->options;
    generation *g;
    TRY(generation_open(&g, p, tok, prompt, strlen(prompt), &(prompt_options){0}, o->new_tokens));
    status s = STATUS_OK;
    for (int i = 0; i < o->samples && s == STATUS_OK; i++) {
        sampler one = o->sampler;
        one.seed += (uint64_t)i;
        progress_show(shown, (double)cJSON_GetArraySize(out) / total, task->name);
        s = add_sample(g, prompt, &one, o->new_tokens, out);
    }
    generation_close(g);
    return s;
}

status compare_sample_texts(const compare_task *task, pass *p, const tokenizer *tok, const scored_text *t,
                            cJSON **out) {
    const compare_options *o = task->options;
    prompt_list own = {0};
    progress shown = progress_start("write samples");
    status s = STATUS_OK;
    *out = cJSON_CreateArray();
    if (!o->prompts) cut_prompts(t, &own);
    const int count = o->prompts ? o->prompt_count : own.count;
    for (int i = 0; i < count && s == STATUS_OK && o->samples > 0; i++)
        s = sample_prompt(task, p, tok, o->prompts ? o->prompts[i] : own.texts[i], &shown, count * o->samples, *out);
    progress_clear(&shown);
    for (int i = 0; i < own.count; i++) free(own.texts[i]);
    return s;
}
