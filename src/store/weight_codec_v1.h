/* The codes of version 1's artifacts: reading alone. */
#ifndef MOEC_STORE_WEIGHT_CODEC_V1_H
#define MOEC_STORE_WEIGHT_CODEC_V1_H

#include "base/status.h"
#include "tensor/quantized.h"
#include <stddef.h>
#include <stdint.h>

/* As weights_decode (weight_codec.h), of a matrix with a scale a row. */
status weights_decode_v1(quantized *q, const uint8_t *bytes, size_t count);

#endif
