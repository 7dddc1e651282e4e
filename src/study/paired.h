/* Whether one model is better than another: the difference of their bits per byte on the same text, and its standard error.
 *
 * Units are parts of the text, documents or pieces of them, that both models were scored on. The difference in a domain is the
 * ratio D = Σ d / Σ b of bits d = (nll of the model − nll of the first) / ln 2 and bytes b, and its error that of a ratio
 * (Cochran, Sampling Techniques, 1977, ch. 6): √(n / (n − 1) Σ (d − D b)²) / Σ b. Over all domains, which are strata, the same with each
 * one's own D. As both are scored on the same units, what is hard for both does not count. */
#ifndef MOEC_STUDY_PAIRED_H
#define MOEC_STUDY_PAIRED_H

#include <stdint.h>

typedef struct paired_unit {
    double bits; /* of the model less those of the first */
    int64_t bytes;
    int domain;
} paired_unit;

typedef struct paired_difference {
    double mean, error; /* bits per byte; the error is NaN where there are fewer than two units */
    int64_t units, bytes;
} paired_difference;

/* Of the units of one domain. */
paired_difference paired_in_domain(const paired_unit *units, int64_t count, int domain);
/* Of all. A domain of one unit has no error, and so all have none. */
paired_difference paired_in_all(const paired_unit *units, int64_t count, int domains);
/* "better", "worse", or "even" where the difference is under two errors; "" where there is no error. */
const char *paired_verdict(const paired_difference *d);

#endif
