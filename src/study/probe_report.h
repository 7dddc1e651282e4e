/* What `moec probe` found, for programs and as plots. */
#ifndef MOEC_STUDY_PROBE_REPORT_H
#define MOEC_STUDY_PROBE_REPORT_H

#include "eval/probe.h"
#include <cjson/cJSON.h>

/* All of it; docs/formats.md has the keys. A new object. */
cJSON *probe_to_json(const probe *p);

/* Into the folder, which is made where it is absent:
 *   probe.json       `json`
 *   routers.csv      a row each pass through a router, and one of the mean
 *   shares.csv       a row each of them, domain and expert
 *   experts.svg      heat maps of domain × expert, of each and of the mean, by gates
 *   separation.svg   separation and information by layer
 * with the tables (.tsv) and scripts (.gp) of the plots. *drawn false: the plots are not there, because gnuplot is not. */
status probe_report(const probe *p, const cJSON *json, const char *folder, bool *drawn);
status probe_plot(const probe *p, const char *folder, bool *drawn); /* the plots alone */

#endif
