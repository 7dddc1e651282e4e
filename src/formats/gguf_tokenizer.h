/* The tokenizer in a GGUF's metadata (tokenizer.ggml.* and tokenizer.chat_template): text/tokenizer_source.h says which kinds are read,
 * text/tokenizer_export.h which are written. */
#ifndef MOEC_FORMATS_GGUF_TOKENIZER_H
#define MOEC_FORMATS_GGUF_TOKENIZER_H

#include "formats/gguf_builder.h"
#include "text/tokenizer.h"

/* *out is NULL where the file has none. Errors name file and key. */
status gguf_read_tokenizer(tokenizer **out, const gguf *g);
/* Of a file that is opened for this alone; one without a tokenizer is an error. */
status gguf_open_tokenizer(tokenizer **out, const char *path);
/* vocab_size: the model's. Its ids beyond the tokenizer's get names, too: llama.cpp counts by them. */
status gguf_add_tokenizer(gguf_builder *b, const tokenizer *t, int vocab_size);

#endif
