/* What data.json knows of the files beside it: the names and CRC-64 of all that moec made there.
 *
 * Where a folder has no data.json with checksums (an older one, shards from elsewhere, or a data.json that is not moec's) nothing is
 * checked. */
#ifndef MOEC_TEXT_CHECKSUMS_H
#define MOEC_TEXT_CHECKSUMS_H

#include "base/status.h"
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATA_JSON "data.json"

/* The file at `path` was read into these bytes: are they what moec wrote? A large file that is opened many times is checked
 * once in a process, until it changes. */
status checksums_check(const char *path, const void *bytes, size_t count);
/* Names (not paths) of the files that moec made in the folder and data.json lists, whether they are there or not; free each and
 * the array. None: no checksums. */
status checksums_names(const char *folder, char ***names, size_t *count);
/* Whether the folder's data.json is moec's, whole or damaged, by what only its own have: a seal or checksums. */
bool data_json_is_own(const char *folder);
/* The seed that the folder was made with; 0 where no data.json says it. */
status data_json_seed(const char *folder, uint64_t *seed);

/* For the writer: `files` becomes the member "files" of data.json, which json_seal() closes. */
void checksums_add(cJSON *files, const char *path, uint64_t crc);

#endif
