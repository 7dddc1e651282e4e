/* The crew that asks a teacher's questions; private to fetch/. */
#ifndef MOEC_FETCH_TEACH_ASK_H
#define MOEC_FETCH_TEACH_ASK_H

#include "fetch/teach.h"

/* Asks what is not answered, in its order, of r->model, and appends the answers of domain i to paths[i]. Ends when all is
 * answered, when q->requests are spent, after an interrupt, or after a failure that does not pass. */
status teach_ask(const http_client *c, const teach_request *q, questions *all, char *const *paths, teach_result *r);

#endif
