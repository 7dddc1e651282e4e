#include "text/tokenizer_source.h"

#include "text/bpe_tokenizer.h"
#include "text/tokenizer_settings.h"
#include "text/utf8.h"
#include "text/word_patterns.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { MOST_TOKENS = 1 << 24, MOST_MERGES = 1 << 24 };

tokenizer_source tokenizer_source_empty(void) {
    return (tokenizer_source){.bos = -1, .eos = -1, .eot = -1, .eom = -1, .unknown = -1};
}

/* ---- checking ---- */

static status check_strings(const source_string *list, size_t count, const char *what, const char *where) {
    for (size_t i = 0; i < count; i++) {
        size_t valid = utf8_valid_prefix(list[i].text, list[i].bytes);
        if (valid < list[i].bytes)
            return fail("%s: expected UTF-8 in tokenizer.ggml.%s, found the byte 0x%02X in number %zu", where, what,
                        (unsigned char)list[i].text[valid], i);
    }
    return STATUS_OK;
}

static status check_id(int64_t id, size_t count, const char *what, const char *where) {
    if (id < (int64_t)count) return STATUS_OK;
    return fail("%s: expected tokenizer.ggml.%s below %zu, found %" PRId64, where, what, count, id);
}

static status check_arrays(const tokenizer_source *s, const char *where) {
    if (s->count < 1 || s->count > MOST_TOKENS)
        return fail("%s: expected 1 to %d tokens in tokenizer.ggml.tokens, found %zu", where, MOST_TOKENS, s->count);
    if (s->merge_count > MOST_MERGES)
        return fail("%s: expected at most %d pairs in tokenizer.ggml.merges, found %zu", where, MOST_MERGES,
                    s->merge_count);
    TRY(check_strings(s->tokens, s->count, "tokens", where));
    TRY(check_strings(s->merges, s->merge_count, "merges", where));
    for (size_t i = 0; s->scores && i < s->count; i++)
        if (!isfinite(s->scores[i]))
            return fail("%s: expected finite tokenizer.ggml.scores, found %g for id %zu", where, (double)s->scores[i],
                        i);
    TRY(check_id(s->bos, s->count, "bos_token_id", where));
    TRY(check_id(s->eos, s->count, "eos_token_id", where));
    TRY(check_id(s->eot, s->count, "eot_token_id", where));
    TRY(check_id(s->eom, s->count, "eom_token_id", where));
    return check_id(s->unknown, s->count, "unknown_token_id", where);
}

/* What ends texts is a control token, whatever a file says of it: llama.cpp overrules it, too. */
static int32_t type_of(const tokenizer_source *s, size_t id) {
    if (is_end_name(s->tokens[id].text, s->tokens[id].bytes)) return SOURCE_CONTROL;
    return s->types ? s->types[id] : SOURCE_NORMAL;
}

/* ---- writing a tokenizer.json ---- */

/* What has no name gets one, as llama.cpp does it. */
static void append_token(text_buffer *b, const tokenizer_source *s, int64_t id) {
    char name[32];
    size_t bytes = s->tokens[id].bytes;
    if (bytes == 0) bytes = (size_t)snprintf(name, sizeof name, "[EMPTY_%" PRId64 "]", id);
    text_append_json(b, s->tokens[id].bytes ? s->tokens[id].text : name, bytes);
}

static void append_literal(text_buffer *b, const char *text) {
    text_append_json(b, text, strlen(text));
}

/* Control tokens, and words that stand for themselves; llama.cpp looks for these in any text. */
static void append_added(text_buffer *b, const tokenizer_source *s) {
    const char *between = "";
    text_append_string(b, "\"added_tokens\": [");
    for (size_t id = 0; id < s->count; id++) {
        int32_t type = type_of(s, id);
        bool control = type == SOURCE_CONTROL || type == SOURCE_UNKNOWN;
        if ((!control && type != SOURCE_USER_DEFINED) || s->tokens[id].bytes == 0) continue;
        text_append_string(b, between);
        text_append_string(b, "\n{\"id\": ");
        text_append_number(b, (int64_t)id);
        text_append_string(b, ", \"content\": ");
        append_token(b, s, (int64_t)id);
        text_append_string(b, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                              "\"special\": ");
        text_append_string(b, control ? "true}" : "false}");
        between = ",";
    }
    text_append_string(b, "],\n");
}

static void append_split(text_buffer *b, const char *expression) {
    text_append_string(b, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
    append_literal(b, expression);
    text_append_string(b, "}, \"behavior\": \"Isolated\", \"invert\": false}, ");
}

static void append_byte_level(text_buffer *b, const tokenizer_source *s, const word_patterns *words) {
    text_append_string(b, "\"normalizer\": null,\n\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [");
    for (int i = 0; words->expressions[i]; i++) append_split(b, words->expressions[i]);
    text_append_string(b,
                       "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, \"use_regex\": "
                       "false}]},\n\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                       "\"trim_offsets\": false, \"use_regex\": false},\n"
                       "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
                       "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
                       "\"byte_fallback\": false, \"ignore_merges\": ");
    text_append_string(b, words->ignores_merges ? "true,\n\"vocab\": {" : "false,\n\"vocab\": {");
    const char *between = "\n";
    for (size_t id = 0; id < s->count; id++) {
        if (type_of(s, id) == SOURCE_UNUSED) continue; /* a hole */
        text_append_string(b, between);
        append_token(b, s, (int64_t)id);
        text_append_string(b, ": ");
        text_append_number(b, (int64_t)id);
        between = ",\n";
    }
    text_append_string(b, "},\n\"merges\": [");
    for (size_t i = 0; i < s->merge_count; i++) {
        text_append_string(b, i ? ",\n" : "\n");
        text_append_json(b, s->merges[i].text, s->merges[i].bytes);
    }
    text_append_string(b, "]}");
}

/* A space in front of every part of a text between control tokens, also where there is one already. */
static void append_scored(text_buffer *b, const tokenizer_source *s) {
    bool space = s->adds_space != SOURCE_NO;
    text_append_string(b, "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    if (space) text_append_string(b, "{\"type\": \"Prepend\", \"prepend\": \"▁\"}, ");
    text_append_string(b,
                       "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"▁\"}]},\n"
                       "\"pre_tokenizer\": null,\n\"decoder\": {\"type\": \"Sequence\", "
                       "\"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"▁\"}, \"content\": \" \"}, "
                       "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}");
    if (space) text_append_string(b, ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}");
    text_append_string(b, "]},\n\"model\": {\"type\": \"SPM\", \"byte_fallback\": true, \"unk_token\": ");
    int64_t unknown = s->unknown;
    for (size_t id = 0; unknown < 0 && id < s->count; id++)
        if (type_of(s, id) == SOURCE_UNKNOWN) unknown = (int64_t)id;
    if (unknown >= 0)
        append_token(b, s, unknown);
    else
        text_append_string(b, "null");
    text_append_string(b, ",\n\"vocab\": [");
    for (size_t id = 0; id < s->count; id++) {
        char score[40];
        text_append_string(b, id ? ",\n[" : "\n[");
        append_token(b, s, (int64_t)id);
        text_append(b, score, (size_t)snprintf(score, sizeof score, ", %.9g]", (double)s->scores[id]));
    }
    text_append_string(b, "]}");
}

/* What puts BOS in front: transformers goes by it. */
static void append_processor(text_buffer *b, const tokenizer_source *s, bool adds_bos) {
    if (!adds_bos || s->bos < 0) {
        text_append_string(b, "\"post_processor\": null,\n");
        return;
    }
    text_append_string(
        b, "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": ");
    append_token(b, s, s->bos);
    text_append_string(
        b, ", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [{\"Sequence\": {\"id\": "
           "\"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {");
    append_token(b, s, s->bos);
    text_append_string(b, ": {\"id\": ");
    append_token(b, s, s->bos);
    text_append_string(b, ", \"ids\": [");
    text_append_number(b, s->bos);
    text_append_string(b, "], \"tokens\": [");
    append_token(b, s, s->bos);
    text_append_string(b, "]}}},\n");
}

/* tokenizer_config.json and generation_config.json, as far as a GGUF knows them. */
static void append_settings(text_buffer *b, const tokenizer_source *s, bool adds_bos) {
    const struct {
        const char *key;
        int64_t id;
    } named[] = {{"bos_token", s->bos}, {"eos_token", s->eos}};
    text_append_string(b, ",\n\"tokenizer_config\": {\"tokenizer_class\": \"PreTrainedTokenizerFast\", "
                          "\"clean_up_tokenization_spaces\": false, \"add_bos_token\": ");
    text_append_string(b, adds_bos ? "true" : "false");
    for (int i = 0; i < 2; i++) {
        if (named[i].id < 0) continue;
        text_append_string(b, ", ");
        append_literal(b, named[i].key);
        text_append_string(b, ": ");
        append_token(b, s, named[i].id);
    }
    if (s->chat_template) {
        text_append_string(b, ", \"chat_template\": ");
        append_literal(b, s->chat_template);
    }
    text_append_string(b, "},\n\"generation_config\": {\"eos_token_id\": [");
    const int64_t ends[] = {s->eos, s->eot, s->eom};
    const char *between = "";
    for (int i = 0; i < 3; i++) {
        if (ends[i] < 0) continue;
        text_append_string(b, between);
        text_append_number(b, ends[i]);
        between = ", ";
    }
    text_append_string(b, "]}}\n");
}

/* ---- the two models ---- */

static status check_byte_level(const tokenizer_source *s, const word_patterns **words, const char *where) {
    const char *pre = s->pre && *s->pre ? s->pre : "default";
    *words = word_patterns_find(pre);
    if (!*words)
        return fail("%s: expected a tokenizer.ggml.pre that moec supports, found %.60s (%s)", where, pre,
                    word_patterns_names());
    return s->merges ? STATUS_OK : fail("%s: expected tokenizer.ggml.merges, found none", where);
}

status tokenizer_from_source(tokenizer **out, const tokenizer_source *s, const char *where) {
    bool scored = strcmp(s->model, "llama") == 0;
    const word_patterns *words = NULL;
    if (!scored && strcmp(s->model, "gpt2") != 0)
        return fail("%s: expected a tokenizer.ggml.model of gpt2 or llama, found %.60s, which moec does not support",
                    where, s->model);
    TRY(check_arrays(s, where));
    if (scored && !s->scores) return fail("%s: expected tokenizer.ggml.scores, found none", where);
    if (!scored) TRY(check_byte_level(s, &words, where));
    text_buffer b = {0};
    text_append_string(&b, "{\"moec_tokenizer\": 1,\n\"tokenizer\": {\"version\": \"1.0\", \"truncation\": null, "
                           "\"padding\": null,\n");
    const bool adds_bos = s->adds_bos == SOURCE_UNSAID ? scored || words->adds_bos : s->adds_bos == SOURCE_YES;
    append_added(&b, s);
    append_processor(&b, s, adds_bos);
    if (scored)
        append_scored(&b, s);
    else
        append_byte_level(&b, s, words);
    text_append_string(&b, "}");
    append_settings(&b, s, adds_bos);
    status result = b.bytes > TOKENIZER_MAX_BYTES ? fail("%s: expected a tokenizer of at most %d bytes, found %zu",
                                                         where, TOKENIZER_MAX_BYTES, b.bytes)
                                                  : tokenizer_parse(out, b.text, b.bytes, where);
    text_free(&b);
    return result;
}
