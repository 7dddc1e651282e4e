/* A layout (layout_head.h) written from a model, and mapped as one.
 *
 * What is checked when one is opened: the head's checksum; that the file is as long as it says; that every number goes together; of the
 * data the CRC-64 of each piece of a MiB, by all threads, of up to 256 pieces. Those are read for the first token anyway, and their pages are
 * then there. Of a larger file 256 that lie evenly, other ones each time: damage anywhere is found sooner or later, and is never more than
 * wrong numbers.
 *
 * What is in it: all parameters that are not made from a seed; packed matrices as products read them, those that stay floats in the type of
 * the activations (oneDNN's own form of these is made in each process), vectors as float32. So of a model that is opened so nothing else is
 * asked for than its config and tokenizer. */
#ifndef MOEC_STORE_LAYOUT_FILE_H
#define MOEC_STORE_LAYOUT_FILE_H

#include "nn/model.h"

/* Whether there is anything to gain: a model that is run, whole, from codes. Not one whose layers come and go (nn/streamed.h), nor whose
 * experts do (nn/hot_experts.h: their rooms are emptied and filled again), nor a part of a mixture (store/open.h,
 * open_model_experts: it would be one for each choice), nor one that is floats (nothing was decoded or rounded, and the
 * form that products read is made by oneDNN as they need it). */
bool layout_serves(const model *m);

/* All of it or nothing (file.h); path and key as in layout_head. */
status layout_write(const char *path, const model *m, const char *model_path, const char *key);

/* A model of that config whose weights lie in the file, which it keeps mapped. Where the file was made for another key or is damaged: a
 * failure whose line says so. */
status layout_open_model(const char *path, const char *key, const model_config *config, const kernels *k, model_use use,
                         model **m);

/* ---- for fuzzing: a file's bytes, 64-byte aligned ---- */
status layout_check(const uint8_t *bytes, size_t count, const char *where, bool check_crc);

#endif
