/* Members of foreign JSON objects, found where they lie: what is large (vocabularies) is then scanned in place, what is small and
 * nested becomes a tree. */
#ifndef MOEC_TEXT_JSON_FIELDS_H
#define MOEC_TEXT_JSON_FIELDS_H

#include "base/json_scan.h"
#include "base/status.h"
#include <cjson/cJSON.h>

typedef struct json_field {
    const char *key;
    json_scan value; /* next is NULL: absent. From its first byte to behind its last */
} json_field;

enum { JSON_TREE_BYTES = 4 << 20 };

/* Fills in the values of the named members; others are passed over. A member that stands twice is refused. `what` names the
 * object in messages. */
status json_fields(json_scan object, json_field *fields, int count, const char *where, const char *what);
bool json_is_absent(const json_field *f); /* or null */
/* What stands there, for messages: its first bytes, which in place have no end. */
typedef struct json_shown {
    char text[24];
} json_shown;
json_shown json_show(json_scan at);
/* A tree of at most JSON_TREE_BYTES; cJSON_Delete it. NULL where the field is absent or null. */
status json_field_tree(const json_field *f, cJSON **tree, const char *where);
/* true or false; *value stays as it is, a default, where the field is absent or null. */
status json_field_bool(const json_field *f, bool *value, const char *where);
/* A new string; NULL where the field is absent or null. */
status json_field_string(const json_field *f, char **value, const char *where);

#endif
