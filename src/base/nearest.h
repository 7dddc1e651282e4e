/* "Did you mean …": the known name that is nearest to what somebody typed. */
#ifndef MOEC_BASE_NEAREST_H
#define MOEC_BASE_NEAREST_H

#include <stddef.h>

/* Levenshtein distance: insertions, deletions and substitutions of bytes that turn a into b. Only the first
 * NEAREST_MAX_LENGTH bytes of each are looked at. */
enum { NEAREST_MAX_LENGTH = 64 };
size_t edit_distance(const char *a, const char *b);

/* Keeps the nearest of the names offered one by one; the first wins a tie. Start with {.word = …}. */
typedef struct nearest {
    const char *word;
    const char *name; /* NULL until something was offered */
    size_t distance;
} nearest;
void nearest_offer(nearest *n, const char *name);

#endif
