/* Small helpers over cJSON: files in and out, and reading with errors that name the file and the key. */
#ifndef MOEC_BASE_JSON_H
#define MOEC_BASE_JSON_H

#include "base/status.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

status json_read_file(const char *path, cJSON **root);       /* cJSON_Delete it */
status json_write_file(const char *path, const cJSON *root); /* indented, atomically */

/* Required members; `where` is the file's name for the message. */
status json_get_int(const cJSON *object, const char *where, const char *key, int64_t *value);
status json_get_double(const cJSON *object, const char *where, const char *key, double *value);
status json_get_bool(const cJSON *object, const char *where, const char *key, bool *value);
status json_get_string(const cJSON *object, const char *where, const char *key, const char **value);

#endif
