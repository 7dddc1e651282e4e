#include "formats/gguf_tokenizer.h"

#include "base/memory.h"
#include "text/tokenizer_export.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

/* What a source points to, while it is being read. */
typedef struct arrays {
    char *model, *pre, *template;
    source_string *tokens, *merges;
    float *scores;
    int32_t *types;
} arrays;

static void arrays_free(arrays *a) {
    free(a->model);
    free(a->pre);
    free(a->template);
    free(a->tokens);
    free(a->merges);
    free(a->scores);
    free(a->types);
}

/* NULL: absent. A string has 8 bytes of length at least in the file, so no more is allocated than the file is large, twice. */
static status read_strings(const gguf *g, const char *key, bool required, source_string **list, size_t *count) {
    const gguf_value *v;
    TRY(gguf_array(g, key, required, GGUF_STRING, &v));
    if (!v) return STATUS_OK;
    const uint8_t *at = v->data;
    *count = v->count;
    *list = xmalloc((v->count + 1) * sizeof **list);
    for (uint64_t i = 0; i < v->count; i++) {
        const gguf_string s = gguf_next_string(&at);
        (*list)[i] = (source_string){s.text, s.bytes};
    }
    return STATUS_OK;
}

static status check_count(const gguf *g, const gguf_value *v, const char *key, size_t count) {
    if (!v || v->count == count) return STATUS_OK;
    return fail("%s: %s: expected %zu values, one for each token, found %llu", g->path, key, count,
                (unsigned long long)v->count);
}

static status read_scores(const gguf *g, size_t count, float **scores) {
    const gguf_value *v;
    TRY(gguf_array(g, KEY("scores"), false, GGUF_FLOAT32, &v));
    TRY(check_count(g, v, KEY("scores"), count));
    if (!v) return STATUS_OK;
    *scores = xmalloc((count + 1) * sizeof **scores);
    for (size_t i = 0; i < count; i++) (*scores)[i] = gguf_array_float(v, i);
    return STATUS_OK;
}

static status read_types(const gguf *g, size_t count, int32_t **types) {
    const gguf_value *v;
    TRY(gguf_array(g, KEY("token_type"), false, GGUF_INT32, &v));
    TRY(check_count(g, v, KEY("token_type"), count));
    if (!v) return STATUS_OK;
    *types = xmalloc((count + 1) * sizeof **types);
    for (size_t i = 0; i < count; i++) (*types)[i] = (int32_t)gguf_array_integer(v, i);
    return STATUS_OK;
}

/* 2^32 − 1 is how some writers say that there is none. */
static status read_id(const gguf *g, const char *key, int64_t *id) {
    TRY(gguf_integer(g, key, false, -1, UINT32_MAX, id));
    if (*id == UINT32_MAX) *id = -1;
    return STATUS_OK;
}

static status read_answer(const gguf *g, const char *key, source_answer *answer) {
    int64_t value = -1;
    TRY(gguf_integer(g, key, false, 0, 1, &value));
    if (value >= 0) *answer = value ? SOURCE_YES : SOURCE_NO;
    return STATUS_OK;
}

static status read_numbers(const gguf *g, tokenizer_source *s) {
    TRY(read_id(g, KEY("bos_token_id"), &s->bos));
    TRY(read_id(g, KEY("eos_token_id"), &s->eos));
    TRY(read_id(g, KEY("eot_token_id"), &s->eot));
    TRY(read_id(g, KEY("eom_token_id"), &s->eom));
    TRY(read_id(g, KEY("unknown_token_id"), &s->unknown));
    TRY(read_answer(g, KEY("add_bos_token"), &s->adds_bos));
    return read_answer(g, KEY("add_space_prefix"), &s->adds_space);
}

static status read_source(const gguf *g, arrays *a, tokenizer_source *s) {
    TRY(gguf_text(g, KEY("model"), true, &a->model));
    TRY(gguf_text(g, KEY("pre"), false, &a->pre));
    TRY(gguf_text(g, "tokenizer.chat_template", false, &a->template));
    TRY(read_strings(g, KEY("tokens"), true, &a->tokens, &s->count));
    TRY(read_strings(g, KEY("merges"), false, &a->merges, &s->merge_count));
    TRY(read_scores(g, s->count, &a->scores));
    TRY(read_types(g, s->count, &a->types));
    s->model = a->model;
    s->pre = a->pre;
    s->chat_template = a->template;
    s->tokens = a->tokens;
    s->merges = a->merges;
    s->scores = a->scores;
    s->types = a->types;
    return read_numbers(g, s);
}

status gguf_read_tokenizer(tokenizer **out, const gguf *g) {
    arrays a = {0};
    tokenizer_source s = tokenizer_source_empty();
    *out = NULL;
    const gguf_value *model = gguf_find(g, KEY("model"));
    /* "no_vocab" and the like: a file that says that it has none. */
    const bool none = !model || (!gguf_find(g, KEY("tokens")) && !gguf_find(g, KEY("merges")));
    if (none) return STATUS_OK;
    status result = read_source(g, &a, &s);
    if (result == STATUS_OK) result = tokenizer_from_source(out, &s, g->path);
    arrays_free(&a);
    return result;
}

status gguf_open_tokenizer(tokenizer **out, const char *path) {
    gguf g;
    TRY(gguf_open(&g, path));
    status s = gguf_read_tokenizer(out, &g);
    if (s == STATUS_OK && !*out) s = fail("%s: expected a tokenizer in its metadata, found none", path);
    gguf_close(&g);
    return s;
}

/* ---- writing ---- */

static void add_vocabulary(gguf_builder *b, const tokenizer_source *s, uint64_t size) {
    gguf_begin_array(b, KEY("tokens"), GGUF_STRING, size);
    for (uint64_t id = 0; id < size; id++) {
        char name[32];
        if (id < s->count)
            gguf_put_text(b, s->tokens[id].text, s->tokens[id].bytes);
        else
            gguf_put_text(b, name, (size_t)snprintf(name, sizeof name, "[PAD%llu]", (unsigned long long)id));
    }
    gguf_begin_array(b, KEY("token_type"), GGUF_INT32, size);
    for (uint64_t id = 0; id < size; id++) gguf_put_int32(b, id < s->count ? s->types[id] : SOURCE_UNUSED);
    if (!s->scores) return;
    gguf_begin_array(b, KEY("scores"), GGUF_FLOAT32, size);
    for (uint64_t id = 0; id < size; id++) gguf_put_float(b, id < s->count ? s->scores[id] : -1e9f);
}

static void add_id(gguf_builder *b, const char *key, int64_t id) {
    if (id >= 0) gguf_add_uint32(b, key, (uint32_t)id);
}

static void add_source(gguf_builder *b, const tokenizer_source *s, uint64_t size) {
    gguf_add_text(b, KEY("model"), s->model);
    /* llama.cpp wants one for either model. */
    gguf_add_text(b, KEY("pre"), s->pre ? s->pre : "default");
    add_vocabulary(b, s, size);
    if (s->merges) {
        gguf_begin_array(b, KEY("merges"), GGUF_STRING, s->merge_count);
        for (size_t i = 0; i < s->merge_count; i++) gguf_put_text(b, s->merges[i].text, s->merges[i].bytes);
    }
    add_id(b, KEY("bos_token_id"), s->bos);
    add_id(b, KEY("eos_token_id"), s->eos);
    add_id(b, KEY("eot_token_id"), s->eot);
    add_id(b, KEY("eom_token_id"), s->eom);
    add_id(b, KEY("unknown_token_id"), s->unknown);
    gguf_add_bool(b, KEY("add_bos_token"), s->adds_bos == SOURCE_YES);
    if (s->adds_space != SOURCE_UNSAID) gguf_add_bool(b, KEY("add_space_prefix"), s->adds_space == SOURCE_YES);
    if (s->chat_template) gguf_add_text(b, "tokenizer.chat_template", s->chat_template);
}

status gguf_add_tokenizer(gguf_builder *b, const tokenizer *t, int vocab_size) {
    exported_tokenizer e;
    if (tokenizer_vocab_size(t) > vocab_size)
        return fail("tokenizer: expected at most %d pieces for the model, found %d", vocab_size,
                    tokenizer_vocab_size(t));
    TRY(tokenizer_export_source(t, &e));
    add_source(b, &e.source, (uint64_t)vocab_size);
    exported_tokenizer_free(&e);
    return STATUS_OK;
}
