/* How fast this machine's threads read memory together: what a token at a time, which reads every weight, cannot be
 * faster than. */
#ifndef MOEC_STUDY_BANDWIDTH_H
#define MOEC_STUDY_BANDWIDTH_H

#include "base/status.h"
#include <stdint.h>

/* Reads an array of so many bytes (more than the caches hold) a few times with `threads` threads, each its own part in
 * order. *bytes_per_second: of the fastest time. */
status bandwidth_measure(int threads, int64_t bytes, double *bytes_per_second);

#endif
