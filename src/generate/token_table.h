/* The bytes of every token of a vocabulary, sorted, so that all tokens which begin with the same bytes are asked about once: what a grammar
 * of bytes needs to say which tokens may come next. */
#ifndef MOEC_GENERATE_TOKEN_TABLE_H
#define MOEC_GENERATE_TOKEN_TABLE_H

#include "text/tokenizer.h"

typedef struct token_table token_table;
/* Of the ids below `vocab`. Lives no longer than t; may be shared by threads. */
token_table *token_table_create(const tokenizer *t, int vocab);
void token_table_free(token_table *t); /* NULL is fine */

#endif
