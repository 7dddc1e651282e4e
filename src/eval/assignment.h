/* Who gets what: one-to-one, so that the sum of what the pairs are worth is largest. */
#ifndef MOEC_EVAL_ASSIGNMENT_H
#define MOEC_EVAL_ASSIGNMENT_H

/* column [rows] of each row, all different; −1 where there are fewer columns than rows and the row is left without. worth
 * [rows, columns]. The Hungarian method with potentials (Kuhn 1955, Munkres 1957), O(n²m) for n ≤ m. Of equal assignments it is always
 * the same one. */
void best_assignment(const double *worth, int rows, int columns, int *column);

#endif
