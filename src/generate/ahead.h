/* Reading one text ahead (drafts.h), for those who write it token by token: they tell what was drawn and get the
 * logits behind it, from a pass that was made already where the token was proposed. Without anybody who proposes each
 * token is a pass. */
#ifndef MOEC_GENERATE_AHEAD_H
#define MOEC_GENERATE_AHEAD_H

#include "generate/drafts.h"

typedef struct ahead ahead;
/* The text is sequence 0 of the cache; both live longer. vocab: ids below it may be drawn. */
status ahead_create(ahead **out, pass *p, kv_cache *cache, int vocab, const draft_source *from);
void ahead_free(ahead *a); /* NULL is fine */
/* Another text, which the cache holds, is to be gone on with. */
void ahead_begin(ahead *a);
/* The text goes on with this token; *logits [the model's vocabulary], valid and the caller's to change until the next
 * call: of what follows it. more: tokens behind it that may be read, too. */
status ahead_read(ahead *a, int32_t id, int64_t more, float **logits);
/* Tokens that the last pass read behind the one whose logits were given last. */
int64_t ahead_rows_behind(const ahead *a);
/* Cuts the cache behind the token that ahead_read was told last. */
void ahead_settle(ahead *a);
draft_figures ahead_figures(const ahead *a); /* since ahead_begin */

#endif
