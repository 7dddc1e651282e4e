/* Speculative decoding (Stern et al. 2018; Leviathan et al. 2022, 2211.17192; Chen et al. 2023, 2302.01318): somebody
 * cheap proposes how texts go on, and the model reads the proposal in one pass, which costs little more than the pass
 * over one token as long as the weights are what is waited for. Then it draws as ever, token by token, from its own
 * logits with the text's own generator, and a proposed token counts if it is the one that was drawn: the text is the
 * one that it would be without, to the last token, whatever the sampler asks for. (What the papers accept by a draw of
 * its own keeps the distribution, this keeps the text; how often a certain proposal is accepted is the same, its
 * probability.) What it was wrong about is cut off the cache again.
 *
 * How many tokens are proposed follows what came of it (drafts_learn): twice as many where all were right, else as
 * many as were; where none was, nothing is proposed for a while, which doubles, so that a text that nobody foresees
 * costs little more than without. */
#ifndef MOEC_GENERATE_DRAFTS_H
#define MOEC_GENERATE_DRAFTS_H

#include "nn/pass.h"

/* Tokens at a time: with the newest one a pass over 16 rows, which products of codes are made for. */
enum { DRAFT_MOST = 15 };

/* Who proposes. All 0: nobody. */
typedef struct draft_source {
    bool lookup;  /* the text (lookup.h) */
    model *small; /* or a smaller model of the same tokenizer, opened to be run, which lives longer; NULL */
} draft_source;
static inline bool draft_source_is(const draft_source *s) {
    return s->lookup || s->small;
}

/* One of the texts that are written at a time. */
typedef struct draft_text {
    int64_t sequence;
    const int32_t *read; /* [count]: its tokens that the model has read; behind them comes */
    int64_t count;
    int32_t tokens[1 + DRAFT_MOST]; /* the newest one, and behind it what is proposed */
    int most, proposed; /* most: as the caller has room, up to DRAFT_MOST; how many are proposed: filled in */
} draft_text;

typedef struct drafts drafts;
/* For up to `sequences` texts of up to `capacity` tokens. vocab: ids below it may be drawn. *out is NULL where nobody
 * proposes, which all that follow take. */
status drafts_create(drafts **out, const draft_source *from, int vocab, int64_t sequences, int64_t capacity);
void drafts_free(drafts *d);
/* Another text begins there. */
void drafts_begin(drafts *d, int64_t sequence);
/* What the texts may go on with. */
status drafts_propose(drafts *d, draft_text *texts, int64_t count);
/* How many of the proposed tokens were drawn. */
void drafts_learn(drafts *d, const draft_text *t, int64_t accepted);

/* Of all texts, so far. */
typedef struct draft_figures {
    int64_t proposed, accepted; /* tokens */
} draft_figures;
draft_figures drafts_read(const drafts *d);

#endif
