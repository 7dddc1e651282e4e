/* Small helpers over cJSON: files in and out, and reading with errors that name the file and the key.
 *
 * cJSON writes a number with 15 digits when that is within one unit in the last place: integers are exact up to 10^15,
 * doubles nearly so. What must come back bit for bit (random states, 64-bit checksums) goes in as a string. */
#ifndef MOEC_BASE_JSON_H
#define MOEC_BASE_JSON_H

#include "base/status.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum { JSON_MAX_BYTES = 64 << 20 }; /* of a file that is read: a vocabulary is the largest that there is */
status json_read_file(const char *path, cJSON **root);       /* cJSON_Delete it */
status json_write_file(const char *path, const cJSON *root); /* indented, atomically */

/* Required members; `where` is the file's name for the message. */
status json_get_int(const cJSON *object, const char *where, const char *key, int64_t *value);
status json_get_double(const cJSON *object, const char *where, const char *key, double *value);
status json_get_bool(const cJSON *object, const char *where, const char *key, bool *value);
status json_get_string(const cJSON *object, const char *where, const char *key, const char **value);

#endif
