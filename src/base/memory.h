/* Host memory that is there or does not return.
 *
 * A host allocation of moec is small against the machine (what is large, activations and weights, is device memory, and
 * reports its failure: kernel/kernel.h). So nobody asks whether it succeeded: where memory is out, the call that is under way
 * in this thread is given up as a whole. A program's own thread of work is a call of memory_guarded; where there is none,
 * as in a small tool, the program ends with one line.
 *
 * Only the thread that holds the guard can give up. In parallel regions other threads use malloc and tell the region's
 * thread, which calls memory_out behind the region. */
#ifndef MOEC_BASE_MEMORY_H
#define MOEC_BASE_MEMORY_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *xmalloc(size_t bytes);
void *xcalloc(size_t count, size_t bytes);   /* zeroed */
void *xrealloc(void *pointer, size_t bytes); /* as realloc */
void *xmalloc_large(size_t bytes);           /* of memory_large */
char *xstrdup(const char *string);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2))); /* a new string; free() it */

/* Aligned to a cache line, on huge pages where it is large: fewer page faults and TLB misses. NULL: there is none. free() it. */
void *memory_large(size_t bytes);

/* Run call(context) and return what it returns; or STATUS_FAILED and a message where memory ran out on the way. What the
 * call held then stays allocated, and what it was changing is to be closed and not to be used. */
status memory_guarded(status (*call)(void *context), void *context);
/* Memory is out: does not return. */
void memory_out(size_t bytes) __attribute__((noreturn));

/* For tests: after so many more allocations, of these and of device memory, every one fails; negative: none does. The
 * environment variable MOEC_FAIL_ALLOCATION=N begins a process with the N-th failing. */
void memory_fail_after(int64_t allocations);
/* Counts an allocation: whether it may succeed. Asked by whoever allocates by other means. */
bool memory_allows(void);

void memory_trim(void); /* what was freed goes back to the system, as far as it can */

uint64_t memory_resident(void);   /* bytes of this process that are in memory now; 0 where the system does not say */
uint64_t memory_of_machine(void); /* bytes: more than that is not worth asking for */

#endif
