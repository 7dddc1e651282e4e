/* A server's JSON, read member by member where it lies; private to fetch/. */
#ifndef MOEC_FETCH_JSON_MEMBERS_H
#define MOEC_FETCH_JSON_MEMBERS_H

#include "base/json_scan.h"
#include "base/status.h"

typedef struct json_members {
    json_scan scan;
    const char *where; /* begins messages */
    const char *what;  /* ends "expected … ": " in the list of files", or "" */
    char *text;        /* room for any string of the answer */
} json_members;

/* An error: "WHERE: expected X in the list of files, found something else". */
status json_malformed(const json_members *p, const char *expected);
/* Behind "{" or a member: the next key, in p->text; *more: there was one. *first: none was read yet. */
status json_next_key(json_members *p, bool *first, bool *more);

#endif
