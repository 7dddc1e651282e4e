/* How every function of moec reports failure.
 *
 * A fallible function returns a status; on failure it has put one line into the thread's error message that names the
 * file, the key or the tensor, what was expected and what was found. Only cli/ prints it; nothing below cli/ exits. */
#ifndef MOEC_BASE_STATUS_H
#define MOEC_BASE_STATUS_H

/* The values are the command's exit codes. */
typedef enum status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,       /* bad input, no space, a loss that is not finite, ... */
    STATUS_USAGE = 2,        /* the command line or a configuration key is wrong */
    STATUS_INTERRUPTED = 130 /* Ctrl-C: the step was finished and saved */
} status;

/* Record a printf-style message and return STATUS_FAILED / STATUS_USAGE, so that callers write `return fail(...)`. */
status fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
status fail_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Put "context: " in front of the message (a path, a layer) and return s unchanged. */
status fail_in(status s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The last message of this thread; "" when nothing failed. */
const char *error_message(void);

#define TRY(expression)                                                                                                \
    do {                                                                                                               \
        status try_status_ = (expression);                                                                             \
        if (try_status_ != STATUS_OK) return try_status_;                                                              \
    } while (0)

#endif
