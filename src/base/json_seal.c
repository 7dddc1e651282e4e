#include "base/json_seal.h"
#include "base/file.h"
#include <inttypes.h>
#include <string.h>

static const char seal[] = "crc64";

cJSON *json_crc(uint64_t crc) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, crc);
    return cJSON_CreateString(text);
}

static cJSON *seal_of(const cJSON *object) {
    char *text = cJSON_PrintUnformatted(object);
    cJSON *crc = json_crc(crc64(0, text, strlen(text)));
    cJSON_free(text);
    return crc;
}

void json_seal(cJSON *object) {
    cJSON_AddItemToObject(object, seal, seal_of(object));
}

status json_check_seal(cJSON *object, const char *path) {
    const char *stored;
    TRY(json_get_string(object, path, seal, &stored));
    cJSON *found = cJSON_DetachItemFromObjectCaseSensitive(object, seal), *expected = seal_of(object);
    status s = strcmp(stored, expected->valuestring) == 0
                   ? STATUS_OK
                   : fail("%s: corrupted: expected CRC-64 %s, found %s", path, stored, expected->valuestring);
    cJSON_Delete(found);
    cJSON_Delete(expected);
    return s;
}
