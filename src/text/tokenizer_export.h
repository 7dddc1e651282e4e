/* Tokenizers in other programs' forms: as the arrays of a GGUF file, and as the files of a Hugging Face folder.
 *
 * What a form cannot say is refused with the reason: words that GGUF has no name for, merges that no scores give, added tokens that
 * take white space with them, a SentencePiece model that changes characters or is no BPE. What llama.cpp leaves out for every model is
 * left out: Unicode's normal form C. A "▁" in a text, which moec's own SentencePiece models keep, is a space for other programs. */
#ifndef MOEC_TEXT_TOKENIZER_EXPORT_H
#define MOEC_TEXT_TOKENIZER_EXPORT_H

#include "text/text_buffer.h"
#include "text/tokenizer_source.h"

/* `source` points into the others and into the tokenizer. */
typedef struct exported_tokenizer {
    tokenizer_source source;
    source_string *tokens, *merges;
    float *scores;
    int32_t *types;
    text_buffer names, pairs; /* of tokens without a name; of merges */
} exported_tokenizer;

/* As other programs call them, who separate documents by neither; −1: none. */
void tokenizer_export_ids(const tokenizer *t, int *bos, int *eos);
status tokenizer_export_source(const tokenizer *t, exported_tokenizer *out);
void exported_tokenizer_free(exported_tokenizer *e);

/* tokenizer.json, tokenizer_config.json, generation_config.json, chat_template.jinja, as far as there is something to say; of a
 * SentencePiece model tokenizer.model, and the others too if they say the same. The folder exists. */
status tokenizer_export_folder(const tokenizer *t, const char *folder);

#endif
