/* A model cut into the tensors of a naming, to be written: which there are, and their rows as they come. */
#ifndef MOEC_FORMATS_FOREIGN_TENSORS_H
#define MOEC_FORMATS_FOREIGN_TENSORS_H

#include "base/file.h"
#include "base/progress.h"
#include "formats/names.h"
#include "formats/storage.h"

typedef struct foreign_tensor {
    char name[PARAM_NAME_BYTES];
    param_spec spec; /* of a stacked tensor: the first expert's */
    name_part part;
    int experts; /* stacked ones; 0: it is not */
    int ndim;
    int64_t shape[3]; /* outermost first */
} foreign_tensor;

/* In the model's order; free() it. Fails by name where the naming has no name for a role. */
status foreign_tensors(const model_config *c, const naming *n, foreign_tensor **tensors, int *count);
int64_t foreign_count(const foreign_tensor *t); /* elements */

/* Hand all of t's values over in order, in pieces of whole rows. */
typedef status (*foreign_sink)(void *context, const float *values, int64_t count);
status foreign_read(const foreign_tensor *t, const weight_source *w, const naming *n, foreign_sink sink, void *context);

/* A file that takes them, in one storage or another. */
typedef struct foreign_writer {
    file_writer *file;
    storage type; /* of the tensor that is being written */
    progress shown;
    int64_t done, all; /* elements, of all tensors */
    uint8_t *bytes;    /* a piece, as it is stored; free() it */
    size_t room;
} foreign_writer;
/* A foreign_sink, whose context is a foreign_writer: shows progress, obeys Ctrl-C. */
status foreign_put(void *writer, const float *values, int64_t count);

#endif
