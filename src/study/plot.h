/* Plots by gnuplot: what is plotted lies beside each plot as NAME.tsv, and how as NAME.gp. */
#ifndef MOEC_STUDY_PLOT_H
#define MOEC_STUDY_PLOT_H

#include "base/status.h"
#include <stdbool.h>
#include <stdio.h>

typedef struct plot {
    FILE *data, *script; /* to be filled between plot_begin and plot_end; in memory */
    char *name;
    char *bytes[2];
    size_t size[2];
} plot;

/* The script begins with what all plots look like, and with NAME.svg of width × height as its output. */
status plot_begin(plot *p, const char *name, int width, int height);
/* Write folder/NAME.tsv and folder/NAME.gp and run gnuplot there. *found is false where there is no gnuplot, which is no
 * failure. Frees p either way. */
status plot_end(plot *p, const char *folder, bool *found);
void plot_abandon(plot *p);
extern const char plot_palette[];                   /* of shares from 0 to 1, in heat maps */
void plot_put_text(FILE *script, const char *text); /* in quotes */
/* One line on stderr for who sees no plots: "what: no plots: gnuplot is not installed …" */
void plot_say_missing(const char *what);

#endif
