/* A conversation with a model. What was said so far lies in a key/value cache, so that of each turn only what is new is read.
 *
 * Each turn the caller gives the whole conversation as tokens (chat_encode), which need not begin as the last one did: as much
 * of the cache stays as the two have in common. At least the last token is read, since what follows it is wanted. */
#ifndef MOEC_GENERATE_CONVERSATION_H
#define MOEC_GENERATE_CONVERSATION_H

#include "generate/generate.h"

typedef struct conversation conversation;
/* Of up to `context` tokens, answers included, with p, which nothing else may run until conversation_close. Memory for all of them
 * is asked for now; the system gives it as they come. */
status conversation_open(conversation **out, pass *p, const tokenizer *tok, int64_t context);
void conversation_close(conversation *c); /* NULL is fine */
/* From now on answers are read ahead (drafts.h): they are the same, and come in fewer passes where they can be foreseen. */
status conversation_speculate(conversation *c, const draft_source *from);
/* The next turn reads everything again: what tokens left behind was computed by other experts than those that there are now. */
void conversation_forget(conversation *c);

typedef struct conversation_turn {
    int64_t tokens, read; /* of the conversation before the answer; of them, those that were not in the cache */
    double read_seconds;
    int64_t new_tokens; /* of the answer */
    double seconds;
    bool full; /* the answer ended because the context is */
    draft_figures drafts;
} conversation_turn;

/* What the model says behind ids [count ≥ 1], up to max_tokens or to the first of the tokenizer's end tokens; the same sampler gives
 * the same text. STATUS_INTERRUPTED where Ctrl-C came: what the sink was given is then the answer. *turn is filled in whatever
 * comes of it. */
status conversation_answer(conversation *c, const int32_t *ids, int64_t count, const sampler *s, int64_t max_tokens,
                           generate_sink sink, void *context, conversation_turn *turn);
/* While the sink is called: tokens that the newest pass read behind the one that made the logits of what is shown. */
int64_t conversation_rows_behind(const conversation *c);

#endif
