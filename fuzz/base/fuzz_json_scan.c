/* Any bytes as JSON: nothing is read beyond them, no string becomes longer than it stands there, and what is passed over as a
 * string, a number or a value is the same for every way of reading it. */
#include "base/json_scan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void check(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    char *text = malloc(count ? count : 1), *decoded = malloc(count + 1);
    uint64_t size;
    double real;
    if (count) memcpy(text, bytes, count);
    json_scan skipped = {text, text + count}, string = skipped, number = skipped, any = skipped;
    bool value = json_scan_skip(&skipped);
    check(skipped.next >= text && skipped.next <= text + count);
    if (json_scan_string(&string, decoded)) {
        check(value && string.next == skipped.next);
        check(strlen(decoded) + 2 <= (size_t)(string.next - text));
    }
    if (json_scan_size(&number, &size)) {
        check(value && number.next == skipped.next);
        check(size <= UINT64_C(1) << 53);
    }
    if (json_scan_number(&any, &real)) check(value && any.next == skipped.next && real - real == 0);
    free(decoded);
    free(text);
    return 0;
}
