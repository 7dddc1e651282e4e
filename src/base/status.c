#include "base/status.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 2048 };

static _Thread_local char message[MESSAGE_BYTES];

/* Replaces the message by the formatted text and, behind it, `tail`. Works in a second buffer, since the arguments may
 * point into the old message, and keeps the result to one line. */
static void set_message(const char *format, va_list arguments, const char *separator, const char *tail) {
    char text[MESSAGE_BYTES];
    vsnprintf(text, sizeof text, format, arguments);
    strncat(text, separator, sizeof text - 1 - strlen(text));
    strncat(text, tail, sizeof text - 1 - strlen(text));
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
    memcpy(message, text, strlen(text) + 1);
}

status fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    set_message(format, arguments, "", "");
    va_end(arguments);
    return STATUS_FAILED;
}

status fail_usage(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    set_message(format, arguments, "", "");
    va_end(arguments);
    return STATUS_USAGE;
}

status fail_in(status s, const char *format, ...) {
    if (s == STATUS_OK) return s;
    va_list arguments;
    va_start(arguments, format);
    set_message(format, arguments, ": ", message);
    va_end(arguments);
    return s;
}

const char *error_message(void) {
    return message;
}
