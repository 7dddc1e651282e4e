/* Texts as JSON strings with their length, since models write NULs too, at which cJSON's own strings end. */
#ifndef MOEC_SERVE_JSON_TEXT_H
#define MOEC_SERVE_JSON_TEXT_H

#include <cjson/cJSON.h>
#include <stddef.h>

/* text: UTF-8 */
void json_add_text(cJSON *object, const char *key, const char *text, size_t bytes);

#endif
