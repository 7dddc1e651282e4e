/* Numbers in order, and the middle of them. */
#ifndef MOEC_STUDY_ORDER_H
#define MOEC_STUDY_ORDER_H

void sort_ascending(double *values, int count);
double median(double *values, int count); /* of at least one; sorts them */

#endif
