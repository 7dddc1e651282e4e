/* Where layouts lie, what they are called, and which of them go.
 *
 * A name is PATH-MODEL-FORM.vN, three CRC-64 in hexadecimal digits and the version of the file:
 *   PATH   of the model's path, links resolved
 *   MODEL  of names, sizes, times of the last change (to the nanosecond) and bytes of its files: a file, or a folder's *.json and
 *          *.safetensors; of bytes the first and last 64 KiB and 64 blocks of 4 KiB that lie evenly between them, or all of a file up to 384
 *          KiB. So a model that is another one in its place is taken for the old one only where its files have the same sizes and times, and
 *          differ in none of these blocks: if somebody changed weights in place and set the clock back.
 *   FORM   of all else that the weights depend on: moec's version, the instructions and their order of bytes (kernels_weight_layout), the
 *          type of activations, --run-bits and --run-inputs, and which weights of a checkpoint are asked for. The file has it as a text. */
#ifndef MOEC_STORE_LAYOUT_CACHE_H
#define MOEC_STORE_LAYOUT_CACHE_H

#include "nn/model.h"

typedef struct layout_key {
    char *folder;
    char *model; /* its path, links resolved */
    char *name;  /* of the layout */
    char *form;  /* the text */
} layout_key;

/* folder: NULL: $XDG_CACHE_HOME/moec/layouts. */
status layout_key_make(layout_key *key, const char *folder, const char *model_path, const char *which, const kernels *k,
                       model_use use);
void layout_key_free(layout_key *key);
char *layout_key_path(const layout_key *key); /* FOLDER/NAME; a new string */

/* Before one is written: others in the folder go that nobody will ask for again: of the same path with another MODEL or N, and those whose
 * model is no more; and what a killed process left. Those of the same model in another FORM stay. Nothing else in the folder is touched, and
 * what cannot be removed stays. */
void layout_cache_clean(const layout_key *key);

#endif
