/* Checksums that hubs name files by; digest.c is the one file that knows libcrypto. */
#ifndef MOEC_FETCH_DIGEST_H
#define MOEC_FETCH_DIGEST_H

#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_HEX = 65 }; /* room for the longest, with its NUL */

typedef enum digest_kind {
    DIGEST_SHA256,  /* 64 hexadecimal digits: Git LFS's name of a file */
    DIGEST_GIT_BLOB /* 40: SHA-1 of "blob SIZE", a NUL and the file: git's */
} digest_kind;

/* In lower case. After an interrupt: STATUS_INTERRUPTED. */
status digest_file(const char *path, digest_kind kind, char hex[DIGEST_HEX]);
void digest_bytes(const void *bytes, size_t count, digest_kind kind, char hex[DIGEST_HEX]);

#endif
