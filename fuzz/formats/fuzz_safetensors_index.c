/* Any bytes as a folder's model.safetensors.index.json beside two files with a tensor each: refused with a message that names the
 * index or a file, or a set of just those tensors. */
#include "base/memory.h"
#include "formats/safetensors.h"
#include "formats/tensor_set.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/moec-fuzz-index-XXXXXX";

static void require(bool condition) {
    if (!condition) abort();
}

static void write_tensor(const char *file, const char *name) {
    static const float values[2] = {1, 2};
    char *path = path_join(folder, file);
    const safetensor t = {
        .name = (char *)name, .type = DTYPE_F32, .ndim = 1, .shape = {2}, .data = values, .bytes = sizeof values};
    require(safetensors_write(path, &t, 1, NULL) == STATUS_OK);
    free(path);
}

static void remove_folder(void) {
    static const char *const files[] = {"a.safetensors", "b.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = path_join(folder, files[i]);
        unlink(path);
        free(path);
    }
    rmdir(folder);
}

static void prepare(void) {
    static bool ready;
    if (ready) return;
    require(mkdtemp(folder) != NULL);
    write_tensor("a.safetensors", "a");
    write_tensor("b.safetensors", "b");
    atexit(remove_folder);
    ready = true;
}

static void write_index(const uint8_t *bytes, size_t count) {
    char *path = path_join(folder, "model.safetensors.index.json");
    FILE *f = fopen(path, "wb");
    require(f && fwrite(bytes, 1, count, f) == count && fclose(f) == 0);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    tensor_set s;
    prepare();
    write_index(bytes, count);
    if (tensor_set_open_safetensors(&s, folder) != STATUS_OK) {
        require(strstr(error_message(), folder) != NULL);
    } else {
        require(s.count <= 2);
        for (int i = 0; i < s.count; i++) {
            float values[2];
            stored_read(&s.tensors[i], 0, 1, values);
            require(values[0] == 1 && values[1] == 2);
        }
    }
    tensor_set_close(&s);
    return 0;
}
