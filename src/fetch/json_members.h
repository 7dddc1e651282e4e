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
/* Reads the value behind the key in p->text, or leaves it where it is and *taken false. */
typedef status (*json_member_taker)(json_members *p, void *context, bool *taken);
/* A whole object, member by member; those that are not taken are passed over. `what` it is, for messages. */
status json_take_members(json_members *p, const char *what, json_member_taker take, void *context);
/* A text that is one object and nothing else; of one that is no JSON at all it is said what it looks like. */
status json_take_whole(json_members *p, json_member_taker take, void *context);
bool json_take_null(json_members *p); /* passes over it, if it is next */
/* A string into *text, a new one in the place of what was there; null leaves it as it is. */
status json_take_text(json_members *p, char **text, const char *what);
/* The beginning of any value, as it stands there, into *text likewise; null leaves it as it is. */
status json_take_excerpt(json_members *p, char **text, const char *what);

#endif
