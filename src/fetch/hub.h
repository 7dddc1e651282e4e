/* Repositories of a hub that speaks Hugging Face's API: GET ENDPOINT/api/models/REPO/revision/R lists a revision's files,
 * GET ENDPOINT/REPO/resolve/COMMIT/FILE gives one; for data sets, /api/datasets/REPO and /datasets/REPO.
 *
 * $XDG_CACHE_HOME/moec/hub/models--ORG--NAME/COMMIT/ holds files, as the repository names them; beside it COMMIT.json the list of
 * them and refs/REVISION the commit that a revision's name last stood for. With these, what is cached is used where the hub
 * cannot be reached. */
#ifndef MOEC_FETCH_HUB_H
#define MOEC_FETCH_HUB_H

#include "fetch/http.h"

#define HUB_ENDPOINT "https://huggingface.co"

typedef struct hub_request {
    bool dataset;
    const char *repo;           /* ORG/NAME, or NAME */
    const char *revision;       /* a branch, tag or commit; "main" */
    const char *const *include; /* patterns of files; count 0: what a model needs (listing.h) */
    int include_count;
    status (*check)(const char *name); /* of each chosen file, before any is fetched; may be NULL */
    const char *folder;                /* where the files go; NULL: the cache */
} hub_request;

typedef struct hub_result {
    char *folder; /* that holds the files */
    char commit[41];
    char **names; /* of the chosen files, sorted */
    size_t files;
    size_t fetched;  /* of them, now; the others were there */
    int64_t bytes;   /* of all of them */
    char *unreached; /* why the hub could not be asked, where the cache answered; else NULL */
} hub_result;

/* Whole, verified files, or an error. r is to be freed in either case. */
status hub_fetch(http_client *c, const hub_request *q, hub_result *r);
void hub_result_free(hub_result *r);
/* "ORG/NAME" or "NAME" of the characters that a hub allows. */
status hub_check_repo(const char *repo);

#endif
