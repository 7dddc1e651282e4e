#include "base/nearest.h"
#include <string.h>

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

size_t edit_distance(const char *a, const char *b) {
    size_t rows = strnlen(a, NEAREST_MAX_LENGTH), columns = strnlen(b, NEAREST_MAX_LENGTH);
    size_t distance[NEAREST_MAX_LENGTH + 1]; /* from the first i bytes of a to the first j of b; one row at a time */
    for (size_t j = 0; j <= columns; j++) distance[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = distance[0];
        distance[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = distance[j];
            distance[j] = smaller(substituted, smaller(distance[j], distance[j - 1]) + 1);
        }
    }
    return distance[columns];
}

void nearest_offer(nearest *n, const char *name) {
    size_t distance = edit_distance(n->word, name);
    if (n->name && distance >= n->distance) return;
    n->name = name;
    n->distance = distance;
}
