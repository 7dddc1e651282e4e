#include "generate/drafts.h"

#include "base/memory.h"
#include "generate/draft_model.h"
#include "generate/lookup.h"
#include <stdlib.h>
#include <string.h>

enum { FIRST_LENGTH = 4, LONGEST_REST = 15 };

/* Of one text: how many tokens are proposed next, and for how many passes nothing is. */
typedef struct pace {
    int length, rest;
    int next_rest; /* where the next proposal is wrong, too */
} pace;

struct drafts {
    draft_source from;
    draft_model *small;
    pace *paces;    /* [sequences] */
    int32_t *whole; /* [capacity + 1]: a text with its newest token */
    draft_figures figures;
};

status drafts_create(drafts **out, const draft_source *from, int vocab, int64_t sequences, int64_t capacity) {
    *out = NULL;
    if (!draft_source_is(from)) return STATUS_OK;
    drafts *d = xcalloc(1, sizeof *d);
    d->from = *from;
    d->paces = xcalloc((size_t)sequences, sizeof *d->paces);
    d->whole = xmalloc((size_t)(capacity + 1) * sizeof *d->whole);
    for (int64_t i = 0; i < sequences; i++) drafts_begin(d, i);
    const status s = from->small ? draft_model_create(&d->small, from->small, vocab, sequences, capacity) : STATUS_OK;
    if (s == STATUS_OK)
        *out = d;
    else
        drafts_free(d);
    return s;
}

void drafts_free(drafts *d) {
    if (!d) return;
    draft_model_free(d->small);
    free(d->paces);
    free(d->whole);
    free(d);
}

void drafts_begin(drafts *d, int64_t sequence) {
    if (d) d->paces[sequence] = (pace){.length = FIRST_LENGTH, .next_rest = 1};
}

/* ---- proposing ---- */

static void look_up(drafts *d, draft_text *t) {
    memcpy(d->whole, t->read, (size_t)t->count * sizeof *d->whole);
    d->whole[t->count] = t->tokens[0];
    t->proposed = t->most > 0 ? draft_lookup(d->whole, t->count + 1, t->tokens + 1, t->most) : 0;
}

status drafts_propose(drafts *d, draft_text *texts, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        draft_text *t = &texts[i];
        t->proposed = 0;
        if (!d) continue;
        pace *p = &d->paces[t->sequence];
        if (p->rest > 0)
            t->most = 0, p->rest--;
        else if (t->most > p->length)
            t->most = p->length;
        if (!d->small) look_up(d, t);
    }
    return d && d->small ? draft_model_propose(d->small, texts, count) : STATUS_OK;
}

/* ---- learning ---- */

void drafts_learn(drafts *d, const draft_text *t, int64_t accepted) {
    if (!d || t->proposed == 0) return;
    pace *p = &d->paces[t->sequence];
    d->figures.proposed += t->proposed;
    d->figures.accepted += accepted;
    if (accepted == 0) {
        p->length = 1;
        p->rest = p->next_rest;
        p->next_rest = 2 * p->rest + 1 < LONGEST_REST ? 2 * p->rest + 1 : LONGEST_REST;
        return;
    }
    p->next_rest = 1;
    if (accepted < t->proposed)
        p->length = (int)accepted;
    else if (2 * t->proposed > p->length) /* fewer than were asked for say nothing of more */
        p->length = 2 * t->proposed < DRAFT_MOST ? 2 * t->proposed : DRAFT_MOST;
}

draft_figures drafts_read(const drafts *d) {
    return d ? d->figures : (draft_figures){0};
}
