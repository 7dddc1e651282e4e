/* What happens between attempts (http.h). */
#include "base/memory.h"
#include "base/progress.h"
#include "fetch/http.h"
#include <stdlib.h>
#include <time.h>

enum { POLL_MILLISECONDS = 50 }; /* how long an interrupt may wait */

static status sleep_for(double seconds) {
    const struct timespec slice = {.tv_nsec = POLL_MILLISECONDS * 1000000L};
    for (double end = clock_seconds() + seconds; clock_seconds() < end;) {
        if (interrupt_requested()) return fail("interrupted while waiting"), STATUS_INTERRUPTED;
        nanosleep(&slice, NULL);
    }
    return STATUS_OK;
}

status http_again(http_client *c, const http_response *r, int attempt, double *seconds) {
    if (attempt >= c->attempts)
        return attempt > 1 ? fail_in(STATUS_FAILED, "given up after %d attempts", attempt) : STATUS_FAILED;
    if (r->wait > c->most_wait_seconds)
        return fail("%s; the server asks to wait %g seconds, which is more than %g", error_message(), r->wait,
                    c->most_wait_seconds);
    double pause = c->pause_seconds;
    for (int i = 1; i < attempt && pause < c->most_pause_seconds; i++) pause *= 2;
    if (pause > c->most_pause_seconds) pause = c->most_pause_seconds;
    *seconds = r->wait > pause ? r->wait : pause;
    char *line = xasprintf("%s; attempt %d of %d in %.3g s", error_message(), attempt + 1, c->attempts, *seconds);
    if (c->note) c->note(c->note_context, line);
    free(line);
    return STATUS_OK;
}

status http_pause(http_client *c, const http_response *r, int attempt) {
    double seconds;
    TRY(http_again(c, r, attempt, &seconds));
    return sleep_for(seconds);
}

status http_send(http_client *c, const http_request *q, http_response *r) {
    for (int attempt = 1;; attempt++) {
        status s = http_attempt(c, q, r);
        if (s == STATUS_OK || !r->again || (q->receive && r->bytes > 0)) return s;
        TRY(http_pause(c, r, attempt));
        http_response_clear(r);
    }
}
