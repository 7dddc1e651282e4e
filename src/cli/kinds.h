/* What kind of thing a path leads to, and what to say where a command was given another kind than it takes. */
#ifndef MOEC_CLI_KINDS_H
#define MOEC_CLI_KINDS_H

#include "base/status.h"

/* Of what moec makes and reads; guessed from names and first bytes, for messages: reading decides. */
typedef enum kind {
    KIND_ABSENT = 1,
    KIND_PRESET = 2,       /* FILE.yaml; a sweep's file too */
    KIND_RUN = 4,          /* a folder with checkpoints/ */
    KIND_CHECKPOINT = 8,   /* a folder with checkpoint.json */
    KIND_CHECKPOINTS = 16, /* RUN/checkpoints */
    KIND_ARTIFACT = 32,
    KIND_DATA = 64, /* a folder with data.json */
    KIND_SHARD = 128,
    KIND_TOKENIZER = 256,  /* FILE.model */
    KIND_PRETRAINED = 512, /* a Hugging Face folder, a GGUF file */
    KIND_OTHER = 1024
} kind;
enum { KINDS_OF_MODEL = KIND_RUN | KIND_CHECKPOINT | KIND_ARTIFACT | KIND_PRETRAINED };
#define NOUN_OF_MODEL "a model (an artifact, a checkpoint, a run folder, a Hugging Face folder or a GGUF file)"

kind kind_of(const char *path);

/* That path may be what `command` takes as its first argument: one of `kinds` (0: anything), described by `noun`. Refuses
 * what is certainly something else, and says what would have been right. next: the argument behind it, or NULL. */
status kind_expect(const char *command, const char *path, const char *next, int kinds, const char *noun);

#endif
