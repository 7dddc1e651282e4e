#include "base/byte_count.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DIGITS "0123456789"

static const struct {
    const char *name;
    int64_t bytes;
} units[] = {{"", 1},
             {"B", 1},
             {"K", 1000},
             {"KB", 1000},
             {"KiB", 1 << 10},
             {"M", 1000000},
             {"MB", 1000000},
             {"MiB", 1 << 20},
             {"G", 1000000000},
             {"GB", 1000000000},
             {"GiB", 1 << 30},
             {"T", 1000000000000},
             {"TB", 1000000000000},
             {"TiB", (int64_t)1 << 40}};

/* 0: there is none of that name. */
static int64_t unit_of(const char *name) {
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcasecmp(name, units[i].name) == 0) return units[i].bytes;
    return 0;
}

bool byte_count_parse(const char *text, int64_t *bytes) {
    const size_t whole = strspn(text, DIGITS);
    const size_t fraction = text[whole] == '.' ? strspn(text + whole + 1, DIGITS) : 0;
    const int64_t unit = unit_of(text + whole + (fraction > 0 ? 1 + fraction : 0));
    if (whole == 0 || unit == 0 || (unit == 1 && fraction > 0)) return false;
    /* Exact for whole numbers where a long double has the 64 bits of x86. */
    const long double count = roundl(strtold(text, NULL) * (long double)unit);
    if (count >= 0x1p63L) return false;
    *bytes = (int64_t)count;
    return true;
}
