/* A model as a Hugging Face folder: config.json and safetensors, in several files with an index where they are large. */
#ifndef MOEC_FORMATS_HF_WRITE_H
#define MOEC_FORMATS_HF_WRITE_H

#include "formats/adapt.h"

typedef struct hf_write_options {
    const family *family;
    storage type;        /* F32, F16 or BF16, of every tensor */
    int context_tokens;  /* max_position_embeddings */
    int bos, eos;        /* token ids for config.json; < 0: null */
    int64_t shard_bytes; /* a file has at most so many, unless one tensor has more; 0: 5 GB */
} hf_write_options;

/* Into a folder that exists. Nothing of w is held in memory but pieces. */
status hf_write(const char *folder, const weight_source *w, const hf_write_options *options);

#endif
