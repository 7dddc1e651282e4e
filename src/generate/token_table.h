/* The bytes of every token of a vocabulary, sorted, so that tokens which begin with the same bytes stand together and a
 * grammar of bytes is asked once about what they share. */
#ifndef MOEC_GENERATE_TOKEN_TABLE_H
#define MOEC_GENERATE_TOKEN_TABLE_H

#include "text/tokenizer.h"

typedef struct table_token {
    int32_t id;
    int bytes, shared; /* > 0; of them those that the token before begins with, too */
    const char *text;  /* what it adds to a text behind another token */
} table_token;

typedef struct token_table {
    int vocab;           /* ids are below it */
    int count;           /* tokens with bytes: boundary tokens are not there */
    int longest;         /* bytes */
    table_token *tokens; /* [count], sorted by their bytes */
    int *place;          /* [vocab]: in tokens; −1: no bytes */
} token_table;

/* Of the ids below `vocab`. Lives no longer than t, and does not change. */
token_table *token_table_create(const tokenizer *t, int vocab);
void token_table_free(token_table *t); /* NULL is fine */

#endif
