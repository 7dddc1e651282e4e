/* The tokenizer in a GGUF's metadata (tokenizer.ggml.* and tokenizer.chat_template; text/tokenizer_source.h says which kinds). */
#ifndef MOEC_FORMATS_GGUF_TOKENIZER_H
#define MOEC_FORMATS_GGUF_TOKENIZER_H

#include "formats/gguf.h"
#include "text/tokenizer.h"

/* *out is NULL where the file has none. Errors name file and key. */
status gguf_read_tokenizer(tokenizer **out, const gguf *g);
/* Of a file that is opened for this alone; one without a tokenizer is an error. */
status gguf_open_tokenizer(tokenizer **out, const char *path);

#endif
