/* Rows of a text that nobody trains on: the middles of equal parts of it. */
#ifndef MOEC_TEXT_KEPT_ROWS_H
#define MOEC_TEXT_KEPT_ROWS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct kept_rows {
    int64_t rows; /* of the text */
    int64_t kept; /* of them; at most one in KEPT_ROWS_SHARE */
} kept_rows;

enum { KEPT_ROWS_SHARE = 50 };

static inline kept_rows kept_rows_of(int64_t rows, int64_t wanted) {
    const int64_t most = rows / KEPT_ROWS_SHARE;
    return (kept_rows){.rows = rows, .kept = wanted < most ? wanted : most};
}

/* The i-th of them: the middle of the i-th of `kept` equal parts. */
static inline int64_t kept_row(const kept_rows *k, int64_t i) {
    return (int64_t)((__int128)(2 * i + 1) * k->rows / (2 * k->kept));
}

static inline bool row_is_kept(const kept_rows *k, int64_t row) {
    return k->kept > 0 && kept_row(k, (int64_t)((__int128)row * k->kept / k->rows)) == row;
}

/* The i-th of the other rows. */
static inline int64_t other_row(const kept_rows *k, int64_t i) {
    int64_t low = 0, behind = k->kept; /* how many kept rows lie before it */
    while (low < behind) {
        const int64_t middle = low + (behind - low) / 2;
        if (kept_row(k, middle) - middle <= i)
            low = middle + 1;
        else
            behind = middle;
    }
    return i + low;
}

#endif
