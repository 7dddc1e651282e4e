#include "base/json.h"
#include "base/file.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

status json_read_file(const char *path, cJSON **root) {
    uint8_t *bytes;
    size_t count;
    *root = NULL;
    TRY(file_read(path, JSON_MAX_BYTES, &bytes, &count));
    const char *text = (const char *)bytes, *stop = memchr(text, 0, count); /* cJSON would pass over what follows */
    if (!stop) *root = cJSON_ParseWithLengthOpts(text, count + 1, &stop, 1);
    status s = STATUS_OK;
    if (!*root) {
        int line = 1;
        for (const char *c = text; stop && c < stop; c++) line += *c == '\n';
        s = fail("%s: not valid JSON, line %d", path, line);
    }
    free(bytes);
    return s;
}

status json_write_file(const char *path, const cJSON *root) {
    char *text = cJSON_Print(root);
    if (!text) return fail("%s: cannot format the JSON", path);
    file_writer w;
    status s = file_create(&w, path);
    if (s == STATUS_OK) {
        file_write(&w, text, strlen(text));
        file_write(&w, "\n", 1);
        s = file_commit(&w);
    }
    cJSON_free(text);
    return s;
}

static const char *type_name(const cJSON *item) {
    if (!item) return "nothing";
    if (cJSON_IsObject(item)) return "an object";
    if (cJSON_IsArray(item)) return "an array";
    if (cJSON_IsString(item)) return "a string";
    if (cJSON_IsNumber(item)) return "a number";
    return cJSON_IsBool(item) ? "a boolean" : "null";
}

static status expected(const cJSON *item, const char *where, const char *key, const char *what) {
    return fail("%s: \"%s\": expected %s, found %s", where, key, what, type_name(item));
}

status json_get_int(const cJSON *object, const char *where, const char *key, int64_t *value) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item)) return expected(item, where, key, "an integer");
    double number = item->valuedouble; /* cJSON keeps every number as a double: integers are exact up to 2^53 */
    if (number != floor(number) || fabs(number) > 0x1p53)
        return fail("%s: \"%s\": expected an integer within 2^53, found %.17g", where, key, number);
    *value = (int64_t)number;
    return STATUS_OK;
}

status json_get_double(const cJSON *object, const char *where, const char *key, double *value) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item)) return expected(item, where, key, "a number");
    *value = item->valuedouble;
    return STATUS_OK;
}

status json_get_bool(const cJSON *object, const char *where, const char *key, bool *value) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsBool(item)) return expected(item, where, key, "true or false");
    *value = cJSON_IsTrue(item);
    return STATUS_OK;
}

status json_get_string(const cJSON *object, const char *where, const char *key, const char **value) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsString(item)) return expected(item, where, key, "a string");
    *value = item->valuestring;
    return STATUS_OK;
}
