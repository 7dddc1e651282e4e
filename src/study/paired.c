#include "study/paired.h"

#include <math.h>

paired_difference paired_in_domain(const paired_unit *units, int64_t count, int domain) {
    paired_difference d = {.error = NAN};
    double bits = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) {
        if (units[i].domain != domain) continue;
        bits += units[i].bits;
        d.bytes += units[i].bytes;
        d.units++;
    }
    d.mean = d.bytes > 0 ? bits / (double)d.bytes : NAN;
    for (int64_t i = 0; i < count && d.units > 1; i++) {
        const double rest = units[i].bits - d.mean * (double)units[i].bytes;
        if (units[i].domain == domain) squares += rest * rest;
    }
    if (d.units > 1) d.error = sqrt((double)d.units / (double)(d.units - 1) * squares) / (double)d.bytes;
    return d;
}

paired_difference paired_in_all(const paired_unit *units, int64_t count, int domains) {
    paired_difference all = {0};
    double bits = 0, squares = 0;
    for (int i = 0; i < domains; i++) {
        const paired_difference d = paired_in_domain(units, count, i);
        if (d.units == 0) continue;
        const double error = d.error * (double)d.bytes;
        bits += d.mean * (double)d.bytes;
        squares += error * error;
        all.bytes += d.bytes;
        all.units += d.units;
    }
    all.mean = all.bytes > 0 ? bits / (double)all.bytes : NAN;
    all.error = all.bytes > 0 ? sqrt(squares) / (double)all.bytes : NAN;
    return all;
}

const char *paired_verdict(const paired_difference *d) {
    if (isnan(d->error) || isnan(d->mean)) return "";
    if (fabs(d->mean) <= 2 * d->error) return "even";
    return d->mean < 0 ? "better" : "worse";
}
