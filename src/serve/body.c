#include "serve/body.h"

#include "base/json_scan.h"
#include "text/utf8.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the whole ---- */

/* Not less than the values of valid JSON: each but the first stands behind a comma, a colon or what opens a list. */
static size_t count_values(const char *text, size_t bytes) {
    size_t values = 1;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted)
            values += c == ',' || c == ':' || c == '[' || c == '{';
    }
    return values;
}

static status refuse_json(api_error *e, const char *expected, size_t at) {
    return api_refuse(e, HTTP_BAD_REQUEST, NULL, "the body: expected %s, found something else at byte offset %zu",
                      expected, at);
}

status body_parse(cJSON **json, const char *text, size_t bytes, api_error *e) {
    const size_t valid = utf8_valid_prefix(text, bytes);
    json_scan s = {.next = text, .end = text + bytes};
    *json = NULL;
    if (bytes == 0) return api_refuse(e, HTTP_BAD_REQUEST, NULL, "the body: expected a JSON object, found nothing");
    if (valid < bytes) return refuse_json(e, "UTF-8 text", valid);
    if (json_scan_peek(&s) != '{') return refuse_json(e, "a JSON object", (size_t)(s.next - text));
    if (!json_scan_skip(&s) || !json_scan_at_end(&s))
        return refuse_json(e, "JSON without \\u0000 and no deeper than 64 values", (size_t)(s.next - text));
    const size_t values = count_values(text, bytes);
    if (values > BODY_VALUES)
        return api_refuse(e, HTTP_TOO_LARGE, NULL, "the body: expected at most %d values, found %zu", BODY_VALUES,
                          values);
    *json = cJSON_ParseWithLength(text, bytes);
    return *json ? STATUS_OK : refuse_json(e, "JSON that a double's digits are enough for", 0);
}

/* ---- what was found ---- */

static void describe(const cJSON *value, char *text, size_t bytes) {
    if (cJSON_IsString(value)) {
        char part[41];
        snprintf(part, sizeof part, "%s", value->valuestring);
        part[utf8_valid_prefix(part, strlen(part))] = '\0';
        for (char *c = part; *c; c++)
            if ((unsigned char)*c < ' ') *c = ' ';
        snprintf(text, bytes, "\"%s%s\"", part, strlen(part) < strlen(value->valuestring) ? "..." : "");
    } else if (cJSON_IsNumber(value)) {
        snprintf(text, bytes, "%.15g", value->valuedouble);
    } else {
        snprintf(text, bytes, "%s",
                 cJSON_IsObject(value)  ? "an object"
                 : cJSON_IsArray(value) ? "an array"
                 : cJSON_IsTrue(value)  ? "true"
                 : cJSON_IsFalse(value) ? "false"
                                        : "null");
    }
}

status value_refuse(api_error *e, const char *key, const cJSON *value, const char *expected, ...) {
    char wanted[200], found[80];
    va_list arguments;
    va_start(arguments, expected);
    vsnprintf(wanted, sizeof wanted, expected, arguments);
    va_end(arguments);
    describe(value, found, sizeof found);
    return api_refuse(e, HTTP_BAD_REQUEST, key, "expected %s, found %s", wanted, found);
}

/* ---- members ---- */

const char *way_to(char way[WAY_BYTES], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(way, WAY_BYTES, format, arguments);
    va_end(arguments);
    return way;
}

const cJSON *member(const members *m, const char *key) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(m->object, key);
    return value && !cJSON_IsNull(value) ? value : NULL;
}

#define REFUSE(m, key, value, ...)                                                                                     \
    do {                                                                                                               \
        char way_[WAY_BYTES];                                                                                          \
        return value_refuse((m)->e, way_to(way_, "%s%s%s", (m)->where, *(m)->where ? "." : "", key), value,            \
                            __VA_ARGS__);                                                                              \
    } while (0)

status member_bool(const members *m, const char *key, bool *value) {
    const cJSON *found = member(m, key);
    if (!found) return STATUS_OK;
    if (!cJSON_IsBool(found)) REFUSE(m, key, found, "true or false");
    *value = cJSON_IsTrue(found);
    return STATUS_OK;
}

bool value_is_integer(const cJSON *value, int64_t least, int64_t most) {
    if (!cJSON_IsNumber(value)) return false;
    const double number = value->valuedouble;
    return isfinite(number) && number == floor(number) && number >= (double)least && number <= (double)most;
}

status member_integer(const members *m, const char *key, int64_t least, int64_t most, int64_t *value) {
    const cJSON *found = member(m, key);
    if (!found) return STATUS_OK;
    if (!value_is_integer(found, least, most))
        REFUSE(m, key, found, "a whole number from %lld to %lld", (long long)least, (long long)most);
    *value = (int64_t)found->valuedouble;
    return STATUS_OK;
}

status member_number(const members *m, const char *key, double least, double most, double *value) {
    const cJSON *found = member(m, key);
    if (!found) return STATUS_OK;
    if (!cJSON_IsNumber(found) || !(found->valuedouble >= least && found->valuedouble <= most))
        REFUSE(m, key, found, "a number from %g to %g", least, most);
    *value = found->valuedouble;
    return STATUS_OK;
}

status member_text(const members *m, const char *key, const char **value) {
    const cJSON *found = member(m, key);
    if (!found) return STATUS_OK;
    if (!cJSON_IsString(found)) REFUSE(m, key, found, "a text");
    *value = found->valuestring;
    return STATUS_OK;
}

status member_object(const members *m, const char *key, const cJSON **value) {
    const cJSON *found = member(m, key);
    if (!found) return STATUS_OK;
    if (!cJSON_IsObject(found)) REFUSE(m, key, found, "an object");
    *value = found;
    return STATUS_OK;
}

status member_array(const members *m, const char *key, const cJSON **value) {
    const cJSON *found = member(m, key);
    if (!found) return STATUS_OK;
    if (!cJSON_IsArray(found)) REFUSE(m, key, found, "an array");
    *value = found;
    return STATUS_OK;
}
