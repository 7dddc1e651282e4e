#include "text/bpe.h"

#include "base/memory.h"
#include "text/text_buffer.h"
#include "text/utf8.h"
#include <stdio.h>

/* ---- pairs ---- */

static pair_slot *slot_of(const bpe *m, uint64_t pair) {
    /* A key that no file knows (string_map.h): ids are the file's to choose, and could all fall into one place. */
    const unsigned __int128 product = (unsigned __int128)(pair ^ m->pair_key) * 0xE7037ED1A0B428DBu;
    size_t i = (size_t)((uint64_t)product ^ (uint64_t)(product >> 64)) & m->pair_mask;
    while (m->pairs[i].pair != BPE_NO_PAIR && m->pairs[i].pair != pair) i = (i + 1) & m->pair_mask;
    return &m->pairs[i];
}

static void grow_pairs(bpe *m) {
    bpe old = *m;
    size_t slots = old.pairs ? 2 * (old.pair_mask + 1) : 64;
    m->pairs = xmalloc(slots * sizeof *m->pairs);
    if (!old.pairs) m->pair_key = hash_bytes("pairs", 5);
    m->pair_mask = slots - 1;
    for (size_t i = 0; i < slots; i++) m->pairs[i].pair = BPE_NO_PAIR;
    for (size_t i = 0; old.pairs && i <= old.pair_mask; i++)
        if (old.pairs[i].pair != BPE_NO_PAIR) *slot_of(m, old.pairs[i].pair) = old.pairs[i];
    free(old.pairs);
}

static uint64_t pair_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

void bpe_add_pair(bpe *m, int32_t left, int32_t right, uint32_t rank, int32_t merged) {
    if (!m->pairs || 2 * m->pair_count > m->pair_mask) grow_pairs(m);
    pair_slot *s = slot_of(m, pair_of(left, right));
    m->pair_count += s->pair == BPE_NO_PAIR;
    *s = (pair_slot){.pair = pair_of(left, right), .rank = rank, .merged = merged};
}

void bpe_free(bpe *m) {
    string_map_free(&m->pieces);
    free(m->pairs);
    free(m->ranks);
    free(m->prefix);
    free(m->suffix);
}

/* ---- a word as it is being merged ---- */

typedef struct symbol {
    int32_t id; /* −1: no piece */
    int32_t previous, next;
    uint32_t at, bytes; /* in the word; 0 bytes: merged into the one before */
} symbol;

typedef struct candidate {
    uint32_t rank;
    int32_t left; /* a symbol, which merges with its next */
    int32_t merged;
    uint32_t bytes; /* of both */
} candidate;

enum { REMEMBERED = 1 << 13, WORD_BYTES = 40, WORD_IDS = 10 };

typedef struct remembered {
    uint64_t hash;
    uint8_t bytes, ids; /* bytes 0: nothing */
    char word[WORD_BYTES];
    int32_t id[WORD_IDS];
} remembered;

struct bpe_work {
    symbol *symbols;
    size_t symbol_count, symbol_capacity;
    candidate *queue; /* a heap, the first to merge on top */
    size_t queue_count, queue_capacity;
    int32_t *ids;
    size_t count, capacity;
    remembered *words; /* [REMEMBERED], by hash; NULL: none */
    text_buffer scratch;
};

bpe_work *bpe_work_create(bool remember) {
    bpe_work *w = xcalloc(1, sizeof *w);
    if (remember) w->words = xcalloc(REMEMBERED, sizeof *w->words);
    return w;
}

int32_t *bpe_work_finish(bpe_work *w, size_t *count) {
    int32_t *ids = w->ids ? w->ids : xmalloc(sizeof *ids);
    *count = w->count;
    w->ids = NULL;
    bpe_work_free(w);
    return ids;
}

void bpe_work_free(bpe_work *w) {
    free(w->symbols);
    free(w->queue);
    free(w->ids);
    free(w->words);
    text_free(&w->scratch);
    free(w);
}

void bpe_append(bpe_work *w, int32_t id) {
    if (w->count == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 64;
        w->ids = xrealloc(w->ids, w->capacity * sizeof *w->ids);
    }
    w->ids[w->count++] = id;
}

/* ---- the queue ---- */

static bool goes_first(candidate a, candidate b) {
    return a.rank < b.rank || (a.rank == b.rank && a.left < b.left);
}

static void push(bpe_work *w, candidate c) {
    if (w->queue_count == w->queue_capacity) {
        w->queue_capacity = w->queue_capacity ? 2 * w->queue_capacity : 64;
        w->queue = xrealloc(w->queue, w->queue_capacity * sizeof *w->queue);
    }
    size_t i = w->queue_count++;
    for (; i > 0 && goes_first(c, w->queue[(i - 1) / 2]); i = (i - 1) / 2) w->queue[i] = w->queue[(i - 1) / 2];
    w->queue[i] = c;
}

static candidate pop(bpe_work *w) {
    candidate top = w->queue[0], last = w->queue[--w->queue_count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < w->queue_count) {
        if (child + 1 < w->queue_count && goes_first(w->queue[child + 1], w->queue[child])) child++;
        if (!goes_first(w->queue[child], last)) break;
        w->queue[i] = w->queue[child];
        i = child;
    }
    w->queue[i] = last;
    return top;
}

/* ---- merging ---- */

/* Whether the symbol merges with its next, and how. */
static bool candidate_of(const bpe *m, const bpe_work *w, const char *word, int32_t left, candidate *c) {
    const symbol *a = &w->symbols[left], *b = a->next < 0 ? NULL : &w->symbols[a->next];
    if (!b) return false;
    *c = (candidate){.left = left, .bytes = a->bytes + b->bytes};
    if (m->ranks) {
        c->merged = c->bytes <= m->longest ? string_map_find(&m->pieces, word + a->at, c->bytes) : -1;
        c->rank = c->merged < 0 ? 0 : m->ranks[c->merged];
        return c->merged >= 0;
    }
    const pair_slot *s = m->pairs ? slot_of(m, pair_of(a->id, b->id)) : NULL;
    if (!s || s->pair == BPE_NO_PAIR) return false;
    c->rank = s->rank;
    c->merged = s->merged;
    return true;
}

static void offer(const bpe *m, bpe_work *w, const char *word, int32_t left) {
    candidate c;
    if (left >= 0 && candidate_of(m, w, word, left, &c)) push(w, c);
}

static void merge(bpe_work *w, candidate c) {
    symbol *left = &w->symbols[c.left], *right = &w->symbols[left->next];
    left->id = c.merged;
    left->bytes += right->bytes;
    left->next = right->next;
    right->bytes = 0;
    if (left->next >= 0) w->symbols[left->next].previous = c.left;
}

static void merge_all(const bpe *m, bpe_work *w, const char *word) {
    w->queue_count = 0;
    for (size_t i = 0; i + 1 < w->symbol_count; i++) offer(m, w, word, (int32_t)i);
    while (w->queue_count > 0) {
        candidate c = pop(w), now;
        if (w->symbols[c.left].bytes == 0) continue;
        /* What it was when it was offered may be gone. */
        if (!candidate_of(m, w, word, c.left, &now) || now.merged != c.merged) continue;
        merge(w, c);
        offer(m, w, word, w->symbols[c.left].previous);
        offer(m, w, word, c.left);
    }
}

/* ---- a word's characters ---- */

static void add_symbol(bpe_work *w, int32_t id, size_t at, size_t bytes) {
    if (w->symbol_count == w->symbol_capacity) {
        w->symbol_capacity = w->symbol_capacity ? 2 * w->symbol_capacity : 64;
        w->symbols = xrealloc(w->symbols, w->symbol_capacity * sizeof *w->symbols);
    }
    int32_t i = (int32_t)w->symbol_count++;
    if (i > 0) w->symbols[i - 1].next = i;
    w->symbols[i] = (symbol){.id = id, .previous = i - 1, .next = -1, .at = (uint32_t)at, .bytes = (uint32_t)bytes};
}

/* The character as the vocabulary writes it at this place of a word. */
static int32_t find_character(const bpe *m, bpe_work *w, const char *word, size_t at, size_t bytes, bool last) {
    bool prefixed = m->prefix && at > 0, suffixed = m->suffix && last;
    if (!prefixed && !suffixed) return string_map_find(&m->pieces, word + at, bytes);
    w->scratch.bytes = 0;
    if (prefixed) text_append_string(&w->scratch, m->prefix);
    text_append(&w->scratch, word + at, bytes);
    if (suffixed) text_append_string(&w->scratch, m->suffix);
    return string_map_find(&m->pieces, w->scratch.text, w->scratch.bytes);
}

static bool all_bytes_are_tokens(const bpe *m, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (m->bytes[(unsigned char)text[i]] < 0) return false;
    return true;
}

static void split_characters(const bpe *m, bpe_work *w, const char *word, size_t bytes) {
    bool after_unknown = false;
    w->symbol_count = 0;
    for (size_t at = 0, length; at < bytes; at += length) {
        int whole = utf8_character(word + at, bytes - at);
        length = whole > 0 ? (size_t)whole : 1;
        int32_t id = find_character(m, w, word, at, length, at + length == bytes);
        if (id >= 0 || m->ranks) { /* by scores a character may be part of a piece without being one */
            add_symbol(w, id, at, length);
            after_unknown = false;
        } else if (m->byte_fallback && all_bytes_are_tokens(m, word + at, length)) {
            for (size_t i = 0; i < length; i++) add_symbol(w, m->bytes[(unsigned char)word[at + i]], at + i, 1);
            after_unknown = false;
        } else if (m->unknown >= 0 && after_unknown && m->fuse_unknown) {
            w->symbols[w->symbol_count - 1].bytes += (uint32_t)length;
        } else if (m->unknown >= 0) {
            add_symbol(w, m->unknown, at, length);
            after_unknown = true;
        }
    }
}

static void append_symbol(const bpe *m, bpe_work *w, const char *word, const symbol *s) {
    if (s->id >= 0) {
        bpe_append(w, s->id);
    } else if (m->byte_fallback && all_bytes_are_tokens(m, word + s->at, s->bytes)) {
        for (size_t i = 0; i < s->bytes; i++) bpe_append(w, m->bytes[(unsigned char)word[s->at + i]]);
    } else if (m->unknown >= 0) {
        bpe_append(w, m->unknown);
    }
}

static void encode(const bpe *m, bpe_work *w, const char *word, size_t bytes) {
    int32_t whole = m->ignore_merges ? string_map_find(&m->pieces, word, bytes) : -1;
    if (whole >= 0) {
        bpe_append(w, whole);
        return;
    }
    split_characters(m, w, word, bytes);
    merge_all(m, w, word);
    for (size_t i = 0; i < w->symbol_count; i++)
        if (w->symbols[i].bytes > 0) append_symbol(m, w, word, &w->symbols[i]);
}

void bpe_encode_word(const bpe *m, bpe_work *w, const char *word, size_t bytes) {
    if (bytes == 0) return;
    if (!w->words || bytes > WORD_BYTES) {
        encode(m, w, word, bytes);
        return;
    }
    uint64_t hash = hash_bytes(word, bytes);
    remembered *r = &w->words[hash % REMEMBERED];
    if (r->hash == hash && r->bytes == bytes && memcmp(r->word, word, bytes) == 0) {
        for (int i = 0; i < r->ids; i++) bpe_append(w, r->id[i]);
        return;
    }
    size_t before = w->count;
    encode(m, w, word, bytes);
    if (w->count - before > WORD_IDS) return;
    *r = (remembered){.hash = hash, .bytes = (uint8_t)bytes, .ids = (uint8_t)(w->count - before)};
    memcpy(r->word, word, bytes);
    for (size_t i = before; i < w->count; i++) r->id[i - before] = w->ids[i];
}
