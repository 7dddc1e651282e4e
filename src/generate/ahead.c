#include "generate/ahead.h"

#include "base/memory.h"
#include <stdlib.h>

struct ahead {
    pass *p;
    kv_cache *cache;
    drafts *drafts;
    float *logits;   /* [1 + DRAFT_MOST, the model's vocabulary], or one row where nobody proposes */
    draft_text text; /* of the last pass; proposed 0: of none */
    int accepted;
    draft_figures before; /* the text's */
};

status ahead_create(ahead **out, pass *p, kv_cache *cache, int vocab, const draft_source *from) {
    const size_t rows = draft_source_is(from) ? 1 + DRAFT_MOST : 1;
    ahead *a = xcalloc(1, sizeof *a);
    *a = (ahead){.p = p, .cache = cache};
    a->logits = xmalloc(rows * (size_t)pass_model(p)->config.vocab_size * sizeof *a->logits);
    const status s = drafts_create(&a->drafts, from, vocab, 1, kv_cache_capacity(cache));
    if (s == STATUS_OK)
        *out = a;
    else
        ahead_free(a);
    return s;
}

void ahead_free(ahead *a) {
    if (!a) return;
    drafts_free(a->drafts);
    free(a->logits);
    free(a);
}

void ahead_begin(ahead *a) {
    a->text.proposed = a->accepted = 0;
    a->before = drafts_read(a->drafts);
    drafts_begin(a->drafts, 0);
}

static status read_pass(ahead *a, int32_t id, int64_t more) {
    draft_text *t = &a->text;
    const int64_t count = kv_cache_length(a->cache, 0), room = kv_cache_capacity(a->cache) - count - 1;
    if (more > room) more = room;
    *t = (draft_text){.read = kv_cache_tokens(a->cache, 0), .count = count, .tokens = {id}};
    t->most = more < DRAFT_MOST ? (int)more : DRAFT_MOST;
    a->accepted = 0;
    TRY(drafts_propose(a->drafts, t, 1));
    const decode_span span = {.count = 1 + t->proposed, .logits = 1 + t->proposed, .one_by_one = true};
    const status s = pass_decode_spans(a->p, a->cache, &span, 1, t->tokens, a->logits);
    if (s != STATUS_OK) t->proposed = 0; /* nothing of it was read */
    return s;
}

status ahead_read(ahead *a, int32_t id, int64_t more, float **logits) {
    if (a->accepted < a->text.proposed && a->text.tokens[1 + a->accepted] == id) {
        a->accepted++;
    } else {
        ahead_settle(a);
        TRY(read_pass(a, id, more));
    }
    *logits = a->logits + (int64_t)a->accepted * pass_model(a->p)->config.vocab_size;
    return STATUS_OK;
}

int64_t ahead_rows_behind(const ahead *a) {
    return a->text.proposed - a->accepted;
}

void ahead_settle(ahead *a) {
    if (a->text.proposed > 0) {
        drafts_learn(a->drafts, &a->text, a->accepted);
        kv_cache_cut(a->cache, 0, a->text.count + 1 + a->accepted);
    }
    a->text.proposed = a->accepted = 0;
}

draft_figures ahead_figures(const ahead *a) {
    const draft_figures now = drafts_read(a->drafts);
    return (draft_figures){now.proposed - a->before.proposed, now.accepted - a->before.accepted};
}
