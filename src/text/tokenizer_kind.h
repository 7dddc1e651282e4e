/* What a kind of tokenizer supplies. It only reads its file and encodes; decoding and counting follow from the table of
 * tokens that it fills in. SentencePiece's is in text/; floors above may add others. */
#ifndef MOEC_TEXT_TOKENIZER_KIND_H
#define MOEC_TEXT_TOKENIZER_KIND_H

#include "text/tokenizer.h"

typedef struct tokenizer_kind {
    const char *name; /* "SentencePiece", for messages */
    /* Whether bytes look like this kind's, by their beginning; parse says whether they are. SentencePiece's have no mark: its
     * kind is what no other recognises, and has NULL here. */
    bool (*recognises)(const void *bytes, size_t count);
    /* Makes *out with tokenizer_create and the functions below; `where` names the file in messages. */
    status (*parse)(tokenizer **out, const void *bytes, size_t count, const char *where);
    status (*encode)(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count);
    /* Control tokens in the text become their ids. NULL: what lies between the names of boundary tokens is encoded part by part. */
    status (*encode_special)(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count);
    void (*release)(void *own); /* NULL is fine */
} tokenizer_kind;

typedef struct token {
    size_t piece, text; /* offsets into `strings` */
    int bytes;          /* of the text */
    bool leading_space; /* the text begins with a space that goes where a text begins */
    bool boundary;
} token;

struct tokenizer {
    const tokenizer_kind *kind;
    void *own;     /* the kind's */
    token *tokens; /* [size] */
    int size, capacity;
    int longest;     /* bytes of the longest token */
    int32_t bos;     /* −1: none. A vocabulary without one begins documents with its end of text: name that here */
    bool adds_bos;   /* set by tokenizer_create; see tokenizer_adds_bos */
    bool cuts_lines; /* see tokenizer_cuts_lines */
    char *chat_template;       /* Jinja; NULL: none */
    char *bos_text, *eos_text; /* what chat templates call bos_token and eos_token; NULL: none */
    int32_t *ends;
    int end_count;
    char *strings;
    size_t string_bytes, string_capacity;
    void *serialized;
    size_t serialized_bytes;
};

/* Without tokens. Copies the serialised form, which tokenizer_parse must take back. `own` is released with it. */
tokenizer *tokenizer_create(const tokenizer_kind *kind, void *own, const void *serialized, size_t count);
/* The next id's token; text: what it adds within a text. piece and text are copied. */
void tokenizer_add_token(tokenizer *t, const char *piece, const char *text, size_t bytes, bool leading_space);
void tokenizer_add_boundary(tokenizer *t, const char *piece); /* the next id is a boundary token */
void tokenizer_add_end(tokenizer *t,
                       int32_t id); /* ids below 0 and repeated ones are passed over, as is BOS: it is one */

/* From now on tokenizer_parse knows this kind; call it before any thread opens one. Twice is once. */
void tokenizer_add_kind(const tokenizer_kind *kind);

#endif
