/* Any bytes are refused with a message, or all that can be read of them are tokens of the vocabulary with logarithms of
 * probabilities, and behind them none. Read once as they are and once with mended checksums, or little would get past them. */
#include "base/memory.h"
#include "text/teacher_format.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VOCABULARY = 300 };

static void require(bool condition) {
    if (!condition) abort();
}

static void mend(uint8_t *bytes, size_t count) {
    teacher_file f = {.path = (char *)"mend"};
    if (count < TEACHER_HEADER_BYTES) return;
    const size_t behind = TEACHER_HEADER_BYTES - TEACHER_CRC_BYTES;
    little_put(bytes + behind, crc64(0, bytes, behind), TEACHER_CRC_BYTES);
    if (teacher_header_read(&f, bytes, count) != STATUS_OK) return;
    if (count != (size_t)teacher_file_bytes(&f.facts, f.tokens)) return;
    uint8_t *at = bytes + TEACHER_HEADER_BYTES;
    for (int64_t first = 0; first < f.tokens; first += TEACHER_BLOCK_RECORDS) {
        const int64_t left = f.tokens - first, records = left < TEACHER_BLOCK_RECORDS ? left : TEACHER_BLOCK_RECORDS;
        const size_t size = (size_t)(teacher_block_bytes(&f.facts, records) - TEACHER_CRC_BYTES);
        little_put(at + size, teacher_block_crc(f.seed, first / TEACHER_BLOCK_RECORDS, at, size), TEACHER_CRC_BYTES);
        at += size + TEACHER_CRC_BYTES;
    }
}

static void read_all(teacher_file *f) {
    int32_t ids[TEACHER_MAX_TOP];
    float log_probs[TEACHER_MAX_TOP], rest;
    for (int64_t i = 0; i < f->tokens; i++) {
        if (teacher_file_read(f, i, 1, VOCABULARY, ids, log_probs, &rest) != STATUS_OK) continue;
        bool there = true;
        for (int j = 0; j < f->facts.k; j++) {
            there = there && ids[j] >= 0;
            require(there ? ids[j] < VOCABULARY && log_probs[j] <= 0 && isfinite(log_probs[j]) : ids[j] == -1);
        }
        require(rest <= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    uint8_t *copy = xmalloc(count + 1);
    if (count) memcpy(copy, bytes, count);
    for (int mended = 0; mended < 2; mended++) {
        teacher_file f;
        if (mended) mend(copy, count);
        if (teacher_file_parse(&f, "fuzz", copy, count) == STATUS_OK) {
            read_all(&f);
            teacher_file_close(&f);
        } else {
            require(strncmp(error_message(), "fuzz: ", 6) == 0);
        }
    }
    free(copy);
    return 0;
}
