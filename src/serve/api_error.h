/* What a request is refused with: an HTTP status and OpenAI's
 *     {"error": {"message": "max_tokens: expected …, found …", "type": "invalid_request_error", "param": "max_tokens",
 *                "code": null}}
 * One line that names the key, what was expected and what was found; the texts of a request are never in it beyond the
 * few bytes of the value that did not fit. */
#ifndef MOEC_SERVE_API_ERROR_H
#define MOEC_SERVE_API_ERROR_H

#include "base/status.h"
#include <cjson/cJSON.h>

enum {
    HTTP_OK = 200,
    HTTP_NO_CONTENT = 204,
    HTTP_BAD_REQUEST = 400,
    HTTP_UNAUTHORIZED = 401,
    HTTP_FORBIDDEN = 403,
    HTTP_NOT_FOUND = 404,
    HTTP_METHOD_NOT_ALLOWED = 405,
    HTTP_REQUEST_TIMEOUT = 408,
    HTTP_TOO_LARGE = 413,
    HTTP_UNSUPPORTED_TYPE = 415,
    HTTP_MISDIRECTED = 421,
    HTTP_TOO_MANY = 429,
    HTTP_INTERNAL = 500,
    HTTP_NOT_IMPLEMENTED = 501,
    HTTP_UNAVAILABLE = 503
};

typedef struct api_error {
    int http;          /* 0: none yet */
    char param[96];    /* the key, such as `messages[2].content`; "": none in particular */
    const char *code;  /* OpenAI's word for it, such as "model_not_found"; NULL: none */
    char message[400]; /* UTF-8 */
} api_error;

/* Sets e, and gives STATUS_FAILED with the same message. param NULL: none; else it begins the message. */
status api_refuse(api_error *e, int http, const char *param, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for what another floor has failed with: its error_message(). */
status api_refuse_failure(api_error *e, int http, const char *param);
status api_refuse_code(api_error *e, const char *code); /* names it, of an error that is set */

cJSON *api_error_json(const api_error *e);
const char *api_error_type(int http); /* OpenAI's word for such errors */

#endif
