#include "study/order.h"

#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void sort_ascending(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
}

double median(double *values, int count) {
    sort_ascending(values, count);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
