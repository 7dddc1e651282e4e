/* Text to token ids and back, whatever kind of vocabulary it is (tokenizer_kind.h is the side of those who add a kind).
 *
 * A token stands for bytes, and a text is the bytes of its tokens one after another, with one rule for what comes before:
 * a token whose bytes begin with a space that only separates words loses that space where a text begins, at the first
 * token and after a boundary token. Boundary tokens (begin and end of a text, other control tokens, unknown and unused
 * ones) stand for no bytes. So do all ids from the tokenizer's size on: models pad their vocabularies, and a padded id is
 * a boundary token too. */
#ifndef MOEC_TEXT_TOKENIZER_H
#define MOEC_TEXT_TOKENIZER_H

#include "base/status.h"
#include "text/utf8.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tokenizer tokenizer;

enum { TOKENIZER_MAX_BYTES = 64 << 20 }; /* of a file */
/* The kind is chosen by what the file holds: a SentencePiece model, a Hugging Face tokenizer.json, or a kind that was added. A
 * model's folder has a tokenizer.json, with tokenizer_config.json, generation_config.json, config.json and chat_template.jinja
 * beside it as far as they are there, or else a tokenizer.model. */
status tokenizer_open(tokenizer **out, const char *path);
status tokenizer_parse(tokenizer **out, const void *bytes, size_t count, const char *where);
void tokenizer_close(tokenizer *t); /* NULL is fine */
/* What it is made again from, to be stored in checkpoints and artifacts: the file that it came from, of a folder all that belongs
 * to it (tokenizer_settings.h). Lives as long as t. */
void tokenizer_bytes(const tokenizer *t, const void **bytes, size_t *count);

/* Tells vocabularies apart whatever file they came from: CRC-64 of what each id stands for, of a boundary token its piece. Two that
 * have the same give the same meaning to every id. */
uint64_t tokenizer_fingerprint(const tokenizer *t);

int tokenizer_vocab_size(const tokenizer *t); /* ids below it have a piece; a model's vocabulary may be larger */
int tokenizer_bos(const tokenizer *t);        /* what every document begins with; < 0: there is none */
/* An error where there is none: texts that are trained on or scored one behind the other have nothing between them. */
status tokenizer_needs_bos(const tokenizer *t);
/* Whether a prompt, and a text that is scored, begin with BOS as they did in training. Where not, BOS only separates documents. */
bool tokenizer_adds_bos(const tokenizer *t);
bool tokenizer_is_end(const tokenizer *t, int32_t id); /* a text ends here: BOS, end of text, end of turn … */
bool tokenizer_is_boundary(const tokenizer *t, int32_t id);
/* How the vocabulary writes a token, for display ("▁" may stand for a space); lives as long as t. */
const char *tokenizer_piece(const tokenizer *t, int32_t id);
/* The bytes that a token adds to a text when it follows prev (< 0: it is the first), which may be a part of a character.
 * token_bytes alone is what bits per byte are divided by (reference: the record scripts' LUTs). */
const char *tokenizer_token_text(const tokenizer *t, int32_t id, int32_t prev, int *bytes);
int tokenizer_token_bytes(const tokenizer *t, int32_t id, int32_t prev);

/* Without BOS. *ids is malloc'ed. Text that looks like a control token stays text. */
status tokenizer_encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count);
/* A text from its beginning: with BOS before it where the tokenizer has it so (tokenizer_adds_bos). */
status tokenizer_encode_text(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count);
/* Whether a text and its tokens say the same: they decode to it, and their bytes add up to its bytes. */
bool tokenizer_is_exact(const tokenizer *t, const int32_t *ids, size_t count, const char *text, size_t bytes);
/* The same, but the names of control tokens in the text become these tokens: for texts that a chat template made. */
status tokenizer_encode_special(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count);
/* Whether a text may be encoded in parts that end behind a newline between a visible ASCII character and an ASCII letter. */
bool tokenizer_cuts_lines(const tokenizer *t);

/* For chat.h. The template in Jinja, NULL: none; and what it calls bos_token and eos_token, "" where there are none. */
const char *tokenizer_chat_template(const tokenizer *t);
const char *tokenizer_bos_text(const tokenizer *t);
const char *tokenizer_eos_text(const tokenizer *t);

/* *text is malloc'ed, NUL-terminated, and UTF-8: what a detokenizer gives for these tokens. Ids are ≥ 0. */
status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, char **text, size_t *bytes);

/* Decoding as a stream, in constant time a token: fed ids one by one, it hands out whole characters. Bytes that cannot
 * become a character give U+FFFD each. */
typedef struct detokenizer {
    const tokenizer *t;
    int32_t prev;              /* −1: at the beginning */
    char held[UTF8_MAX_BYTES]; /* of a character that is not whole yet */
    int held_bytes;
    char *text; /* what the last call gave */
} detokenizer;

detokenizer detokenizer_start(const tokenizer *t);
/* The text that became whole with this token, *bytes ≥ 0 of it and a NUL; valid until the next call. */
const char *detokenizer_feed(detokenizer *d, int32_t id, size_t *bytes);
const char *detokenizer_end(detokenizer *d, size_t *bytes); /* what is left of a character that never became whole */
void detokenizer_free(detokenizer *d);

#endif
