#include "serve/api_error.h"

#include "base/memory.h"
#include "text/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whatever bytes it was made of, the message is UTF-8 and has no character cut in two at its end. */
static void set_message(api_error *e, const char *param, const char *text) {
    char *whole = param && *param ? xasprintf("%s: %s", param, text) : xstrdup(text), *mended = utf8_mended(whole);
    snprintf(e->message, sizeof e->message, "%s", mended);
    e->message[utf8_valid_prefix(e->message, strlen(e->message))] = '\0';
    snprintf(e->param, sizeof e->param, "%s", param ? param : "");
    free(mended);
    free(whole);
}

status api_refuse(api_error *e, int http, const char *param, const char *format, ...) {
    char text[sizeof e->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    *e = (api_error){.http = http};
    set_message(e, param, text);
    return fail("%s", e->message);
}

status api_refuse_failure(api_error *e, int http, const char *param) {
    *e = (api_error){.http = http};
    set_message(e, param, error_message());
    return STATUS_FAILED;
}

status api_refuse_code(api_error *e, const char *code) {
    e->code = code;
    return STATUS_FAILED;
}

const char *api_error_type(int http) {
    switch (http) {
    case HTTP_UNAUTHORIZED:
        return "authentication_error";
    case HTTP_FORBIDDEN:
        return "permission_error";
    case HTTP_NOT_FOUND:
        return "not_found_error";
    case HTTP_TOO_MANY:
        return "rate_limit_error";
    default:
        return http >= HTTP_INTERNAL ? "server_error" : "invalid_request_error";
    }
}

cJSON *api_error_json(const api_error *e) {
    cJSON *json = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(json, "error");
    cJSON_AddStringToObject(error, "message", e->message);
    cJSON_AddStringToObject(error, "type", api_error_type(e->http));
    cJSON_AddItemToObject(error, "param", *e->param ? cJSON_CreateString(e->param) : cJSON_CreateNull());
    cJSON_AddItemToObject(error, "code", e->code ? cJSON_CreateString(e->code) : cJSON_CreateNull());
    return json;
}
