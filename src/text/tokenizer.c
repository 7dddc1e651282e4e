#include "text/tokenizer.h"
#include "base/file.h"
#include "base/memory.h"
#include "text/added_tokens.h"
#include "text/bpe_tokenizer.h"
#include "text/checksums.h"
#include "text/sentencepiece.h"
#include "text/text_buffer.h"
#include "text/tokenizer_kind.h"
#include "text/tokenizer_settings.h"
#include <stdlib.h>
#include <string.h>

/* ---- kinds ---- */

static const tokenizer_kind **added_kinds; /* as long as the process */
static int added_kind_count;

void tokenizer_add_kind(const tokenizer_kind *kind) {
    for (int i = 0; i < added_kind_count; i++)
        if (added_kinds[i] == kind) return;
    added_kinds = xrealloc(added_kinds, (size_t)(added_kind_count + 1) * sizeof *added_kinds);
    added_kinds[added_kind_count++] = kind;
}

static const tokenizer_kind *kind_of(const void *bytes, size_t count) {
    for (int i = 0; i < added_kind_count; i++)
        if (added_kinds[i]->recognises(bytes, count)) return added_kinds[i];
    if (bpe_tokenizer_kind.recognises(bytes, count)) return &bpe_tokenizer_kind;
    return &sentencepiece_kind;
}

/* ---- making one ---- */

tokenizer *tokenizer_create(const tokenizer_kind *kind, void *own, const void *serialized, size_t count) {
    tokenizer *t = xcalloc(1, sizeof *t);
    *t = (tokenizer){.kind = kind, .own = own, .bos = -1, .adds_bos = true};
    t->serialized = xmalloc(count);
    t->serialized_bytes = count;
    if (count) memcpy(t->serialized, serialized, count);
    return t;
}

static size_t keep_string(tokenizer *t, const char *text, size_t bytes) {
    size_t at = t->string_bytes, needed = at + bytes + 1;
    if (needed > t->string_capacity) {
        t->string_capacity = 2 * needed;
        t->strings = xrealloc(t->strings, t->string_capacity);
    }
    if (bytes) memcpy(t->strings + at, text, bytes);
    t->strings[at + bytes] = '\0';
    t->string_bytes = needed;
    return at;
}

static void add(tokenizer *t, token added) {
    if (t->size == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 1024;
        t->tokens = xrealloc(t->tokens, (size_t)t->capacity * sizeof *t->tokens);
    }
    t->tokens[t->size++] = added;
    if (added.bytes > t->longest) t->longest = added.bytes;
}

void tokenizer_add_token(tokenizer *t, const char *piece, const char *text, size_t bytes, bool leading_space) {
    add(t, (token){.piece = keep_string(t, piece, strlen(piece)),
                   .text = keep_string(t, text, bytes),
                   .bytes = (int)bytes,
                   .leading_space = leading_space});
}

void tokenizer_add_boundary(tokenizer *t, const char *piece) {
    size_t kept = keep_string(t, piece, strlen(piece));
    add(t, (token){.piece = kept, .text = kept, .boundary = true});
}

void tokenizer_add_end(tokenizer *t, int32_t id) {
    if (id < 0 || tokenizer_is_end(t, id)) return;
    t->ends = xrealloc(t->ends, (size_t)(t->end_count + 1) * sizeof *t->ends);
    t->ends[t->end_count++] = id;
}

status tokenizer_parse(tokenizer **out, const void *bytes, size_t count, const char *where) {
    return kind_of(bytes, count)->parse(out, bytes, count, where);
}

static status open_file(tokenizer **out, const char *path) {
    uint8_t *bytes;
    size_t count;
    TRY(file_read(path, TOKENIZER_MAX_BYTES, &bytes, &count));
    status s = checksums_check(path, bytes, count);
    if (s == STATUS_OK) s = tokenizer_parse(out, bytes, count, path);
    free(bytes);
    return s;
}

static status open_folder(tokenizer **out, const char *folder) {
    char *json = path_join(folder, "tokenizer.json"), *model = path_join(folder, "tokenizer.model");
    text_buffer bundle = {0};
    path_kind kind, model_kind;
    status s = path_look(json, &kind);
    if (s == STATUS_OK) s = path_look(model, &model_kind);
    if (s == STATUS_OK && kind != PATH_ABSENT) {
        s = tokenizer_bundle_folder(folder, &bundle);
        if (s == STATUS_OK) s = tokenizer_parse(out, bundle.text, bundle.bytes, folder);
    } else if (s == STATUS_OK && model_kind != PATH_ABSENT) {
        s = open_file(out, model);
    } else if (s == STATUS_OK) {
        s = fail("%s: expected a folder with a tokenizer.json or a tokenizer.model, found neither", folder);
    }
    text_free(&bundle);
    free(json);
    free(model);
    return s;
}

status tokenizer_open(tokenizer **out, const char *path) {
    path_kind kind;
    TRY(path_look(path, &kind));
    return kind == PATH_FOLDER ? open_folder(out, path) : open_file(out, path);
}

void tokenizer_close(tokenizer *t) {
    if (!t) return;
    t->kind->release(t->own);
    free(t->tokens);
    free(t->ends);
    free(t->strings);
    free(t->serialized);
    free(t->chat_template);
    free(t->bos_text);
    free(t->eos_text);
    free(t);
}

void tokenizer_bytes(const tokenizer *t, const void **bytes, size_t *count) {
    *bytes = t->serialized;
    *count = t->serialized_bytes;
}

/* ---- what a token is ---- */

uint64_t tokenizer_fingerprint(const tokenizer *t) {
    uint64_t crc = 0;
    for (int id = 0; id < t->size; id++) {
        const token *k = &t->tokens[id];
        const char *says = t->strings + (k->boundary ? k->piece : k->text);
        const uint32_t facts[2] = {k->boundary, (uint32_t)(k->boundary ? strlen(says) : (size_t)k->bytes)};
        crc = crc64(crc, facts, sizeof facts);
        crc = crc64(crc, says, facts[1]);
    }
    return crc;
}

int tokenizer_vocab_size(const tokenizer *t) {
    return t->size;
}

int tokenizer_bos(const tokenizer *t) {
    return t->bos;
}

status tokenizer_needs_bos(const tokenizer *t) {
    if (t->bos >= 0) return STATUS_OK;
    return fail("tokenizer: expected a token to begin documents with (<s>, or a control token that separates texts), "
                "found none");
}

bool tokenizer_adds_bos(const tokenizer *t) {
    return t->adds_bos && t->bos >= 0;
}

bool tokenizer_cuts_lines(const tokenizer *t) {
    return t->cuts_lines;
}

const char *tokenizer_chat_template(const tokenizer *t) {
    return t->chat_template;
}

const char *tokenizer_bos_text(const tokenizer *t) {
    return t->bos_text ? t->bos_text : "";
}

const char *tokenizer_eos_text(const tokenizer *t) {
    return t->eos_text ? t->eos_text : "";
}

bool tokenizer_is_end(const tokenizer *t, int32_t id) {
    if (id < 0) return false;
    for (int i = 0; i < t->end_count; i++)
        if (t->ends[i] == id) return true;
    return id == t->bos;
}

/* NULL: the id has no piece. */
static const token *token_of(const tokenizer *t, int32_t id) {
    return id >= 0 && id < t->size ? &t->tokens[id] : NULL;
}

bool tokenizer_is_boundary(const tokenizer *t, int32_t id) {
    const token *found = token_of(t, id);
    return !found || found->boundary;
}

const char *tokenizer_piece(const tokenizer *t, int32_t id) {
    const token *found = token_of(t, id);
    return found ? t->strings + found->piece : "<padding>";
}

const char *tokenizer_token_text(const tokenizer *t, int32_t id, int32_t prev, int *bytes) {
    const token *found = token_of(t, id);
    *bytes = tokenizer_token_bytes(t, id, prev);
    return found ? t->strings + found->text + (found->bytes - *bytes) : "";
}

int tokenizer_token_bytes(const tokenizer *t, int32_t id, int32_t prev) {
    const token *found = token_of(t, id);
    if (!found) return 0;
    return found->bytes - (found->leading_space && tokenizer_is_boundary(t, prev));
}

status tokenizer_encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    return t->kind->encode(t, text, bytes, ids, count);
}

status tokenizer_encode_text(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    TRY(tokenizer_encode(t, text, bytes, ids, count));
    if (!tokenizer_adds_bos(t) || tokenizer_bos(t) < 0) return STATUS_OK;
    *ids = xrealloc(*ids, (*count + 1) * sizeof **ids);
    memmove(*ids + 1, *ids, *count * sizeof **ids);
    (*ids)[0] = tokenizer_bos(t);
    ++*count;
    return STATUS_OK;
}

/* ---- control tokens of kinds that know nothing of them ---- */

typedef struct joined_ids {
    const tokenizer *t;
    const char *text;
    int32_t *ids;
    size_t count, capacity;
} joined_ids;

static void append_ids(joined_ids *j, const int32_t *ids, size_t count) {
    if (j->count + count + 1 > j->capacity) {
        j->capacity = 2 * (j->count + count + 1);
        j->ids = xrealloc(j->ids, j->capacity * sizeof *j->ids);
    }
    if (count) memcpy(j->ids + j->count, ids, count * sizeof *ids);
    j->count += count;
}

static status encode_part(void *context, int32_t id, size_t begin, size_t end) {
    joined_ids *j = context;
    int32_t *ids = &id;
    size_t count = 1;
    if (id < 0) TRY(j->t->kind->encode(j->t, j->text + begin, end - begin, &ids, &count));
    append_ids(j, ids, count);
    if (id < 0) free(ids);
    return STATUS_OK;
}

static status encode_between_controls(const tokenizer *t, const char *text, size_t bytes, int32_t **ids,
                                      size_t *count) {
    added_tokens controls = {0};
    for (int id = 0; id < t->size; id++) {
        char *piece = t->strings + t->tokens[id].piece;
        if (t->tokens[id].boundary && strlen(piece) <= ADDED_TOKEN_MAX_BYTES)
            added_tokens_add(&controls, (added_token){.content = piece, .bytes = strlen(piece), .id = id});
    }
    added_tokens_ready(&controls);
    joined_ids j = {.t = t, .text = text};
    append_ids(&j, NULL, 0);
    status s = added_tokens_split(&controls, text, bytes, true, encode_part, &j);
    added_tokens_free(&controls);
    if (s != STATUS_OK) {
        free(j.ids);
        return s;
    }
    *ids = j.ids;
    *count = j.count;
    return STATUS_OK;
}

status tokenizer_encode_special(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    if (t->kind->encode_special) return t->kind->encode_special(t, text, bytes, ids, count);
    return encode_between_controls(t, text, bytes, ids, count);
}

/* ---- decoding ---- */

detokenizer detokenizer_start(const tokenizer *t) {
    /* Each held byte and each byte of a token may give a replacement, with a NUL behind all. */
    size_t most = (size_t)t->longest + UTF8_MAX_BYTES;
    return (detokenizer){.t = t, .prev = -1, .text = xmalloc(most * strlen(UTF8_REPLACEMENT) + 1)};
}

/* Moves whole characters, or what stands for broken ones, to the text. */
static size_t take_characters(const char *bytes, size_t count, char *text, size_t *taken) {
    size_t at = 0, written = 0;
    int length;
    while (at < count && (length = utf8_character(bytes + at, count - at)) != UTF8_CUT) {
        const char *from = length == UTF8_NONE ? UTF8_REPLACEMENT : bytes + at;
        size_t size = length == UTF8_NONE ? strlen(UTF8_REPLACEMENT) : (size_t)length;
        memcpy(text + written, from, size);
        written += size;
        at += length == UTF8_NONE ? 1 : (size_t)length;
    }
    *taken = at;
    return written;
}

const char *detokenizer_feed(detokenizer *d, int32_t id, size_t *bytes) {
    int added;
    const char *text = tokenizer_token_text(d->t, id, d->prev, &added);
    d->prev = id;
    *bytes = 0;
    /* A held character takes bytes one by one until it is whole or broken. */
    while (d->held_bytes > 0 && added > 0) {
        d->held[d->held_bytes++] = *text++;
        added--;
        size_t taken;
        *bytes += take_characters(d->held, (size_t)d->held_bytes, d->text + *bytes, &taken);
        d->held_bytes -= (int)taken;
        memmove(d->held, d->held + taken, (size_t)d->held_bytes);
    }
    if (added > 0) {
        size_t taken;
        *bytes += take_characters(text, (size_t)added, d->text + *bytes, &taken);
        d->held_bytes = added - (int)taken;
        memcpy(d->held, text + taken, (size_t)d->held_bytes);
    }
    d->text[*bytes] = '\0';
    return d->text;
}

const char *detokenizer_end(detokenizer *d, size_t *bytes) {
    *bytes = 0;
    for (; d->held_bytes > 0; d->held_bytes--, *bytes += strlen(UTF8_REPLACEMENT))
        memcpy(d->text + *bytes, UTF8_REPLACEMENT, strlen(UTF8_REPLACEMENT));
    d->text[*bytes] = '\0';
    return d->text;
}

void detokenizer_free(detokenizer *d) {
    free(d->text);
    *d = (detokenizer){0};
}

/* ---- whole texts ---- */

status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, char **text, size_t *bytes) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0)
            return fail("tokenizer: expected token ids of 0 or more, found %d at position %zu", (int)ids[i], i);
    detokenizer d = detokenizer_start(t);
    text_buffer g = {0};
    size_t got;
    for (size_t i = 0; i < count; i++) {
        const char *part = detokenizer_feed(&d, ids[i], &got);
        text_append(&g, part, got);
    }
    const char *rest = detokenizer_end(&d, &got);
    text_append(&g, rest, got);
    detokenizer_free(&d);
    *text = g.text;
    *bytes = g.bytes;
    return STATUS_OK;
}

bool tokenizer_is_exact(const tokenizer *t, const int32_t *ids, size_t count, const char *text, size_t bytes) {
    char *decoded;
    size_t decoded_bytes, counted = 0;
    if (tokenizer_decode(t, ids, count, &decoded, &decoded_bytes) != STATUS_OK) return false;
    const bool same = decoded_bytes == bytes && memcmp(decoded, text, bytes) == 0;
    free(decoded);
    for (size_t i = 0; i < count; i++)
        counted += (size_t)tokenizer_token_bytes(t, ids[i], i ? ids[i - 1] : tokenizer_bos(t));
    return same && counted == bytes;
}
