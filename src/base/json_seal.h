/* JSON that knows when it is damaged: its member "crc64" is the CRC-64 of the object without it, printed without spaces. */
#ifndef MOEC_BASE_JSON_SEAL_H
#define MOEC_BASE_JSON_SEAL_H

#include "base/json.h"

cJSON *json_crc(uint64_t crc); /* 16 hexadecimal digits: as a number it would not come back exactly */
void json_seal(cJSON *object); /* adds "crc64" */
/* Takes "crc64" out again and compares; `path` is for the message. */
status json_check_seal(cJSON *object, const char *path);

#endif
