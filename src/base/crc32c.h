/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): reflected, polynomial 0x1EDC6F41. For records of some hundred bytes: it goes bit
 * by bit. */
#ifndef MOEC_BASE_CRC32C_H
#define MOEC_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *bytes, size_t count);

#endif
