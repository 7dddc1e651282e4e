/* Workers that ask side by side; private to fetch/. */
#ifndef MOEC_FETCH_TEACH_CREW_H
#define MOEC_FETCH_TEACH_CREW_H

#include "fetch/teach.h"

/* Asks what is not answered, in its order, of r->model, and appends the answers of domain i to paths[i]. Ends when all is
 * answered, when q->requests are spent, after an interrupt, or after a failure that does not pass: then what is on its way is
 * waited for, and kept. */
status crew_ask(const http_client *c, const teach_request *q, questions *all, char *const *paths, teach_result *r);

#endif
