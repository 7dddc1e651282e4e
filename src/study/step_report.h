/* Simulated steps of several numbers of ranks in every way, as a table and a plot. */
#ifndef MOEC_STUDY_STEP_REPORT_H
#define MOEC_STUDY_STEP_REPORT_H

#include "study/step_sim.h"
#include <cjson/cJSON.h>
#include <stdio.h>

enum { STEP_STUDY_MOST = 32 };

typedef struct step_study {
    const char *config; /* its path, for the title */
    const machine *machine;
    const step_work *work;
    step_options options; /* of all; ranks and method are each row's own */
    int ranks[STEP_STUDY_MOST];
    int count;
    step_result alone; /* one rank */
    step_result results[STEP_STUDY_MOST][STEP_METHODS];
} step_study;

status step_study_run(step_study *s);
/* Tokens a second, divided by as many times those of one rank; where ranks share a node, of one rank for each node. */
double step_study_efficiency(const step_study *s, int index, step_method method);
void step_study_print(const step_study *s, FILE *out);
cJSON *step_study_json(const step_study *s);
/* folder/simulation.md, and by gnuplot simulation.svg. */
status step_study_write(const step_study *s, const char *folder);

#endif
