/* Which experts wrote an answer: each token in its expert's colour, and the shares behind it. A token's expert is the one with the largest
 * gate in the pass that made the token's logits: of one layer, or summed over all. */
#ifndef MOEC_CLI_CHAT_ROUTING_H
#define MOEC_CLI_CHAT_ROUTING_H

#include "nn/pass.h"

typedef struct chat_routing chat_routing;
/* Watches the routers of p, whose model has experts; for as long as both live. */
chat_routing *chat_routing_create(pass *p);
void chat_routing_free(chat_routing *r); /* NULL is fine */

enum { ROUTING_OFF = -2, ROUTING_ALL_LAYERS = -1 };
void chat_routing_show(chat_routing *r, int layer); /* or one of these */
int chat_routing_shown(const chat_routing *r);

/* A piece of the answer on stdout, which keeps its colour; false: it could not be written (errno). r NULL: plainly.
 * rows_behind: tokens that the last pass read behind the one that made its logits (conversation.h). */
bool chat_routing_print(chat_routing *r, int64_t rows_behind, const char *text, size_t bytes);
/* On stderr, where routing is shown: which colour is whose; how the answer's tokens shared out, from which the next answer counts anew. */
void chat_routing_legend(const chat_routing *r);
void chat_routing_shares(chat_routing *r);

#endif
