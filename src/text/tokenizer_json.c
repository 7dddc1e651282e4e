/* tokenizer.json, alone or in a bundle (tokenizer_settings.h), as a kind of tokenizer. */
#include "text/bpe_tokenizer.h"

#include "base/byte_order_mark.h"
#include "base/memory.h"
#include "text/byte_characters.h"
#include "text/tokenizer_settings.h"
#include "text/utf8.h"
#include "text/word_patterns.h"
#include <stdlib.h>
#include <string.h>

enum { MODEL, NORMALIZER, WORDS, DECODER, PROCESSOR, ADDED, FIELDS };

/* A tokenizer.json as it is being read. */
typedef struct reading {
    const char *where;
    json_field fields[FIELDS];
    bpe_tokenizer *b;
    piece_names names;
    piece_decoder decoder;
    char *template_bos;  /* what the post_processor puts in front; NULL: nothing */
    bool *special;       /* [names.size] control tokens */
    bool *added;         /* [names.size] added tokens of any sort */
    bool newline_added;  /* some added token has a newline in it */
    regex_matcher *m;    /* of all added tokens: one deadline for the whole file */
    size_t normal_bytes; /* of their normal forms */
} reading;

enum { ADDED_NORMAL_BYTES = 64 << 20 }; /* at most */

/* ---- added tokens ---- */

enum { ID, CONTENT, SPECIAL, NORMALIZED, LSTRIP, RSTRIP, SINGLE_WORD, ADDED_FIELDS };

static status read_flags(const json_field *f, added_token *token, const char *where) {
    token->normalized = !token->special;
    TRY(json_field_bool(&f[SPECIAL], &token->special, where));
    TRY(json_field_bool(&f[NORMALIZED], &token->normalized, where));
    TRY(json_field_bool(&f[LSTRIP], &token->lstrip, where));
    TRY(json_field_bool(&f[RSTRIP], &token->rstrip, where));
    return json_field_bool(&f[SINGLE_WORD], &token->single_word, where);
}

/* A normalized token is looked for in normalised text: by its normal form. */
static status add_to_lists(reading *r, added_token token) {
    if (!token.normalized || r->b->normal.count == 0) {
        added_tokens_add(token.normalized ? &r->b->normalized : &r->b->raw, token);
        return STATUS_OK;
    }
    text_buffer normal = {0};
    status s = normalizer_apply(&r->b->normal, r->m, token.content, token.bytes, &normal);
    token.content = normal.text;
    token.bytes = normal.bytes;
    r->normal_bytes += normal.bytes;
    if (s == STATUS_OK && r->normal_bytes > ADDED_NORMAL_BYTES)
        s = fail("expected normal forms of added_tokens of at most %d MiB, found more", ADDED_NORMAL_BYTES >> 20);
    if (s == STATUS_OK) added_tokens_add(&r->b->normalized, token);
    text_free(&normal);
    return s == STATUS_OK ? s : fail_in(s, "%s", r->where);
}

static status mark_added(reading *r, int32_t *size, added_token token) {
    if (r->names.size > *size) { /* as many flags as there are ids */
        r->special = xrealloc(r->special, (size_t)r->names.size * sizeof(bool));
        r->added = xrealloc(r->added, (size_t)r->names.size * sizeof(bool));
        memset(r->special + *size, 0, (size_t)(r->names.size - *size) * sizeof(bool));
        memset(r->added + *size, 0, (size_t)(r->names.size - *size) * sizeof(bool));
        *size = r->names.size;
    }
    r->special[token.id] = token.special;
    r->added[token.id] = true;
    return add_to_lists(r, token);
}

static status read_added(reading *r, json_scan json, int32_t *size) {
    json_field f[ADDED_FIELDS] = {{.key = "id"},     {.key = "content"}, {.key = "special"},    {.key = "normalized"},
                                  {.key = "lstrip"}, {.key = "rstrip"},  {.key = "single_word"}};
    uint64_t id;
    char *content;
    added_token token = {0};
    TRY(json_fields(json, f, ADDED_FIELDS, r->where, "a member of added_tokens"));
    json_scan number = f[ID].value;
    if (!number.next || !json_scan_size(&number, &id) || id >= (uint64_t)r->names.most)
        return fail("%s: expected an id below %d in added_tokens, for there are not more pieces, found %s", r->where,
                    (int)r->names.most, json_show(f[ID].value).text);
    TRY(read_flags(f, &token, r->where));
    TRY(json_field_string(&f[CONTENT], &content, r->where));
    token.id = (int32_t)id;
    token.content = content;
    token.bytes = content ? strlen(content) : 0;
    int32_t piece = content ? string_map_find(&r->b->model.pieces, content, token.bytes) : -1;
    status s = STATUS_OK;
    if (!content || token.bytes > ADDED_TOKEN_MAX_BYTES)
        s = fail("%s: expected contents of at most %d bytes in added_tokens, found %zu for id %d", r->where,
                 ADDED_TOKEN_MAX_BYTES, token.bytes, (int)id);
    else if ((piece >= 0 && piece != token.id) || !piece_names_set(&r->names, token.id, content))
        s = fail("%s: expected one id for each token, found %d of added_tokens' `%.40s` in model.vocab for another",
                 r->where, (int)id, content);
    else {
        r->newline_added = r->newline_added || strchr(content, '\n');
        s = mark_added(r, size, token);
    }
    free(content);
    return s;
}

static status read_added_tokens(reading *r) {
    json_scan s = r->fields[ADDED].value;
    int32_t size = 0;
    if (!json_is_absent(&r->fields[ADDED]) && !json_scan_take(&s, '['))
        return fail("%s: expected added_tokens to be a list, found %s", r->where, json_show(s).text);
    if (!json_is_absent(&r->fields[ADDED]) && !json_scan_take(&s, ']')) {
        size_t count = 0;
        do {
            json_scan_peek(&s);
            json_scan one = {.next = s.next};
            if (!json_scan_skip(&s))
                return fail("%s: expected objects in added_tokens, found %s", r->where, json_show(s).text);
            one.end = s.next;
            TRY(read_added(r, one, &size));
            if (++count > ADDED_TOKENS_MAX)
                return fail("%s: expected at most %d added_tokens, found more", r->where, ADDED_TOKENS_MAX);
        } while (json_scan_take(&s, ','));
    }
    added_tokens_ready(&r->b->raw);
    added_tokens_ready(&r->b->normalized);
    if (size < r->names.size) { /* flags for all ids */
        r->special = xrealloc(r->special, (size_t)r->names.size * sizeof(bool));
        r->added = xrealloc(r->added, (size_t)r->names.size * sizeof(bool));
        memset(r->special + size, 0, (size_t)(r->names.size - size) * sizeof(bool));
        memset(r->added + size, 0, (size_t)(r->names.size - size) * sizeof(bool));
    }
    int32_t holes = r->names.size - r->names.count;
    if (holes > r->names.count + (1 << 16))
        return fail("%s: expected ids without many holes, found %d tokens with ids up to %d", r->where,
                    (int)r->names.count, (int)r->names.size - 1);
    return STATUS_OK;
}

/* ---- reading all of it ---- */

static status read_tree(reading *r, int field, status (*read)(const cJSON *json, reading *r)) {
    cJSON *tree;
    TRY(json_field_tree(&r->fields[field], &tree, r->where));
    status s = read(tree, r);
    cJSON_Delete(tree);
    return s;
}

static status normalizer_of(const cJSON *json, reading *r) {
    return read_normalizer(json, &r->b->normal, r->where);
}

static status words_of(const cJSON *json, reading *r) {
    return read_pre_tokenizer(json, &r->b->words, r->where);
}

static status decoder_of(const cJSON *json, reading *r) {
    return read_decoder(json, &r->decoder, r->where);
}

static status processor_of(const cJSON *json, reading *r) {
    return read_post_processor(json, &r->template_bos, r->where);
}

static status read_all(reading *r, json_scan json) {
    static const char *const keys[FIELDS] = {"model",   "normalizer",     "pre_tokenizer",
                                             "decoder", "post_processor", "added_tokens"};
    for (int i = 0; i < FIELDS; i++) r->fields[i] = (json_field){.key = keys[i]};
    TRY(json_fields(json, r->fields, FIELDS, r->where, "the tokenizer"));
    if (!r->fields[MODEL].value.next)
        return fail("%s: expected the member model of a tokenizer.json, found none", r->where);
    TRY(read_tree(r, NORMALIZER, normalizer_of));
    TRY(read_tree(r, WORDS, words_of));
    TRY(read_tree(r, DECODER, decoder_of));
    TRY(read_tree(r, PROCESSOR, processor_of));
    TRY(read_model(r->fields[MODEL].value, &r->b->model, &r->names, r->where));
    return read_added_tokens(r);
}

/* ---- what tokens stand for ---- */

static bool is_byte_piece(const char *piece, char *byte) {
    static const char digits[] = "0123456789ABCDEF";
    if (strlen(piece) != 6 || strncmp(piece, "<0x", 3) != 0 || piece[5] != '>') return false;
    const char *high = strchr(digits, piece[3]), *low = strchr(digits, piece[4]);
    if (!high || !low) return false;
    *byte = (char)((high - digits) << 4 | (low - digits));
    return true;
}

static void append_spaced(const char *piece, const char *space, text_buffer *out) {
    size_t length = strlen(space);
    const char *found;
    while ((found = strstr(piece, space))) {
        text_append(out, piece, (size_t)(found - piece));
        text_append(out, " ", 1);
        piece = found + length;
    }
    text_append_string(out, piece);
}

static void text_of_piece(const reading *r, int32_t id, text_buffer *out) {
    const char *piece = r->names.list[id];
    const piece_decoder *d = &r->decoder;
    char byte;
    out->bytes = 0;
    if (d->byte_fallback && is_byte_piece(piece, &byte))
        text_append(out, &byte, 1);
    else if (d->byte_level && !r->added[id] && byte_characters_undo(piece, strlen(piece), out))
        return;
    else if (d->space)
        append_spaced(piece, d->space, out);
    else
        text_append_string(out, piece);
}

static void describe(const reading *r, tokenizer *t) {
    text_buffer text = {0};
    for (int32_t id = 0; id < r->names.size; id++) {
        const char *piece = r->names.list[id];
        if (!piece || r->special[id] || id == r->b->model.unknown) {
            tokenizer_add_boundary(t, piece ? piece : "<unused>");
            continue;
        }
        text_of_piece(r, id, &text);
        tokenizer_add_token(t, piece, text.text, text.bytes,
                            r->decoder.strips_space && text.bytes && *text.text == ' ');
    }
    text_free(&text);
}

/* ---- which tokens begin and end a text ---- */

/* −1: no token has this name. */
static int32_t id_of(const reading *r, const char *name) {
    if (!name || !*name) return -1;
    int32_t id = string_map_find(&r->b->model.pieces, name, strlen(name));
    if (id >= 0) return id;
    const added_tokens *lists[] = {&r->b->raw, &r->b->normalized};
    for (int i = 0; i < 2; i++)
        for (size_t j = 0; j < lists[i]->count; j++)
            if (strcmp(r->names.list[lists[i]->list[j].id], name) == 0) return lists[i]->list[j].id;
    return -1;
}

/* Control tokens that end a text or a turn, in whatever file they are named (llama.cpp has such a list, too). The first of
 * `separators` that a vocabulary has stands between documents where texts have no token in front. */
static const char *const separators[] = {"<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "<eos>", "</s>"};
static const char *const turn_ends[] = {"<|im_end|>",    "<|eot_id|>",         "<|eom_id|>", "<|end|>",
                                        "<end_of_turn>", "<end_of_utterance>", "<|EOT|>",    "<EOT>",
                                        "_<EOT>",        "<|endofturn|>",      "[EOT]",      "[EOS]"};

bool is_end_name(const char *name, size_t bytes) {
    const struct {
        const char *const *list;
        size_t count;
    } lists[] = {{separators, sizeof separators / sizeof *separators},
                 {turn_ends, sizeof turn_ends / sizeof *turn_ends}};
    for (int i = 0; i < 2; i++)
        for (size_t j = 0; j < lists[i].count; j++)
            if (strlen(lists[i].list[j]) == bytes && memcmp(lists[i].list[j], name, bytes) == 0) return true;
    return false;
}

static int32_t control_token(const reading *r, const char *name) {
    int32_t id = id_of(r, name);
    return id >= 0 && r->special[id] ? id : -1;
}

static int32_t first_of(int32_t a, int32_t b) {
    return a >= 0 ? a : b;
}

static void set_begin(const reading *r, const tokenizer_settings *s, tokenizer *t) {
    int32_t bos = first_of(id_of(r, r->template_bos), id_of(r, s->bos));
    bool adds = s->says_adds_bos ? s->adds_bos : r->template_bos != NULL;
    t->adds_bos = adds && bos >= 0;
    if (!t->adds_bos) {
        int32_t separator = -1;
        for (size_t i = 0; i < sizeof separators / sizeof *separators; i++)
            separator = first_of(separator, control_token(r, separators[i]));
        bos = first_of(separator, first_of(bos, id_of(r, s->eos)));
    }
    t->bos = bos;
}

static status set_ends(const reading *r, const tokenizer_settings *s, tokenizer *t) {
    for (int i = 0; i < s->end_count; i++) {
        /* A model's vocabulary may be larger than its tokenizer's. */
        if (s->ends[i] >= 1 << 24)
            return fail("%s: expected eos_token_id below 2^24, found %lld", r->where, (long long)s->ends[i]);
        tokenizer_add_end(t, (int32_t)s->ends[i]);
    }
    tokenizer_add_end(t, id_of(r, s->eos));
    for (size_t i = 0; i < sizeof separators / sizeof *separators; i++)
        tokenizer_add_end(t, control_token(r, separators[i]));
    for (size_t i = 0; i < sizeof turn_ends / sizeof *turn_ends; i++)
        tokenizer_add_end(t, control_token(r, turn_ends[i]));
    return STATUS_OK;
}

/* Whether words end where lines do, so that a long text may be encoded in parts (tokenizer_cuts_lines). */
static bool cuts_lines(const reading *r) {
    for (int i = 0; i < r->b->normal.count; i++)
        if (r->b->normal.steps[i].kind > NORMAL_LOWERCASE) return false;
    for (int i = 0; i < r->b->words.count && !r->newline_added; i++) {
        const split_step *step = &r->b->words.steps[i];
        if (step->kind != STEP_SPLIT || step->inverted) return false;
        if (step->behavior == SPLIT_ISOLATED && word_pattern_cuts_lines(regex_pattern(step->pattern))) return true;
        if (!word_pattern_knows_no_lines(regex_pattern(step->pattern))) return false;
    }
    return false;
}

static char *copy_or_null(const char *text) {
    return text ? xstrdup(text) : NULL;
}

/* ---- the kind ---- */

static status build(reading *r, const tokenizer_settings *s, tokenizer *t) {
    describe(r, t);
    set_begin(r, s, t);
    TRY(set_ends(r, s, t));
    t->chat_template = copy_or_null(s->chat_template);
    t->bos_text = copy_or_null(s->bos ? s->bos : r->template_bos);
    t->eos_text = copy_or_null(s->eos);
    t->cuts_lines = cuts_lines(r);
    return STATUS_OK;
}

static json_scan begin_scan(const void *bytes, size_t count) {
    const char *text = bytes;
    return (json_scan){.next = text + byte_order_mark(text, count), .end = text + count};
}

static status check_utf8(const char *bytes, size_t count, const char *where) {
    size_t valid = utf8_valid_prefix(bytes, count);
    return valid == count ? STATUS_OK
                          : fail("%s: expected UTF-8 text, found the byte 0x%02X at offset %zu", where,
                                 (unsigned char)bytes[valid], valid);
}

static status parse(tokenizer **out, const void *bytes, size_t count, const char *where) {
    json_scan json = begin_scan(bytes, count), own;
    tokenizer_settings settings;
    TRY(check_utf8(bytes, count, where));
    TRY(tokenizer_settings_read(json, &own, &settings, where));
    reading r = {
        .where = where, .b = xcalloc(1, sizeof *r.b), .names = piece_names_of(count), .m = regex_matcher_create(count)};
    status s = read_all(&r, own);
    if (s == STATUS_OK) {
        tokenizer *t = tokenizer_create(&bpe_tokenizer_kind, r.b, bytes, count); /* r.b belongs to it now */
        s = build(&r, &settings, t);
        if (s == STATUS_OK)
            *out = t;
        else
            tokenizer_close(t);
    } else {
        bpe_tokenizer_free(r.b);
    }
    piece_names_free(&r.names);
    regex_matcher_free(r.m);
    free(r.decoder.space);
    free(r.template_bos);
    free(r.special);
    free(r.added);
    tokenizer_settings_free(&settings);
    return s;
}

static bool recognises(const void *bytes, size_t count) {
    json_scan json = begin_scan(bytes, count);
    return json_scan_peek(&json) == '{';
}

static status encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    return bpe_tokenizer_encode(t->own, text, bytes, false, ids, count);
}

static status encode_special(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    return bpe_tokenizer_encode(t->own, text, bytes, true, ids, count);
}

static void release(void *own) {
    bpe_tokenizer_free(own);
}

const tokenizer_kind bpe_tokenizer_kind = {.name = "tokenizer.json",
                                           .recognises = recognises,
                                           .parse = parse,
                                           .encode = encode,
                                           .encode_special = encode_special,
                                           .release = release};
