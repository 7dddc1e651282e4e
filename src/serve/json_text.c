#include "serve/json_text.h"

#include "text/tokenizer_settings.h"
#include <string.h>

void json_add_text(cJSON *object, const char *key, const char *text, size_t bytes) {
    if (!memchr(text, 0, bytes)) {
        cJSON_AddStringToObject(object, key, text);
        return;
    }
    text_buffer quoted = {0};
    text_append_json(&quoted, text, bytes);
    cJSON_AddRawToObject(object, key, quoted.text);
    text_free(&quoted);
}
