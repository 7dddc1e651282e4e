/* The folder of a run's checkpoints; shared by their reader and their writer. */
#ifndef MOEC_STORE_CHECKPOINT_FOLDER_H
#define MOEC_STORE_CHECKPOINT_FOLDER_H

#include "base/status.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#define MANIFEST_FILE "checkpoint.json"
#define CONFIG_FILE "config.json"
#define WEIGHTS_FILE "model.safetensors"
#define AVERAGE_FILE "ema.safetensors"
#define TOKENIZER_FILE "tokenizer.model"

#define BEST_NAME "best" /* a symbolic link to one of the checkpoints beside it, step-N */

/* The path of the newest checkpoint in `folder` (malloc'ed), or NULL in *path where there is none: a folder has its final
 * name only when everything in it is on the disk. */
status checkpoint_newest(const char *folder, char **path);
/* The steps of all of them, rising (malloc'ed; NULL where there are none). */
status checkpoint_steps(const char *folder, int64_t **steps, int *count);
/* *lock: a descriptor that keeps the checkpoint from being pruned until it is closed; −1 where it is gone or about to go. */
status checkpoint_hold(const char *path, int *lock);
/* Remove what killed runs left, and all but the newest `keep` (at least one) and the best checkpoint that nobody holds. Like
 * checkpoint_clear, only folders with a checkpoint.json. */
status checkpoint_prune(const char *folder, int64_t keep);
/* Let `best` lead to the checkpoint step-N, *found; where there is none, or step is 0, there is no `best` then. */
status checkpoint_mark_best(const char *folder, int64_t step, bool *found);
/* Remove all checkpoints of a run, held or not, the newest last, and the name `best`; an absent folder is fine. Anything else in `folder` stays,
 * and *kept (a new string; NULL: nothing) is its paths, with commas. A folder under a checkpoint's name that is none would be
 * in the way of the next ones: it is an error, and nothing is removed. */
status checkpoint_clear(const char *folder, char **kept);
/* The whole folder `partial` becomes folder/name. An older checkpoint of that name goes once it has. */
status checkpoint_put(const char *folder, const char *name, const char *partial);

/* Where a file system cannot exchange two folders, a process that is killed while it puts a checkpoint in the place of an older one
 * leaves neither under the name: the older one takes it again. Only for who writes there. */
status checkpoint_recover(const char *folder);

#define STEP_FORMAT "step-%08" PRId64 /* a checkpoint's name */
/* Folders under this name are being written, or being removed. */
#define PARTIAL_PREFIX "partial-"

#endif
