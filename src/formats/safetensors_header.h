/* The JSON header of a safetensors file, to entries; private to formats/safetensors*.c. */
#ifndef MOEC_FORMATS_SAFETENSORS_HEADER_H
#define MOEC_FORMATS_SAFETENSORS_HEADER_H

#include "formats/safetensors.h"

#define SAFETENSORS_METADATA_KEY "__metadata__"

/* "F32" */
const char *safetensors_type_name(dtype type);

/* Fill s->tensors, in the header's order, and s->names. Each entry's offsets lie within the data and hold its shape. A header
 * takes memory of about twice its size, whatever it says. s is safetensors_close'd either way. */
status safetensors_parse_header(safetensors *s, const char *header, size_t bytes, const uint8_t *data,
                                size_t data_bytes);

#endif
