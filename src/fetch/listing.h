/* What a hub says is in a repository, from its answer to GET /api/models/ORG/NAME/revision/R?blobs=true:
 *     {"sha": COMMIT, "siblings": [{"rfilename": NAME, "size": BYTES, "blobId": SHA-1, "lfs": {"sha256": …, "size": …}}, …], …}
 * All of it is foreign: names become paths here only after they were checked. */
#ifndef MOEC_FETCH_LISTING_H
#define MOEC_FETCH_LISTING_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LISTING_MAX_BYTES = 32 << 20, /* of the answer */
    LISTING_MAX_FILES = 100000,
    LISTING_MAX_NAME = 1024 /* bytes of a file's name with its folders; 255 of each part */
};

typedef struct listed_file {
    char *name;      /* relative; parts between '/' that are not empty, "." or ".."; nothing unprintable */
    int64_t size;    /* bytes; -1: not said */
    char sha256[65]; /* of LFS files, else "" */
    char blob[41];   /* git's name of the file, of others; else "" */
} listed_file;

typedef struct listing {
    char commit[41];
    listed_file *files; /* sorted by name, none twice */
    size_t count;
} listing;

/* `where` begins messages. After a failure too, l is to be freed. */
status listing_parse(listing *l, const char *text, size_t bytes, const char *where);
void listing_free(listing *l);
/* In the same form, for listing_read. */
status listing_write(const listing *l, const char *path);
status listing_read(listing *l, const char *path);
/* Keeps the files that a pattern (fnmatch's, '*' matches '/' too) chooses; without patterns what a model needs: its
 * configuration, tokenizer, chat template and safetensors in the top folder. */
void listing_select(listing *l, const char *const *patterns, int count);

#endif
