#include "eval/assignment.h"

#include "base/memory.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* n ≤ m; indices from 1, so that 0 is "none". cost(i, j) ≥ u_i + v_j always, with equality on the assignment. */
typedef struct hungarian {
    int n, m;
    const double *worth; /* [n, m], or [m, n] where transposed */
    bool transposed;
    double *u, *v; /* [n + 1], [m + 1] potentials */
    int *row_of;   /* [m + 1] the row that has column j */
    int *before;   /* [m + 1] the column before j on the path that is looked for */
    double *slack; /* [m + 1] the least cost(i, j) − u_i − v_j over the rows reached */
    bool *reached; /* [m + 1] */
} hungarian;

static double cost(const hungarian *h, int i, int j) {
    const int row = h->transposed ? j - 1 : i - 1, column = h->transposed ? i - 1 : j - 1;
    return -h->worth[row * (h->transposed ? h->n : h->m) + column];
}

/* Reach the free or next column of least slack from the one reached last; the potentials move by that slack. */
static int reach(hungarian *h, int last) {
    const int i = h->row_of[last];
    int next = 0;
    double least = INFINITY;
    h->reached[last] = true;
    for (int j = 1; j <= h->m; j++) {
        if (h->reached[j]) continue;
        const double reduced = cost(h, i, j) - h->u[i] - h->v[j];
        if (reduced < h->slack[j]) {
            h->slack[j] = reduced;
            h->before[j] = last;
        }
        if (h->slack[j] < least) {
            least = h->slack[j];
            next = j;
        }
    }
    for (int j = 0; j <= h->m; j++) {
        if (h->reached[j]) {
            h->u[h->row_of[j]] += least;
            h->v[j] -= least;
        } else {
            h->slack[j] -= least;
        }
    }
    return next;
}

/* One row more gets a column; others on the shortest path to a free one change theirs. */
static void add_row(hungarian *h, int i) {
    int j = 0;
    h->row_of[0] = i;
    for (int c = 0; c <= h->m; c++) {
        h->slack[c] = INFINITY;
        h->reached[c] = false;
    }
    while (h->row_of[j] != 0) j = reach(h, j);
    for (; j != 0; j = h->before[j]) h->row_of[j] = h->row_of[h->before[j]];
}

void best_assignment(const double *worth, int rows, int columns, int *column) {
    hungarian h = {.worth = worth, .transposed = rows > columns};
    h.n = h.transposed ? columns : rows;
    h.m = h.transposed ? rows : columns;
    h.u = xcalloc((size_t)h.n + 1, sizeof *h.u);
    h.v = xcalloc((size_t)h.m + 1, sizeof *h.v);
    h.row_of = xcalloc((size_t)h.m + 1, sizeof *h.row_of);
    h.before = xcalloc((size_t)h.m + 1, sizeof *h.before);
    h.slack = xcalloc((size_t)h.m + 1, sizeof *h.slack);
    h.reached = xcalloc((size_t)h.m + 1, sizeof *h.reached);
    for (int i = 1; i <= h.n; i++) add_row(&h, i);
    for (int i = 0; i < rows; i++) column[i] = -1;
    for (int j = 1; j <= h.m; j++) {
        if (h.row_of[j] == 0) continue;
        if (h.transposed)
            column[j - 1] = h.row_of[j] - 1;
        else
            column[h.row_of[j] - 1] = j - 1;
    }
    free(h.u);
    free(h.v);
    free(h.row_of);
    free(h.before);
    free(h.slack);
    free(h.reached);
}
