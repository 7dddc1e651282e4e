/* A model as a GGUF file that llama.cpp runs. */
#ifndef MOEC_FORMATS_GGUF_WRITE_H
#define MOEC_FORMATS_GGUF_WRITE_H

#include "formats/adapt.h"
#include "formats/gguf_builder.h"

typedef struct gguf_write_options {
    const family *family;
    storage type; /* of matrices; vectors, routers and what has no whole blocks are F32 */
    int context_tokens;
    const char *name; /* general.name; NULL: none */
} gguf_write_options;

/* metadata: what is to be there beside the architecture's (the tokenizer's keys); may be empty, and the file
 * says that there is no tokenizer. Nothing of w is held in
 * memory but pieces. */
status gguf_write(const char *path, const weight_source *w, const gguf_builder *metadata,
                  const gguf_write_options *options);

#endif
