/* Any bytes as the log of a run that goes on behind step 3: what is kept can be read again, and a second time nothing changes. */
#include "base/file.h"
#include "base/memory.h"
#include "train/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void must(status s) {
    if (s != STATUS_OK) abort();
}

static void go_on(const char *path, uint8_t **kept, size_t *count, bool *noted) {
    run_log *log;
    char *note;
    must(run_log_continue(&log, path, 3, &note));
    run_log_close(log);
    *noted = note != NULL;
    if (note) { /* set aside under the first free name, which is this one */
        char *aside = xasprintf("%s.damaged", path);
        unlink(aside);
        free(aside);
    }
    free(note);
    must(file_read(path, FILE_ANY_SIZE, kept, count));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    char *path = xasprintf("/tmp/fuzz-log-%ld.jsonl", (long)getpid());
    uint8_t *first, *second;
    size_t first_count, second_count;
    bool damaged;
    must(file_write_whole(path, bytes, count));
    go_on(path, &first, &first_count, &damaged);
    go_on(path, &second, &second_count, &damaged);
    if (damaged || first_count != second_count || memcmp(first, second, first_count) != 0) abort();
    free(second);
    free(first);
    unlink(path);
    free(path);
    return 0;
}
