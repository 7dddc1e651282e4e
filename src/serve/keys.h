/* The keys that clients show: one a line of a file; empty lines and those that begin with # are passed over. Keys are
 * never printed. */
#ifndef MOEC_SERVE_KEYS_H
#define MOEC_SERVE_KEYS_H

#include "base/status.h"
#include <stdbool.h>

enum { KEY_BYTES = 256 /* of one, at most */, KEYS_MOST = 1024 };

typedef struct api_keys {
    char (*keys)[KEY_BYTES]; /* with zeros behind */
    int count;               /* 0: nobody is asked for one */
} api_keys;
status api_keys_read(api_keys *k, const char *path);
void api_keys_free(api_keys *k);
/* Whether an Authorization header ("Bearer KEY", NULL: none) shows one of them. The time that it takes depends on the
 * number of keys alone, not on how much of one was guessed. */
bool api_keys_know(const api_keys *k, const char *authorization);

#endif
