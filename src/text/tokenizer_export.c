/* As the arrays of a GGUF file. */
#include "text/tokenizer_export.h"

#include "text/bpe_tokenizer.h"
#include "text/sentencepiece.h"
#include "text/sentencepiece_facts.h"
#include "text/utf8.h"
#include "text/word_patterns.h"
#include <stdio.h>

void exported_tokenizer_free(exported_tokenizer *e) {
    free(e->tokens);
    free(e->merges);
    free(e->scores);
    free(e->types);
    text_free(&e->names);
    text_free(&e->pairs);
    *e = (exported_tokenizer){0};
}

static const char *piece_of(const tokenizer *t, int32_t id) {
    return t->strings + t->tokens[id].piece;
}

/* −1: none has this name. */
static int id_of(const tokenizer *t, const char *piece) {
    for (int32_t id = 0; piece && id < t->size; id++)
        if (strcmp(piece_of(t, id), piece) == 0) return id;
    return -1;
}

/* ---- which tokens begin and end texts ---- */

void tokenizer_export_ids(const tokenizer *t, int *bos, int *eos) {
    *bos = t->bos_text ? id_of(t, t->bos_text) : t->bos;
    *eos = t->eos_text ? id_of(t, t->eos_text) : t->end_count > 0 ? t->ends[0] : t->bos;
    if (*eos >= t->size) *eos = -1;
}

static void set_ids(const tokenizer *t, tokenizer_source *s) {
    int bos, eos;
    tokenizer_export_ids(t, &bos, &eos);
    s->bos = bos;
    s->eos = eos;
    s->adds_bos = tokenizer_adds_bos(t) ? SOURCE_YES : SOURCE_NO;
    s->chat_template = t->chat_template;
    int64_t *others[] = {&s->eot, &s->eom};
    for (int i = 0, taken = 0; i < t->end_count && taken < 2; i++)
        if (t->ends[i] != s->eos && t->ends[i] != t->bos && t->ends[i] < t->size) *others[taken++] = t->ends[i];
}

/* ---- tokens of a tokenizer.json ---- */

/* Holes have no names of their own: each gets one, as Hugging Face's converters call them. */
static void set_tokens(const tokenizer *t, const bpe_tokenizer *b, exported_tokenizer *e) {
    const added_tokens *lists[] = {&b->raw, &b->normalized};
    const bpe *m = &b->model;
    e->tokens = xmalloc((size_t)t->size * sizeof *e->tokens);
    e->types = xmalloc((size_t)t->size * sizeof *e->types);
    for (int32_t id = 0; id < t->size; id++) {
        const char *piece = piece_of(t, id);
        e->tokens[id] = (source_string){piece, strlen(piece)};
        e->types[id] = string_map_find(&m->pieces, piece, strlen(piece)) == id ? SOURCE_NORMAL : SOURCE_UNUSED;
    }
    for (int byte = 0; byte < 256 && m->byte_fallback; byte++)
        if (m->bytes[byte] >= 0) e->types[m->bytes[byte]] = SOURCE_BYTE;
    for (int i = 0; i < 2; i++)
        for (size_t j = 0; j < lists[i]->count; j++)
            e->types[lists[i]->list[j].id] = lists[i]->list[j].special ? SOURCE_CONTROL : SOURCE_USER_DEFINED;
    if (m->unknown >= 0) e->types[m->unknown] = SOURCE_UNKNOWN;
    size_t *at = xmalloc((size_t)t->size * sizeof *at);
    for (int32_t id = 0; id < t->size; id++) {
        char name[24];
        at[id] = e->names.bytes;
        if (e->types[id] == SOURCE_UNUSED)
            text_append(&e->names, name, (size_t)snprintf(name, sizeof name, "[PAD%d]", (int)id));
    }
    for (int32_t id = 0; id < t->size; id++)
        if (e->types[id] == SOURCE_UNUSED)
            e->tokens[id] =
                (source_string){e->names.text + at[id], (id + 1 < t->size ? at[id + 1] : e->names.bytes) - at[id]};
    free(at);
    e->source.tokens = e->tokens;
    e->source.types = e->types;
    e->source.count = (size_t)t->size;
    e->source.unknown = m->unknown;
}

/* ---- merges ---- */

static int by_rank(const void *a, const void *b) {
    const pair_slot *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* All pairs, the first to merge first; free() it. */
static pair_slot *sorted_pairs(const bpe *m) {
    pair_slot *list = xmalloc((m->pair_count + 1) * sizeof *list);
    size_t count = 0;
    for (size_t i = 0; m->pairs && i <= m->pair_mask; i++)
        if (m->pairs[i].pair != BPE_NO_PAIR) list[count++] = m->pairs[i];
    qsort(list, count, sizeof *list, by_rank);
    return list;
}

static void set_merges(const tokenizer *t, const bpe *m, exported_tokenizer *e) {
    pair_slot *pairs = sorted_pairs(m);
    size_t *ends = xmalloc((m->pair_count + 1) * sizeof *ends), begin = 0;
    for (size_t i = 0; i < m->pair_count; i++) {
        text_append_string(&e->pairs, piece_of(t, (int32_t)(pairs[i].pair >> 32)));
        text_append_string(&e->pairs, " ");
        text_append_string(&e->pairs, piece_of(t, (int32_t)pairs[i].pair));
        ends[i] = e->pairs.bytes;
    }
    e->merges = xmalloc((m->pair_count + 1) * sizeof *e->merges);
    for (size_t i = 0; i < m->pair_count; begin = ends[i++])
        e->merges[i] = (source_string){e->pairs.text + begin, ends[i] - begin};
    e->source.merges = e->merges;
    e->source.merge_count = m->pair_count;
    free(ends);
    free(pairs);
}

/* ---- byte-level vocabularies ---- */

static const char *words_name(const bpe_tokenizer *b) {
    const char *expressions[PRE_TOKENIZER_STEPS];
    const int count = b->words.count - 1; /* the last makes characters of bytes */
    for (int i = 0; i < count; i++) {
        const split_step *step = &b->words.steps[i];
        if (step->kind != STEP_SPLIT || step->behavior != SPLIT_ISOLATED || step->inverted) return NULL;
        expressions[i] = regex_pattern(step->pattern);
    }
    return word_patterns_name(expressions, count, b->model.ignore_merges);
}

static status export_byte_level(const tokenizer *t, const bpe_tokenizer *b, exported_tokenizer *e) {
    const normalizer *n = &b->normal;
    if (n->count > 1 || (n->count == 1 && n->steps[0].kind != NORMAL_NFC))
        return fail("tokenizer: expected no normalizer but NFC for a GGUF file, found another");
    e->source.model = "gpt2";
    e->source.pre = words_name(b);
    if (!e->source.pre)
        return fail(
            "tokenizer: expected a pre_tokenizer that tokenizer.ggml.pre of a GGUF file has a name for, found another");
    set_tokens(t, b, e);
    set_merges(t, &b->model, e);
    return STATUS_OK;
}

/* ---- vocabularies with scores ---- */

static float score_of(uint32_t rank) {
    uint32_t bits = rank >> 31 ? rank : ~(rank ^ 0x80000000u);
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

/* A list of pairs says the same as scores if it has every two pieces that spell a third, and all of one spelling together. Pieces that
 * no two spell get scores behind all others. */
static status score_pairs(const tokenizer *t, const bpe *m, exported_tokenizer *e) {
    pair_slot *pairs = sorted_pairs(m);
    status s = STATUS_OK;
    size_t spelt = 0;
    for (int32_t id = 0; id < t->size; id++) e->scores[id] = -(float)m->pair_count - (float)id;
    bool *seen = xcalloc((size_t)t->size, sizeof *seen);
    for (size_t i = 0; i < m->pair_count; i++) {
        const int32_t merged = pairs[i].merged;
        const bool again = i > 0 && pairs[i - 1].merged == merged;
        if (seen[merged] && !again)
            s = fail(
                "tokenizer: expected the merges of each piece one after another for a GGUF file, which has scores, "
                "found `%.40s` again",
                piece_of(t, merged));
        if (!seen[merged]) e->scores[merged] = -(float)i;
        seen[merged] = true;
    }
    free(seen);
    free(pairs);
    for (int32_t id = 0; id < t->size; id++) {
        const char *piece = piece_of(t, id);
        const size_t bytes = strlen(piece);
        for (size_t at = 1; at < bytes && e->types[id] == SOURCE_NORMAL; at++)
            spelt +=
                string_map_find(&m->pieces, piece, at) >= 0 && string_map_find(&m->pieces, piece + at, bytes - at) >= 0;
    }
    if (s == STATUS_OK && spelt > m->pair_count)
        s = fail("tokenizer: expected merges of all pieces that spell another for a GGUF file, which has scores, found "
                 "%zu of %zu",
                 m->pair_count, spelt);
    return s;
}

#define SPACE_MARK "\xE2\x96\x81" /* ▁ */

static bool is_mark(const char *text) {
    return text && strcmp(text, SPACE_MARK) == 0;
}

static bool marks_spaces(const normal_step *n) {
    return n->kind == NORMAL_REPLACE && strcmp(regex_pattern(n->pattern), " ") == 0 && is_mark(n->content);
}

/* Spaces become "▁", and perhaps one is put in front; by a normalizer or by a pre_tokenizer. A GGUF file says no more than that. */
static status read_spaces(const bpe_tokenizer *b, tokenizer_source *s, bool *marked) {
    *marked = false;
    s->adds_space = SOURCE_NO;
    for (int i = 0; i < b->normal.count; i++) {
        const normal_step *n = &b->normal.steps[i];
        const bool prepends = n->kind == NORMAL_PREPEND && is_mark(n->content);
        if (prepends) s->adds_space = SOURCE_YES;
        if (!prepends && !marks_spaces(n))
            return fail(
                "tokenizer: expected no normalizer but Prepend of \"▁\" and Replace of spaces by it for a GGUF file "
                "with scores, found another");
        *marked |= marks_spaces(n);
    }
    for (int i = 0; i < b->words.count; i++) {
        const split_step *w = &b->words.steps[i];
        if (w->kind == STEP_PREFIX) s->adds_space = SOURCE_YES;
        if ((w->kind != STEP_PREFIX && w->kind != STEP_SPACES) || !is_mark(w->string))
            return fail(
                "tokenizer: expected no pre_tokenizer but Metaspace without split, writing \"▁\", for a GGUF file "
                "with scores, found another");
        *marked |= w->kind == STEP_SPACES;
    }
    return STATUS_OK;
}

static status export_scored(const tokenizer *t, const bpe_tokenizer *b, exported_tokenizer *e) {
    e->source.model = "llama";
    bool marked;
    TRY(read_spaces(b, &e->source, &marked));
    if (b->model.ignore_merges)
        return fail("tokenizer: expected one without ignore_merges for a GGUF file with scores, found one with it");
    set_tokens(t, b, e);
    e->scores = xmalloc((size_t)t->size * sizeof *e->scores);
    e->source.scores = e->scores;
    if (!b->model.ranks) TRY(score_pairs(t, &b->model, e));
    for (int32_t id = 0; b->model.ranks && id < t->size; id++)
        e->scores[id] = id < (int32_t)b->model.pieces.count ? score_of(b->model.ranks[id]) : 0;
    if (marked) return STATUS_OK;
    return fail(
        "tokenizer: expected one that writes spaces as \"▁\" for a GGUF file with scores, found one that leaves them");
}

static status check_added(const tokenizer *t, const added_tokens *a) {
    for (size_t i = 0; i < a->count; i++)
        if (a->list[i].lstrip || a->list[i].rstrip || a->list[i].single_word)
            return fail(
                "tokenizer: expected added tokens without lstrip, rstrip and single_word for a GGUF file, found "
                "`%.40s`",
                piece_of(t, a->list[i].id));
    return STATUS_OK;
}

static status export_bpe(const tokenizer *t, exported_tokenizer *e) {
    const bpe_tokenizer *b = t->own;
    if (b->model.prefix || b->model.suffix)
        return fail("tokenizer: expected pieces without continuing_subword_prefix and end_of_word_suffix for a GGUF "
                    "file, found "
                    "one of them");
    TRY(check_added(t, &b->raw));
    TRY(check_added(t, &b->normalized));
    const bool bytes = b->words.count > 0 && b->words.steps[b->words.count - 1].kind == STEP_BYTES;
    return bytes ? export_byte_level(t, b, e) : export_scored(t, b, e);
}

/* ---- SentencePiece ---- */

static status check_facts(const sentencepiece_facts *f) {
    if (f->kind != SENTENCEPIECE_BPE)
        return fail("tokenizer: expected a SentencePiece model of BPE, found one of another kind, which nothing but "
                    "SentencePiece "
                    "runs");
    if (f->maps_characters || f->joins_spaces || f->spaces_are_suffixes)
        return fail("tokenizer: expected a SentencePiece model that keeps a text's characters, found one that %s",
                    f->maps_characters ? "normalises them"
                    : f->joins_spaces  ? "removes spaces (remove_extra_whitespaces)"
                                       : "puts spaces behind words");
    return STATUS_OK;
}

static bool is_character(source_string s) {
    return s.bytes > 0 && utf8_character(s.text, s.bytes) == (int)s.bytes;
}

/* Whether merging makes this symbol of characters as well: of one, or of two symbols. */
static bool is_merged(const string_map *symbols, source_string s) {
    if (is_character(s)) return true;
    for (size_t at = 1; at < s.bytes; at++)
        if (string_map_find(symbols, s.text, at) >= 0 && string_map_find(symbols, s.text + at, s.bytes - at) >= 0)
            return true;
    return false;
}

/* SentencePiece's user-defined symbols ("\n") are parts of a text, which others would cut there, with a space behind each. */
static void make_symbols_normal(sentencepiece_facts *f) {
    string_map symbols = {0};
    for (size_t id = 0; id < f->count; id++)
        if (f->types[id] == SOURCE_USER_DEFINED)
            string_map_add(&symbols, f->pieces[id].text, f->pieces[id].bytes, (int32_t)id);
    for (size_t id = 0; id < f->count; id++)
        if (f->types[id] == SOURCE_USER_DEFINED && is_merged(&symbols, f->pieces[id])) f->types[id] = SOURCE_NORMAL;
    string_map_free(&symbols);
}

static status export_sentencepiece(const tokenizer *t, exported_tokenizer *e) {
    sentencepiece_facts f;
    TRY(sentencepiece_facts_read(&f, t->serialized, t->serialized_bytes));
    status s = check_facts(&f);
    if (s == STATUS_OK && f.count != (size_t)t->size)
        s = fail("tokenizer: expected %d pieces in its SentencePiece model, found %zu", t->size, f.count);
    if (s == STATUS_OK) {
        make_symbols_normal(&f);
        e->tokens = f.pieces;
        e->scores = f.scores;
        e->types = f.types;
        f = (sentencepiece_facts){.count = f.count, .adds_space = f.adds_space};
        e->source.model = "llama";
        e->source.tokens = e->tokens;
        e->source.scores = e->scores;
        e->source.types = e->types;
        e->source.count = f.count;
        e->source.adds_space = f.adds_space ? SOURCE_YES : SOURCE_NO;
        for (size_t id = 0; id < f.count; id++)
            if (e->types[id] == SOURCE_UNKNOWN) e->source.unknown = (int64_t)id;
    }
    sentencepiece_facts_free(&f);
    return s;
}

status tokenizer_export_source(const tokenizer *t, exported_tokenizer *out) {
    *out = (exported_tokenizer){.source = tokenizer_source_empty()};
    set_ids(t, &out->source);
    const status s = t->kind == &bpe_tokenizer_kind ? export_bpe(t, out)
                     : t->kind == &sentencepiece_kind
                         ? export_sentencepiece(t, out)
                         : fail("tokenizer: expected a tokenizer that GGUF knows, found one of %s", t->kind->name);
    if (s != STATUS_OK) exported_tokenizer_free(out);
    return s;
}
