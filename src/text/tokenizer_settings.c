#include "text/tokenizer_settings.h"

#include "base/byte_order_mark.h"
#include "base/file.h"
#include "text/tokenizer.h"
#include <stdio.h>

/* ---- reading ---- */

void tokenizer_settings_free(tokenizer_settings *s) {
    free(s->bos);
    free(s->eos);
    free(s->chat_template);
    *s = (tokenizer_settings){0};
}

/* "<s>" or {"content": "<s>", …} */
static status read_token(const json_field *f, char **name, const char *where) {
    if (json_is_absent(f) || *f->value.next == '"') return json_field_string(f, name, where);
    json_field content = {.key = "content"};
    *name = NULL;
    TRY(json_fields(f->value, &content, 1, where, f->key));
    return json_field_string(&content, name, where);
}

/* A template, or a list of {"name", "template"}, of which "default" is meant. */
static status read_template(const json_field *f, char **out, const char *where) {
    if (json_is_absent(f) || *f->value.next == '"') return json_field_string(f, out, where);
    cJSON *list;
    const cJSON *one;
    TRY(json_field_tree(f, &list, where));
    cJSON_ArrayForEach(one, list) {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(one, "name");
        const cJSON *text = cJSON_GetObjectItemCaseSensitive(one, "template");
        if (!*out && cJSON_IsString(name) && cJSON_IsString(text) && strcmp(name->valuestring, "default") == 0)
            *out = xstrdup(text->valuestring);
    }
    cJSON_Delete(list);
    return STATUS_OK;
}

enum { BOS, EOS, ADD_BOS, TEMPLATE, CONFIG_FIELDS };

static status read_config(json_scan json, tokenizer_settings *s, const char *where) {
    json_field f[CONFIG_FIELDS] = {
        {.key = "bos_token"}, {.key = "eos_token"}, {.key = "add_bos_token"}, {.key = "chat_template"}};
    TRY(json_fields(json, f, CONFIG_FIELDS, where, "tokenizer_config.json"));
    TRY(read_token(&f[BOS], &s->bos, where));
    TRY(read_token(&f[EOS], &s->eos, where));
    s->says_adds_bos = !json_is_absent(&f[ADD_BOS]);
    TRY(json_field_bool(&f[ADD_BOS], &s->adds_bos, where));
    return s->chat_template ? STATUS_OK : read_template(&f[TEMPLATE], &s->chat_template, where);
}

/* A number or a list of numbers. */
static status read_ends(json_scan json, tokenizer_settings *s, const char *where, const char *what) {
    json_field f = {.key = "eos_token_id"};
    TRY(json_fields(json, &f, 1, where, what));
    if (json_is_absent(&f)) return STATUS_OK;
    json_scan scan = f.value;
    bool list = json_scan_take(&scan, '[');
    if (list && json_scan_take(&scan, ']')) return STATUS_OK;
    do {
        uint64_t id;
        if (!json_scan_size(&scan, &id))
            return fail("%s: expected eos_token_id in %s to be an id or a list of ids, found %s", where, what,
                        json_show(f.value).text);
        if (s->end_count == MOST_ENDS)
            return fail("%s: expected at most %d ids to end a text, found more", where, MOST_ENDS);
        s->ends[s->end_count++] = (int64_t)id;
    } while (list && json_scan_take(&scan, ','));
    return STATUS_OK;
}

enum { VERSION, TOKENIZER, CONFIG, GENERATION, MODEL, CHAT, BUNDLE_FIELDS };

static status read_parts(const json_field *f, tokenizer_settings *s, const char *where) {
    json_scan version = f[VERSION].value;
    uint64_t number;
    if (!json_scan_size(&version, &number) || number != BUNDLE_VERSION)
        return fail("%s: expected a tokenizer bundle of version %d, found %s", where, BUNDLE_VERSION,
                    json_show(f[VERSION].value).text);
    if (!f[TOKENIZER].value.next) return fail("%s: expected the member tokenizer, found none", where);
    TRY(json_field_string(&f[CHAT], &s->chat_template, where));
    if (!json_is_absent(&f[CONFIG])) TRY(read_config(f[CONFIG].value, s, where));
    /* Where the generation's settings name ends, the model's are the older. */
    if (!json_is_absent(&f[GENERATION])) TRY(read_ends(f[GENERATION].value, s, where, "generation_config.json"));
    if (s->end_count == 0 && !json_is_absent(&f[MODEL])) TRY(read_ends(f[MODEL].value, s, where, "config.json"));
    return STATUS_OK;
}

status tokenizer_settings_read(json_scan json, json_scan *tokenizer, tokenizer_settings *s, const char *where) {
    json_field f[BUNDLE_FIELDS] = {{.key = "moec_tokenizer"},    {.key = "tokenizer"}, {.key = "tokenizer_config"},
                                   {.key = "generation_config"}, {.key = "config"},    {.key = "chat_template"}};
    *s = (tokenizer_settings){0};
    TRY(json_fields(json, f, BUNDLE_FIELDS, where, "the file"));
    *tokenizer = f[VERSION].value.next ? f[TOKENIZER].value : json;
    status result = f[VERSION].value.next ? read_parts(f, s, where) : STATUS_OK;
    if (result != STATUS_OK) tokenizer_settings_free(s);
    return result;
}

/* ---- writing ---- */

void text_append_json(text_buffer *b, const char *text, size_t bytes) {
    text_append_string(b, "\"");
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        char escaped[8];
        if (c >= ' ' && c != '"' && c != '\\') {
            text_append(b, text + i, 1);
        } else {
            snprintf(escaped, sizeof escaped, c < ' ' ? "\\u%04x" : "\\%c", c);
            text_append_string(b, escaped);
        }
    }
    text_append_string(b, "\"");
}

/* *bytes is NULL where there is no such file. */
static status read_part(const char *folder, const char *name, size_t most, char **bytes, size_t *count) {
    char *path = path_join(folder, name);
    path_kind kind;
    uint8_t *read = NULL;
    status s = path_look(path, &kind);
    if (s == STATUS_OK && kind != PATH_ABSENT) s = file_read(path, most, &read, count);
    free(path);
    *bytes = (char *)read;
    return s;
}

/* A member of the bundle: the file as it is, if it is JSON. */
static status add_file(text_buffer *bundle, const char *folder, const char *name, const char *key, size_t most) {
    char *bytes;
    size_t count;
    TRY(read_part(folder, name, most, &bytes, &count));
    if (!bytes) return STATUS_OK;
    const size_t mark = byte_order_mark(bytes, count);
    json_scan s = {.next = bytes + mark, .end = bytes + count};
    status result = json_scan_peek(&s) == '{' && json_scan_skip(&s) && json_scan_at_end(&s)
                        ? STATUS_OK
                        : fail("%s/%s: expected a JSON object, found none", folder, name);
    if (result == STATUS_OK) {
        text_append_string(bundle, ",\n\"");
        text_append_string(bundle, key);
        text_append_string(bundle, "\": ");
        text_append(bundle, bytes + mark, count - mark);
    }
    free(bytes);
    return result;
}

/* Of the model's configuration only what a tokenizer needs of it. */
static status add_model_config(text_buffer *bundle, const char *folder) {
    char *bytes;
    size_t count;
    json_field end = {.key = "eos_token_id"};
    TRY(read_part(folder, "config.json", SETTINGS_MAX_BYTES, &bytes, &count));
    if (!bytes) return STATUS_OK;
    status s = json_fields((json_scan){.next = bytes, .end = bytes + count}, &end, 1, folder, "config.json");
    if (s == STATUS_OK && !json_is_absent(&end)) {
        text_append_string(bundle, ",\n\"config\": {\"eos_token_id\": ");
        text_append(bundle, end.value.next, (size_t)(end.value.end - end.value.next));
        text_append_string(bundle, "}");
    }
    free(bytes);
    return s;
}

static status add_chat_template(text_buffer *bundle, const char *folder) {
    char *bytes;
    size_t count;
    TRY(read_part(folder, "chat_template.jinja", SETTINGS_MAX_BYTES, &bytes, &count));
    if (!bytes) return STATUS_OK;
    text_append_string(bundle, ",\n\"chat_template\": ");
    text_append_json(bundle, bytes, count);
    free(bytes);
    return STATUS_OK;
}

status tokenizer_bundle_folder(const char *folder, text_buffer *bundle) {
    text_append_string(bundle, "{\"moec_tokenizer\": 1");
    TRY(add_file(bundle, folder, "tokenizer.json", "tokenizer", TOKENIZER_MAX_BYTES));
    TRY(add_file(bundle, folder, "tokenizer_config.json", "tokenizer_config", SETTINGS_MAX_BYTES));
    TRY(add_file(bundle, folder, "generation_config.json", "generation_config", SETTINGS_MAX_BYTES));
    TRY(add_model_config(bundle, folder));
    TRY(add_chat_template(bundle, folder));
    text_append_string(bundle, "}\n");
    if (bundle->bytes > TOKENIZER_MAX_BYTES)
        return fail("%s: expected a tokenizer of at most %d bytes with its settings, found %zu", folder,
                    TOKENIZER_MAX_BYTES, bundle->bytes);
    return STATUS_OK;
}
