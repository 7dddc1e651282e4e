/* Scaling laws through a sweep's runs, of each series and measure; private to study/sweep*.c. */
#ifndef MOEC_STUDY_SWEEP_SCALING_H
#define MOEC_STUDY_SWEEP_SCALING_H

#include "study/scaling.h"
#include "study/sweep_result.h"

typedef struct sweep_fit {
    const char *series;  /* the sweep's; or "all runs" */
    const char *measure; /* NULL: the loss in nats a token; else a domain, in bits per byte */
    scaling_point *points;
    int count;
    scaling laws;
    char *problem; /* why there are none; NULL: there are */
} sweep_fit;

typedef struct sweep_fits {
    sweep_fit *items; /* of a series first the loss, then the domains */
    int count;        /* 0: the sweep has no `scaling` */
    sweep_size of;
    bool averaged; /* of the averaged weights, which every run has */
    double passes; /* over its text, that the longest run made; below 1: none was whole */
    cJSON *domains;
} sweep_fits;

/* s and results live as long as f. */
void sweep_fits_of(sweep_fits *f, const sweep *s, const cJSON *results);
void sweep_fits_free(sweep_fits *f);
/* A part of results.md, OUT/scaling.json, plots/scaling.svg. Nothing where there are no fits. */
void sweep_fits_print(const sweep_fits *f, FILE *out);
status sweep_fits_write(const sweep_fits *f, const char *out);
status sweep_fits_plot(const sweep_fits *f, const char *folder, sweep_plots *plots, bool *found);

#endif
