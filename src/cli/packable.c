#include "cli/packable.h"

#include "formats/pretrained.h"
#include "train/checkpoint.h"

/* The calibration of models that no run trained: tokens of a sequence, sequences of a batch, batches. */
enum { PLAIN_SEQ = 1024, PLAIN_BATCH = 2, PLAIN_BATCHES = 64 };

static void set_plain(run_config *run, int64_t seq) {
    run->train.seq = seq;
    run->train.batch = PLAIN_BATCH;
    run->pack.calibration_batches = PLAIN_BATCHES;
    run->pack.budget_bytes = 0; /* 16 MB is what a run's file may have */
}

status packable_read(const char *path, const char **found, checkpoint **saved, run_config *run) {
    *found = path;
    *saved = NULL;
    if (pretrained_is(path)) {
        set_plain(run, PLAIN_SEQ);
        return STATUS_OK;
    }
    TRY(checkpoint_require(saved, path));
    TRY(checkpoint_verify(*saved));
    *found = (*saved)->path;
    if (checkpoint_is_of_run(*saved)) return checkpoint_load_config(*saved, run);
    set_plain(run, (*saved)->context_tokens < PLAIN_SEQ ? (*saved)->context_tokens : PLAIN_SEQ);
    return STATUS_OK;
}
