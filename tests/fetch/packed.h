/* Bytes as gzip and zstd have them; malloc'ed. */
#ifndef MOEC_TESTS_FETCH_PACKED_H
#define MOEC_TESTS_FETCH_PACKED_H

#include "test.h"
#include <zlib.h>
#include <zstd.h>

static inline uint8_t *gzip_of(const void *bytes, size_t count, size_t *packed) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    *packed = deflateBound(&z, count);
    uint8_t *out = malloc(*packed);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)count;
    z.next_out = out;
    z.avail_out = (uInt)*packed;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *packed -= z.avail_out;
    deflateEnd(&z);
    return out;
}

static inline uint8_t *zstd_of(const void *bytes, size_t count, size_t *packed) {
    *packed = ZSTD_compressBound(count);
    uint8_t *out = malloc(*packed);
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1); /* as the command zstd does */
    *packed = ZSTD_compress2(c, out, *packed, bytes, count);
    assert_false(ZSTD_isError(*packed));
    ZSTD_freeCCtx(c);
    return out;
}

#endif
