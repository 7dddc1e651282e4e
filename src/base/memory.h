/* Allocation that either succeeds or ends the program with one line: a host allocation of moec is small against the
 * machine; what is large (activations, weights) is device memory and reports its failure (kernel/kernel.h). */
#ifndef MOEC_BASE_MEMORY_H
#define MOEC_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *xmalloc(size_t bytes);
void *xcalloc(size_t count, size_t bytes);   /* zeroed */
void *xrealloc(void *pointer, size_t bytes); /* as realloc */
char *xstrdup(const char *string);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2))); /* a new string; free() it */

uint64_t memory_of_machine(void); /* bytes: more than that is not worth asking for */

#endif
