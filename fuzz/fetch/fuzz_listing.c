/* Any bytes as a hub's list of files: refused with a message, or names that stay below their folder, sorted, none twice. */
#include "base/memory.h"
#include "fetch/listing.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    char *text = xmalloc(count ? count : 1); /* exactly as long, so that a sanitizer sees every byte beyond the end */
    listing l;
    if (count) memcpy(text, bytes, count);
    status s = listing_parse(&l, text, count, "fuzz");
    require(s == STATUS_OK || strncmp(error_message(), "fuzz: ", 6) == 0);
    for (size_t i = 0; s == STATUS_OK && i < l.count; i++) {
        const char *name = l.files[i].name;
        require(*name && *name != '/' && strcmp(name, "..") != 0 && strncmp(name, "../", 3) != 0 &&
                !strstr(name, "/../"));
        require(strlen(name) < 3 || strcmp(name + strlen(name) - 3, "/..") != 0);
        require(i == 0 || strcmp(l.files[i - 1].name, name) < 0);
        require(l.files[i].size >= -1);
    }
    if (s == STATUS_OK) listing_select(&l, NULL, 0);
    listing_free(&l);
    free(text);
    return 0;
}
