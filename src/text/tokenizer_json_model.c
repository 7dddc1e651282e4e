/* The member "model" of a tokenizer.json: {"type": "BPE", "vocab": {piece: id}, "merges": [pair], …}, and moec's own
 * {"type": "SPM", "vocab": [[piece, score]], …} for the vocabularies of SentencePiece that a GGUF holds. */
#include "text/bpe_tokenizer.h"

#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PIECES = 1 << 24, MOST_PIECE_BYTES = 4096, HOLES = 1 << 16, LEAST_BYTES_OF_PIECE = 5 /* "a":0 */ };

/* ---- names by id ---- */

/* As many ids again may be holes, and HOLES of them at least (check_holes). */
piece_names piece_names_of(size_t bytes) {
    const size_t most = 2 * (bytes / LEAST_BYTES_OF_PIECE) + HOLES;
    return (piece_names){.most = (int32_t)(most < MOST_PIECES ? most : MOST_PIECES)};
}

bool piece_names_set(piece_names *n, int32_t id, const char *name) {
    if (id < 0 || id >= n->most) return false;
    if (id >= n->capacity) {
        const int32_t capacity = 2 * id + 1024;
        n->list = xrealloc(n->list, (size_t)capacity * sizeof *n->list);
        memset(n->list + n->capacity, 0, (size_t)(capacity - n->capacity) * sizeof *n->list);
        n->capacity = capacity;
    }
    if (n->list[id]) return strcmp(n->list[id], name) == 0;
    n->list[id] = xstrdup(name);
    n->count++;
    if (id >= n->size) n->size = id + 1;
    return true;
}

void piece_names_free(piece_names *n) {
    for (int32_t i = 0; i < n->size; i++) free(n->list[i]);
    free(n->list);
    *n = (piece_names){0};
}

/* ---- pieces ---- */

static status malformed(const char *where, const char *what, const json_scan *s) {
    int left = (int)(s->end - s->next < 24 ? s->end - s->next : 24);
    return fail("%s: expected %s, found `%.*s`", where, what, left, s->next);
}

static status add_piece(bpe *m, piece_names *names, const char *piece, int32_t id, const char *where) {
    size_t bytes = strlen(piece);
    if (bytes > MOST_PIECE_BYTES)
        return fail("%s: expected pieces of at most %d bytes, found one of %zu (%.40s…)", where, MOST_PIECE_BYTES,
                    bytes, piece);
    if (!string_map_add(&m->pieces, piece, bytes, id))
        return fail("%s: expected every piece once in model.vocab, found `%.40s` again", where, piece);
    if (bytes > m->longest) m->longest = bytes;
    if (id < names->size && names->list[id])
        return fail("%s: expected every id once in model.vocab, found %d for `%.40s` and `%.40s`", where, (int)id,
                    names->list[id], piece);
    if (!piece_names_set(names, id, piece))
        return fail("%s: expected ids without many holes in model.vocab, found %d for `%.40s`", where, (int)id, piece);
    return STATUS_OK;
}

/* {piece: id}; text has room for any string of the file. */
static status read_object(json_scan s, bpe *m, piece_names *names, char *text, const char *where) {
    if (!json_scan_take(&s, '{')) return malformed(where, "model.vocab to be an object", &s);
    if (json_scan_take(&s, '}')) return STATUS_OK;
    do {
        uint64_t id;
        if (!json_scan_string(&s, text) || !json_scan_take(&s, ':'))
            return malformed(where, "a piece in model.vocab", &s);
        if (!json_scan_size(&s, &id) || id >= MOST_PIECES)
            return malformed(where, "an id below 2^24 in model.vocab", &s);
        TRY(add_piece(m, names, text, (int32_t)id, where));
    } while (json_scan_take(&s, ','));
    return STATUS_OK;
}

/* A whole or broken number of JSON, as it stands. */
static bool scan_number(json_scan *s, float *value) {
    char text[40];
    json_scan_peek(s);
    const char *begin = s->next;
    if (!json_scan_skip(s) || (size_t)(s->next - begin) >= sizeof text) return false;
    memcpy(text, begin, (size_t)(s->next - begin));
    text[s->next - begin] = '\0';
    char *end;
    *value = strtof(text, &end);
    return *end == '\0' && end != text && isfinite(*value);
}

/* Ranks in the order of scores: equal scores have equal ranks. */
static uint32_t rank_of(float score) {
    uint32_t bits;
    score += 0.0f; /* −0 is 0 */
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~bits ^ 0x80000000u;
}

/* [[piece, score], …] by id. */
static status read_scored(json_scan s, bpe *m, piece_names *names, char *text, const char *where) {
    size_t capacity = 0;
    if (!json_scan_take(&s, '[')) return malformed(where, "model.vocab to be a list", &s);
    if (json_scan_take(&s, ']')) return STATUS_OK;
    for (int32_t id = 0;; id++) {
        float score;
        if (!json_scan_take(&s, '[') || !json_scan_string(&s, text) || !json_scan_take(&s, ',') ||
            !scan_number(&s, &score) || !json_scan_take(&s, ']'))
            return malformed(where, "[piece, score] in model.vocab", &s);
        TRY(add_piece(m, names, text, id, where));
        if ((size_t)id >= capacity) m->ranks = xrealloc(m->ranks, (capacity = 2 * capacity + 1024) * sizeof *m->ranks);
        m->ranks[id] = rank_of(score);
        if (!json_scan_take(&s, ',')) break;
    }
    return STATUS_OK;
}

/* ---- merges ---- */

static status piece_of(const bpe *m, const char *piece, size_t bytes, int32_t *id, const char *where) {
    *id = string_map_find(&m->pieces, piece, bytes);
    if (*id >= 0) return STATUS_OK;
    return fail("%s: expected model.merges to name pieces of model.vocab, found `%.*s`", where,
                (int)(bytes < 60 ? bytes : 60), piece);
}

/* `text` holds both, the second at `at`. */
static status add_merge(bpe *m, char *text, size_t left, size_t at, uint32_t rank, const char *where) {
    int32_t a, b, merged;
    size_t right = strlen(text + at), skipped = m->prefix ? strlen(m->prefix) : 0;
    TRY(piece_of(m, text, left, &a, where));
    TRY(piece_of(m, text + at, right, &b, where));
    if (skipped && strncmp(text + at, m->prefix, skipped) != 0) skipped = 0;
    memmove(text + left, text + at + skipped, right - skipped + 1);
    TRY(piece_of(m, text, left + right - skipped, &merged, where));
    bpe_add_pair(m, a, b, rank, merged);
    return STATUS_OK;
}

/* "left right" or ["left", "right"] */
static bool scan_merge(json_scan *s, char *text, size_t *left, size_t *at) {
    if (json_scan_peek(s) == '"') {
        if (!json_scan_string(s, text)) return false;
        char *space = strchr(text, ' ');
        if (!space || strchr(space + 1, ' ')) return false;
        *left = (size_t)(space - text);
        *at = *left + 1;
        return true;
    }
    if (!json_scan_take(s, '[') || !json_scan_string(s, text)) return false;
    *left = strlen(text);
    *at = *left + 1;
    return json_scan_take(s, ',') && json_scan_string(s, text + *at) && json_scan_take(s, ']');
}

static status read_merges(json_scan s, bpe *m, char *text, const char *where) {
    if (!json_scan_take(&s, '[')) return malformed(where, "model.merges to be a list", &s);
    if (json_scan_take(&s, ']')) return STATUS_OK;
    uint32_t rank = 0;
    do {
        size_t left, at;
        if (!scan_merge(&s, text, &left, &at)) return malformed(where, "a pair of pieces in model.merges", &s);
        TRY(add_merge(m, text, left, at, rank++, where));
    } while (json_scan_take(&s, ','));
    return STATUS_OK;
}

/* ---- the whole ---- */

/* Tokens of single bytes: "<0x0A>"; SentencePiece's may be the byte itself. */
static void find_bytes(bpe *m) {
    for (int byte = 0; byte < 256; byte++) {
        char name[8], itself = (char)byte;
        snprintf(name, sizeof name, "<0x%02X>", byte);
        m->bytes[byte] = string_map_find(&m->pieces, name, 6);
        if (m->bytes[byte] < 0 && m->ranks) m->bytes[byte] = string_map_find(&m->pieces, &itself, 1);
    }
}

static status find_unknown(bpe *m, const json_field *field, const char *where) {
    char *name;
    m->unknown = -1;
    TRY(json_field_string(field, &name, where));
    if (!name) return STATUS_OK;
    m->unknown = string_map_find(&m->pieces, name, strlen(name));
    status s =
        m->unknown < 0 ? fail("%s: expected model.unk_token among the pieces, found `%.40s`", where, name) : STATUS_OK;
    free(name);
    return s;
}

static status check_holes(const piece_names *names, const char *where) {
    if (names->count == 0) return fail("%s: expected pieces in model.vocab, found none", where);
    if (names->size - names->count > names->count + HOLES)
        return fail("%s: expected ids without many holes in model.vocab, found %d pieces with ids up to %d", where,
                    (int)names->count, (int)names->size - 1);
    return STATUS_OK;
}

/* Empty ones are as good as none. */
static status read_affix(const json_field *field, char **affix, const char *where) {
    TRY(json_field_string(field, affix, where));
    if (*affix && **affix == '\0') {
        free(*affix);
        *affix = NULL;
    }
    return STATUS_OK;
}

enum { TYPE, VOCAB, MERGES, UNKNOWN, PREFIX, SUFFIX, FUSE, FALLBACK, IGNORE, DROPOUT, FIELDS };

static status read_options(const json_field *f, bpe *m, const char *where) {
    TRY(read_affix(&f[PREFIX], &m->prefix, where));
    TRY(read_affix(&f[SUFFIX], &m->suffix, where));
    TRY(json_field_bool(&f[FUSE], &m->fuse_unknown, where));
    TRY(json_field_bool(&f[FALLBACK], &m->byte_fallback, where));
    TRY(json_field_bool(&f[IGNORE], &m->ignore_merges, where));
    float dropout = 0;
    json_scan number = f[DROPOUT].value;
    if (!json_is_absent(&f[DROPOUT]) && (!scan_number(&number, &dropout) || dropout != 0))
        return fail("%s: expected model.dropout to be null or 0, found %s", where, json_show(f[DROPOUT].value).text);
    return STATUS_OK;
}

/* What a file of an older make leaves out: only BPE has merges. */
static status check_type(const json_field *f, bool *scored, const char *where) {
    char *type;
    TRY(json_field_string(&f[TYPE], &type, where));
    *scored = type && strcmp(type, "SPM") == 0;
    bool fine = *scored || (type ? strcmp(type, "BPE") == 0 : f[MERGES].value.next != NULL);
    status s = fine ? STATUS_OK
                    : fail("%s: expected a model of type BPE, found %.40s, which moec does not support", where,
                           type ? type : "none");
    free(type);
    return s;
}

status read_model(json_scan json, bpe *m, piece_names *names, const char *where) {
    json_field f[FIELDS] = {{.key = "type"},
                            {.key = "vocab"},
                            {.key = "merges"},
                            {.key = "unk_token"},
                            {.key = "continuing_subword_prefix"},
                            {.key = "end_of_word_suffix"},
                            {.key = "fuse_unk"},
                            {.key = "byte_fallback"},
                            {.key = "ignore_merges"},
                            {.key = "dropout"}};
    bool scored;
    TRY(json_fields(json, f, FIELDS, where, "model"));
    TRY(check_type(f, &scored, where));
    if (!f[VOCAB].value.next || (!scored && !f[MERGES].value.next))
        return fail("%s: expected vocab and merges in model, found no %s", where,
                    f[VOCAB].value.next ? "merges" : "vocab");
    TRY(read_options(f, m, where));
    char *text = xmalloc((size_t)(json.end - json.next) + 2);
    status s = scored ? read_scored(f[VOCAB].value, m, names, text, where)
                      : read_object(f[VOCAB].value, m, names, text, where);
    if (s == STATUS_OK) s = check_holes(names, where);
    if (s == STATUS_OK && !scored) s = read_merges(f[MERGES].value, m, text, where);
    free(text);
    TRY(s);
    find_bytes(m);
    return find_unknown(m, &f[UNKNOWN], where);
}
