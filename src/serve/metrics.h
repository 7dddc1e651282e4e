/* What a server counts, in Prometheus' text format (exposition format 0.0.4). */
#ifndef MOEC_SERVE_METRICS_H
#define MOEC_SERVE_METRICS_H

#include "serve/served.h"

typedef struct metrics metrics;
/* routes [count]: their names, which live as long; the last one stands for every path that is none. */
metrics *metrics_create(const char *const *routes, int count);
void metrics_free(metrics *m);                                       /* NULL is fine */
void metrics_count(metrics *m, int route, int http, double seconds); /* one request was answered */
void metrics_connections(metrics *m, int open);                      /* so many are */
char *metrics_text(metrics *m, const served *s);                     /* a new string */

#endif
