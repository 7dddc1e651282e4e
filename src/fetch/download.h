/* One file from a server: under its final name only whole and verified, resumed where it was cut. */
#ifndef MOEC_FETCH_DOWNLOAD_H
#define MOEC_FETCH_DOWNLOAD_H

#include "fetch/http.h"

typedef struct download {
    const char *url;
    const char *path;    /* the final name; its folder exists */
    const char *partial; /* what has come so far is kept here, and beside it, as PARTIAL.etag, which version that is */
    int64_t size;        /* bytes; -1: as the server says */
    const char *sha256;  /* lower case, or "": not known */
    const char *blob;    /* git's checksum, or "" */
    const char *commit;  /* what X-Repo-Commit must say where it says anything */
    /* Told how many bytes of the file are there; may be NULL. */
    void (*moved)(void *context, int64_t bytes);
    void *context;
} download;

/* Range and If-Range continue a partial file of the same ETag; without one only where a checksum will tell. What is wrong in the
 * end is removed and fetched anew once if it was put together of several pieces. After an interrupt, a lost connection and a full
 * disk the partial file stays, to go on from. */
status download_file(http_client *c, const download *d);
/* Whether size and checksum of a file that is there are right (what is "" or -1 is not asked). */
status download_verify(const char *path, int64_t size, const char *sha256, const char *blob);

#endif
