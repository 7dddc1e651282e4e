/* The JSON of a request's body, within bounds: UTF-8 without NUL, one object, no deeper than JSON_SCAN_DEPTH, and of no
 * more values than BODY_VALUES, so that the tree is never larger than some sixteen megabytes whatever the bytes are. And
 * reading its members, with errors that name the whole way to them. */
#ifndef MOEC_SERVE_BODY_H
#define MOEC_SERVE_BODY_H

#include "serve/api_error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BODY_VALUES = 1 << 18 };
status body_parse(cJSON **json, const char *text, size_t bytes, api_error *e); /* cJSON_Delete it */

/* The way to a value, for messages: "messages[2].content"; cut where it is longer than anybody's. */
enum { WAY_BYTES = 96 };
const char *way_to(char way[WAY_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* An object of the body and where it stands: "" for the body itself, "moec" for what is in its member `moec`. */
typedef struct members {
    const cJSON *object;
    const char *where;
    api_error *e;
} members;

/* A member that is there and is not null: that is how clients write what they leave out. */
const cJSON *member(const members *m, const char *key);
/* Each leaves *value as it is, a default, where there is no such member, and refuses one of another type or outside the
 * range. */
status member_bool(const members *m, const char *key, bool *value);
status member_integer(const members *m, const char *key, int64_t least, int64_t most, int64_t *value);
status member_number(const members *m, const char *key, double least, double most, double *value);
status member_text(const members *m, const char *key, const char **value); /* lives as long as the tree */
status member_object(const members *m, const char *key, const cJSON **value);
status member_array(const members *m, const char *key, const cJSON **value);

/* Refuses a value: "KEY: expected EXPECTED, found WHAT". key: the whole way to it. */
status value_refuse(api_error *e, const char *key, const cJSON *value, const char *expected, ...)
    __attribute__((format(printf, 4, 5)));
/* A whole number of that range. */
bool value_is_integer(const cJSON *value, int64_t least, int64_t most);

#endif
