#include "cli/packable.h"

#include "formats/pretrained.h"
#include "train/checkpoint.h"

enum { PLAIN_SEQ = 1024 }; /* tokens of a calibration sequence of models that no run trained */

status packable_read(const char *path, const char **found, checkpoint **saved, run_config *run) {
    *found = path;
    *saved = NULL;
    if (pretrained_is(path)) {
        run->train.seq = PLAIN_SEQ;
        return STATUS_OK;
    }
    TRY(checkpoint_require(saved, path));
    TRY(checkpoint_verify(*saved));
    *found = (*saved)->path;
    if (checkpoint_is_of_run(*saved)) return checkpoint_load_config(*saved, run);
    run->train.seq = (*saved)->context_tokens < PLAIN_SEQ ? (*saved)->context_tokens : PLAIN_SEQ;
    return STATUS_OK;
}
