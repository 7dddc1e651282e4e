/* Opening a model by way of a layout (layout_file.h): from the one that was made before, or by making it.
 *
 * Several processes may begin at once: each makes the layout under a name of its own, the last one to rename has made it, and all map what
 * then lies there. Whatever goes wrong with the layout (a damaged one, a full disk, a folder that cannot be written to) the model is opened
 * without, and a line says so. */
#ifndef MOEC_STORE_LAYOUT_OPEN_H
#define MOEC_STORE_LAYOUT_OPEN_H

#include "nn/model.h"
#include "text/tokenizer.h"

typedef enum layout_wish_kind {
    LAYOUT_AUTO, /* one that is there is taken; one is made where opening without took longer than LAYOUT_WORTH_SECONDS */
    LAYOUT_ON,   /* one is made in any case */
    LAYOUT_OFF
} layout_wish_kind;
#define LAYOUT_WORTH_SECONDS 1.0

typedef struct layout_wish {
    layout_wish_kind kind;
    const char *folder; /* NULL: the user's cache */
} layout_wish;

/* As open_model (store/open.h). What has no layout (layout_serves; what is run exactly) is opened as ever. *note: a line for the user (a new
 * string), or NULL. */
status open_model_laid_out(const char *path, const kernels *k, const char *which, model_use use,
                           const layout_wish *wish, model **m, tokenizer **tok, int *context_tokens, char **note);

#endif
