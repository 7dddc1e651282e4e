/* Base64 (RFC 4648, with padding) of what OpenAI's client asks embeddings in: float32, the low byte first. */
#ifndef MOEC_SERVE_BASE64_H
#define MOEC_SERVE_BASE64_H

#include <stddef.h>

char *base64_encode(const void *bytes, size_t count); /* a new string */
char *base64_floats(const float *values, size_t count);

#endif
