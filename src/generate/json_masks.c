#include "generate/json_masks.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

enum { REMEMBERED = 64 }; /* states: a few kB each */

typedef struct remembered {
    json_grammar state;
    uint64_t asked; /* when it was last wanted; 0: never */
    uint64_t *bits;
} remembered;

struct json_masks {
    token_table *table;
    int words;            /* of a mask */
    uint64_t now;         /* counts the calls */
    json_grammar *behind; /* [longest + 1]: states behind the first bytes of a token */
    remembered known[REMEMBERED];
};

json_masks *json_masks_create(const tokenizer *t, int vocab) {
    json_masks *m = xcalloc(1, sizeof *m);
    m->table = token_table_create(t, vocab);
    m->words = (vocab + 63) / 64;
    m->behind = xmalloc((size_t)(m->table->longest + 1) * sizeof *m->behind);
    return m;
}

void json_masks_free(json_masks *m) {
    if (!m) return;
    for (int i = 0; i < REMEMBERED; i++) free(m->known[i].bits);
    free(m->behind);
    token_table_free(m->table);
    free(m);
}

/* Tokens in the order of their bytes: what one shares with the one before is not walked again, and where that failed within
 * what they share, so does this one. */
static void fill(json_masks *m, const json_grammar *g, uint64_t *bits) {
    int good = 0; /* bytes of the token before that were accepted */
    memset(bits, 0, (size_t)m->words * sizeof *bits);
    m->behind[0] = *g;
    for (int i = 0; i < m->table->count; i++) {
        const table_token *t = &m->table->tokens[i];
        if (t->shared > good) continue; /* `good` stands: the same byte was refused */
        int at = t->shared;
        for (; at < t->bytes; at++) {
            m->behind[at + 1] = m->behind[at];
            if (!json_grammar_step(&m->behind[at + 1], (uint8_t)t->text[at])) break;
        }
        good = at;
        if (at == t->bytes) bits[t->id / 64] |= 1ull << t->id % 64;
    }
}

const uint64_t *json_masks_of(json_masks *m, const json_grammar *g) {
    remembered *oldest = &m->known[0];
    m->now++;
    for (int i = 0; i < REMEMBERED; i++) {
        remembered *one = &m->known[i];
        if (one->asked > 0 && memcmp(&one->state, g, sizeof *g) == 0) {
            one->asked = m->now;
            return one->bits;
        }
        if (one->asked < oldest->asked) oldest = one;
    }
    if (!oldest->bits) oldest->bits = xmalloc((size_t)m->words * sizeof *oldest->bits);
    fill(m, g, oldest->bits);
    oldest->state = *g;
    oldest->asked = m->now;
    return oldest->bits;
}

bool json_masks_step(const json_masks *m, json_grammar *g, int32_t id) {
    const int place = id >= 0 && id < m->table->vocab ? m->table->place[id] : -1;
    if (place < 0) return false;
    const table_token *t = &m->table->tokens[place];
    json_grammar after = *g;
    for (int i = 0; i < t->bytes; i++)
        if (!json_grammar_step(&after, (uint8_t)t->text[i])) return false;
    *g = after;
    return true;
}
