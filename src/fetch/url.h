/* URLs as far as fetching needs them: what may be asked, whose it is, and how it is shown. */
#ifndef MOEC_FETCH_URL_H
#define MOEC_FETCH_URL_H

#include "base/status.h"
#include <stdbool.h>

enum { URL_MAX_BYTES = 8192 };

/* http or https, a host, no user or password. `what` begins the message. */
status url_check(const char *what, const char *url);
/* Scheme, host and port are the same. */
bool url_same_origin(const char *a, const char *b);
bool url_is_https(const char *url);
/* For messages: without its query, which may be a signature that opens the file to anybody; a new string. */
char *url_shown(const char *url);
/* Everything but letters, digits and -._~ as %XX; `keep` are further bytes that stay (a path's '/'). A new string. */
char *url_escape(const char *text, const char *keep);
/* Foreign text for a message: at most `most` bytes, and what is not printable ASCII as '?'. A new string. */
char *text_shown(const char *text, int most);

#endif
