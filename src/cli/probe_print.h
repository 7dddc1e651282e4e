/* What `moec probe` found, as tables for people. */
#ifndef MOEC_CLI_PROBE_PRINT_H
#define MOEC_CLI_PROBE_PRINT_H

#include "eval/probe.h"

/* title: which text it is, "held-out text", … */
void probe_print(const probe *p, const bpb_result *r, const char *title);

#endif
