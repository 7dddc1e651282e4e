/* Any bytes as a preset: no crash, and what was understood writes and reads back the same. */
#include "base/file.h"
#include "base/memory.h"
#include "train/config.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *written(const run_config *c, const char *path) {
    uint8_t *bytes;
    size_t count;
    if (run_config_write(c, path) != STATUS_OK || file_read(path, FILE_ANY_SIZE, &bytes, &count) != STATUS_OK) abort();
    return (char *)bytes;
}

/* A temporary file of this process, gone when it ends. */
static char scratch[64];
static void remove_scratch(void) {
    unlink(scratch);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    snprintf(scratch, sizeof scratch, "/tmp/moec-fuzz-config-%ld.yaml", (long)getpid());
    atexit(remove_scratch);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    run_config c = run_config_default();
    if (run_config_parse(&c, "input", (const char *)data, size) != STATUS_OK) {
        run_config_free(&c);
        return 0;
    }
    (void)run_config_check(&c);
    char *first = written(&c, scratch);
    run_config back = run_config_default();
    if (run_config_parse(&back, "written", first, strlen(first)) != STATUS_OK) abort();
    char *second = written(&back, scratch);
    if (strcmp(first, second) != 0) abort();
    free(first);
    free(second);
    run_config_free(&c);
    run_config_free(&back);
    return 0;
}
