#include "generate/token_table.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

static int by_bytes(const void *a, const void *b) {
    const table_token *x = a, *y = b;
    const int order = memcmp(x->text, y->text, (size_t)(x->bytes < y->bytes ? x->bytes : y->bytes));
    if (order != 0) return order;
    return x->bytes != y->bytes ? x->bytes - y->bytes : (x->id > y->id) - (x->id < y->id);
}

static int shared_bytes(const table_token *a, const table_token *b) {
    int i = 0;
    while (i < a->bytes && i < b->bytes && a->text[i] == b->text[i]) i++;
    return i;
}

/* A token that texts do not begin behind; −1: there is none. */
static int32_t inner_token(const tokenizer *t, int vocab) {
    for (int32_t id = 0; id < vocab; id++)
        if (!tokenizer_is_boundary(t, id)) return id;
    return -1;
}

token_table *token_table_create(const tokenizer *t, int vocab) {
    const int32_t before = inner_token(t, vocab);
    token_table *table = xcalloc(1, sizeof *table);
    table->vocab = vocab;
    table->tokens = xmalloc((size_t)(vocab + 1) * sizeof *table->tokens);
    table->place = xmalloc((size_t)(vocab + 1) * sizeof *table->place);
    for (int32_t id = 0; id < vocab; id++) {
        table_token *one = &table->tokens[table->count];
        *one = (table_token){.id = id};
        one->text = tokenizer_token_text(t, id, before, &one->bytes);
        table->place[id] = -1;
        if (one->bytes > 0) table->count++;
    }
    qsort(table->tokens, (size_t)table->count, sizeof *table->tokens, by_bytes);
    for (int i = 0; i < table->count; i++) {
        table_token *one = &table->tokens[i];
        if (i > 0) one->shared = shared_bytes(one - 1, one);
        if (one->bytes > table->longest) table->longest = one->bytes;
        table->place[one->id] = i;
    }
    return table;
}

void token_table_free(token_table *t) {
    if (!t) return;
    free(t->tokens);
    free(t->place);
    free(t);
}
