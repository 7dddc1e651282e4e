/* Work of somebody else's that knows nothing of interrupts and ends its process when something is wrong: done by a child,
 * it can be stopped at any moment, and whatever it does to its process the caller gets a status. */
#ifndef MOEC_BASE_CHILD_H
#define MOEC_BASE_CHILD_H

#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

/* Runs in the child, on a copy of the caller's memory; *bytes is malloc'ed. */
typedef status (*child_work)(void *context, uint8_t **bytes, size_t *count);

/* The work's bytes (malloc'ed, with a NUL behind), or its status and message. `what` names the work in other messages.
 * After an interrupt (base/progress.h) the child is killed, and STATUS_INTERRUPTED returned. */
status child_run(const char *what, child_work work, void *context, uint8_t **bytes, size_t *count);

#endif
