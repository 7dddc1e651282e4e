/* Whatever a user names as a model, as weights that pass by: an artifact, a checkpoint or run folder, a Hugging Face folder or
 * a GGUF file. Nothing is loaded but what is asked for (an artifact is decoded as a whole). */
#ifndef MOEC_STORE_SOURCE_H
#define MOEC_STORE_SOURCE_H

#include "nn/weight_source.h"
#include "text/tokenizer.h"

typedef struct model_source model_source;

/* which: "chosen", "live" or "ema" weights of a checkpoint (checkpoint.h); what is none has only "chosen" ones. */
status model_source_open(model_source **out, const char *path, const char *which);
void model_source_close(model_source *s); /* NULL is fine */

const weight_source *model_source_weights(const model_source *s);
const char *model_source_kind(const model_source *s); /* "artifact", "checkpoint", "Hugging Face folder", "GGUF file" */
const char *
model_source_note(const model_source *s);        /* which weights of a checkpoint, and why; NULL: there are no others */
int model_source_context(const model_source *s); /* the longest context that the model is made for */
tokenizer *model_source_tokenizer(const model_source *s); /* owned by s; NULL: it has none */
/* The same, or one line that says that there is none; from now on the caller's to close. */
status model_source_take_tokenizer(model_source *s, tokenizer **tok);
const char *model_source_path(const model_source *s);

#endif
