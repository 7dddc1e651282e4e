/* As the files of a Hugging Face folder. */
#include "text/tokenizer_export.h"

#include "base/file.h"
#include "text/bpe_tokenizer.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_settings.h"
#include <stdio.h>

static status write_file(const char *folder, const char *name, const char *text, size_t bytes) {
    char *path = path_join(folder, name);
    const status s = file_write_whole(path, text, bytes);
    free(path);
    return s;
}

static void append_piece(text_buffer *b, const tokenizer *t, int32_t id) {
    const char *piece = tokenizer_piece(t, id);
    text_append_json(b, piece, strlen(piece));
}

/* ---- a vocabulary with scores as a list of pairs ---- */

typedef struct spelling {
    uint32_t rank;
    int32_t left, right;
} spelling;

static int by_rank(const void *a, const void *b) {
    const spelling *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return (x->right > y->right) - (x->right < y->right);
}

/* Every two pieces that spell a third, by its score; free() them. (transformers converts SentencePiece's models the same way.) */
static spelling *spellings_of(const tokenizer *t, const bpe *m, size_t *count) {
    size_t capacity = 0;
    spelling *list = NULL;
    *count = 0;
    for (int32_t id = 0; id < (int32_t)m->pieces.count; id++) {
        const char *piece = tokenizer_piece(t, id);
        const size_t bytes = strlen(piece);
        for (size_t at = 1; at < bytes; at++) {
            const int32_t left = string_map_find(&m->pieces, piece, at);
            const int32_t right = left < 0 ? -1 : string_map_find(&m->pieces, piece + at, bytes - at);
            if (right < 0) continue;
            if (*count == capacity) list = xrealloc(list, (capacity = 2 * capacity + 1024) * sizeof *list);
            list[(*count)++] = (spelling){m->ranks[id], left, right};
        }
    }
    if (*count) qsort(list, *count, sizeof *list, by_rank);
    return list;
}

static void append_pairs(text_buffer *b, const tokenizer *t, const bpe *m) {
    size_t count;
    spelling *list = spellings_of(t, m, &count);
    text_append_string(b, "{\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (m->unknown >= 0)
        append_piece(b, t, m->unknown);
    else
        text_append_string(b, "null");
    text_append_string(b, ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": true, "
                          "\"byte_fallback\": true, \"ignore_merges\": false,\n\"vocab\": {");
    for (int32_t id = 0; id < (int32_t)m->pieces.count; id++) {
        text_append_string(b, id ? ",\n" : "\n");
        append_piece(b, t, id);
        text_append_string(b, ": ");
        text_append_number(b, id);
    }
    text_append_string(b, "},\n\"merges\": [");
    for (size_t i = 0; i < count; i++) {
        text_append_string(b, i ? ",\n[" : "\n[");
        append_piece(b, t, list[i].left);
        text_append_string(b, ", ");
        append_piece(b, t, list[i].right);
        text_append_string(b, "]");
    }
    text_append_string(b, "]}");
    free(list);
}

/* ---- the files ---- */

enum { TOKENIZER, CONFIG, GENERATION, CHAT, PARTS };

/* A tokenizer.json that is no bundle is its own part. */
static status read_parts(const tokenizer *t, json_field f[PARTS]) {
    const json_scan json = {.next = t->serialized, .end = (const char *)t->serialized + t->serialized_bytes};
    static const char *const keys[PARTS] = {"tokenizer", "tokenizer_config", "generation_config", "chat_template"};
    json_field version = {.key = "moec_tokenizer"};
    for (int i = 0; i < PARTS; i++) f[i] = (json_field){.key = keys[i]};
    TRY(json_fields(json, &version, 1, "tokenizer", "the file"));
    if (version.value.next) return json_fields(json, f, PARTS, "tokenizer", "the file");
    f[TOKENIZER].value = json;
    return STATUS_OK;
}

static status write_tokenizer(const tokenizer *t, json_scan json, const char *folder) {
    const bpe *m = &((const bpe_tokenizer *)t->own)->model;
    if (!m->ranks) return write_file(folder, "tokenizer.json", json.next, (size_t)(json.end - json.next));
    json_field model = {.key = "model"};
    TRY(json_fields(json, &model, 1, "tokenizer", "the tokenizer"));
    text_buffer b = {0};
    text_append(&b, json.next, (size_t)(model.value.next - json.next));
    append_pairs(&b, t, m);
    text_append(&b, model.value.end, (size_t)(json.end - model.value.end));
    const status s = write_file(folder, "tokenizer.json", b.text, b.bytes);
    text_free(&b);
    return s;
}

/* What transformers needs to open a tokenizer.json, and who begins and ends texts. */
static status write_config(const tokenizer *t, const json_field *f, const char *folder) {
    if (!json_is_absent(f))
        return write_file(folder, "tokenizer_config.json", f->value.next, (size_t)(f->value.end - f->value.next));
    const char *const keys[] = {"bos_token", "eos_token"}, *const values[] = {t->bos_text, t->eos_text};
    text_buffer b = {0};
    text_append_string(&b,
                       "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"clean_up_tokenization_spaces\": false");
    for (int i = 0; i < 2; i++) {
        if (!values[i]) continue;
        text_append_string(&b, ", ");
        text_append_json(&b, keys[i], strlen(keys[i]));
        text_append_string(&b, ": ");
        text_append_json(&b, values[i], strlen(values[i]));
    }
    text_append_string(&b, "}\n");
    const status s = write_file(folder, "tokenizer_config.json", b.text, b.bytes);
    text_free(&b);
    return s;
}

static status write_generation(const tokenizer *t, const json_field *f, const char *folder) {
    if (!json_is_absent(f))
        return write_file(folder, "generation_config.json", f->value.next, (size_t)(f->value.end - f->value.next));
    if (t->end_count == 0) return STATUS_OK;
    text_buffer b = {0};
    text_append_string(&b, "{\"eos_token_id\": [");
    for (int i = 0; i < t->end_count; i++) {
        if (i) text_append_string(&b, ", ");
        text_append_number(&b, t->ends[i]);
    }
    text_append_string(&b, "]}\n");
    const status s = write_file(folder, "generation_config.json", b.text, b.bytes);
    text_free(&b);
    return s;
}

static status export_json(const tokenizer *t, const char *folder) {
    json_field f[PARTS];
    TRY(read_parts(t, f));
    TRY(write_tokenizer(t, f[TOKENIZER].value, folder));
    TRY(write_config(t, &f[CONFIG], folder));
    TRY(write_generation(t, &f[GENERATION], folder));
    if (json_is_absent(&f[CHAT])) return STATUS_OK;
    return write_file(folder, "chat_template.jinja", t->chat_template, strlen(t->chat_template));
}

/* By way of a GGUF's arrays. What these cannot say only SentencePiece runs, from its own file. */
static status export_sentencepiece(const tokenizer *t, const char *folder) {
    exported_tokenizer e;
    tokenizer *same;
    TRY(write_file(folder, "tokenizer.model", t->serialized, t->serialized_bytes));
    if (tokenizer_export_source(t, &e) != STATUS_OK) return STATUS_OK;
    status s = tokenizer_from_source(&same, &e.source, "tokenizer");
    exported_tokenizer_free(&e);
    TRY(s);
    s = export_json(same, folder);
    tokenizer_close(same);
    return s;
}

status tokenizer_export_folder(const tokenizer *t, const char *folder) {
    if (t->kind == &bpe_tokenizer_kind) return export_json(t, folder);
    if (t->kind == &sentencepiece_kind) return export_sentencepiece(t, folder);
    return fail("tokenizer: expected one that Hugging Face's files can hold, found one of %s", t->kind->name);
}
