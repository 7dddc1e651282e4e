#include "base/lzma_dictionary.h"
#include "base/memory.h"
#include "eval/bpb.h"
#include <lzma.h>
#include <stdlib.h>

status xz_bits_per_byte(const uint8_t *text, size_t bytes, double *out) {
    if (bytes == 0) return fail("xz: expected text to compress, found none");
    lzma_options_lzma options;
    lzma_lzma_preset(&options, 9 | LZMA_PRESET_EXTREME);
    options.dict_size = lzma_dictionary(bytes, 1 << 20, options.dict_size);
    lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};
    size_t bound = lzma_stream_buffer_bound(bytes), size = 0;
    uint8_t *compressed = xmalloc(bound);
    lzma_ret result = lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC64, NULL, text, bytes, compressed, &size, bound);
    free(compressed);
    if (result != LZMA_OK) return fail("xz: compressing %zu bytes failed (liblzma error %d)", bytes, (int)result);
    *out = 8.0 * (double)size / (double)bytes;
    return STATUS_OK;
}
