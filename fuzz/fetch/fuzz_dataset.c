/* Any bytes as a viewer's answer: a page, whose rows become lines of one JSON object each, or a list of splits. */
#include "base/json_scan.h"
#include "base/memory.h"
#include "fetch/dataset.h"
#include "fetch/mend.h"
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

static void check_row(const char *row, size_t bytes) {
    row_form f;
    char *text;
    size_t count;
    bool empty = false;
    FILE *out = open_memstream(&text, &count);
    require(row_form_open(&f, NULL) == STATUS_OK);
    status s = row_choose(&f, row, bytes, "fuzz");
    if (s == STATUS_OK && bytes % 2) {
        row_form_close(&f);
        s = row_form_open(&f, "text,messages,n");
    }
    if (s == STATUS_OK) s = row_write(&f, row, bytes, "fuzz", out, &empty);
    fclose(out);
    require(s == STATUS_OK || strncmp(error_message(), "fuzz: ", 6) == 0);
    require((s == STATUS_OK && !empty) == (count > 0));
    if (count > 0) {
        json_scan line = {text, text + count};
        require(text[count - 1] == '\n' && memchr(text, '\n', count) == text + count - 1);
        require(json_scan_peek(&line) == '{' && json_scan_skip(&line) && json_scan_at_end(&line));
    }
    free(text);
    row_form_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    char *text = xmalloc(count ? count : 1); /* exactly as long, so that a sanitizer sees every byte beyond the end */
    dataset_page *page = xmalloc(sizeof *page);
    char *config = NULL, *split = NULL;
    if (count) memcpy(text, bytes, count);
    mend_utf8(text, count);
    mend_escapes(text, count);
    require(mend_utf8(text, count) + mend_escapes(text, count) == 0);
    if (dataset_parse_page(page, text, count, "fuzz") == STATUS_OK)
        for (int i = 0; i < page->count; i++) {
            require(page->rows[i].text >= text && page->rows[i].text + page->rows[i].bytes <= text + count);
            check_row(page->rows[i].text, page->rows[i].bytes);
        }
    if (dataset_parse_splits(text, count, "fuzz", &config, &split) == STATUS_OK) require(config && split);
    check_row(text, count);
    free(config);
    free(split);
    free(page);
    free(text);
    return 0;
}
