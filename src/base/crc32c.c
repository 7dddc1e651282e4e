#include "base/crc32c.h"

uint32_t crc32c(const void *bytes, size_t count) {
    uint32_t crc = UINT32_MAX;
    for (const uint8_t *b = bytes, *end = b + count; b < end; b++) {
        crc ^= *b;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}
