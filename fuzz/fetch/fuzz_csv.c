/* Any bytes as CSV: refused, or the same records in whatever pieces they come, all with as many fields as there are names. */
#include "base/memory.h"
#include "fetch/csv.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

static status count_record(void *context, const csv *c) {
    size_t *hash = context;
    require(c->fields == c->name_count);
    for (int i = 0; i < c->name_count; i++) {
        *hash = *hash * 31 + strlen(csv_name(c, i)) + 1;
        for (const char *b = csv_field(c, i); *b; b++) *hash = *hash * 31 + (unsigned char)*b;
    }
    return STATUS_OK;
}

static status read_pieces(const char *text, size_t count, size_t piece, size_t *hash) {
    csv c;
    status s = STATUS_OK;
    *hash = 0;
    csv_open(&c, "fuzz");
    for (size_t at = 0; s == STATUS_OK && at < count; at += piece)
        s = csv_feed(&c, text + at, count - at < piece ? count - at : piece, count_record, hash);
    if (s == STATUS_OK) s = csv_end(&c, count_record, hash);
    require(s == STATUS_OK || strncmp(error_message(), "fuzz:", 5) == 0);
    csv_close(&c);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    char *text = xmalloc(count ? count : 1);
    size_t whole, pieces;
    if (count) memcpy(text, bytes, count);
    status s = read_pieces(text, count, count ? count : 1, &whole);
    require(read_pieces(text, count, 3, &pieces) == s && whole == pieces);
    free(text);
    return 0;
}
