/* Loss against size, both in logarithms: the runs, both laws up to ten times the largest, and the band of the one with E. */
#include "study/sweep_scaling.h"
#include "study/sweep_sizes.h"
#include <math.h>

enum { CURVE_POINTS = 60, TICS = 6 };
#define FURTHEST 10.0 /* times the largest size */

typedef struct range {
    double least, most;
} range;

static void widen(range *r, double value) {
    if (isnan(value)) return;
    r->least = fmin(r->least, value);
    r->most = fmax(r->most, value);
}

/* Two blocks: the runs; size, law with E, its band, plain power. */
static void put_fit(FILE *data, const sweep_fit *fit, range *losses) {
    const scaling *s = &fit->laws;
    for (int i = 0; i < fit->count; i++) {
        fprintf(data, "%g\t%.5f\n", fit->points[i].size, fit->points[i].loss);
        widen(losses, fit->points[i].loss);
    }
    fputs("\n\n", data);
    for (int i = 0; i <= CURVE_POINTS; i++) {
        const double size = s->least * pow(FURTHEST * s->most / s->least, (double)i / CURVE_POINTS);
        const double a = scaling_at(&s->saturating.law, size), b = scaling_at(&s->power.law, size);
        scaling_range band = scaling_range_at(&s->saturating, size);
        if (isnan(band.low)) band = (scaling_range){a, a};
        fprintf(data, "%g\t%.5f\t%.5f\t%.5f\t%.5f\n", size, a, band.low, band.high, b);
        widen(losses, a);
        widen(losses, b);
        widen(losses, band.low);
    }
    fputs("\n\n", data);
}

/* gnuplot has no tics between powers of ten that are far apart for a range as narrow as a loss's. */
static void put_axes(FILE *script, const char *of, range losses) {
    const double least = losses.least * 0.995, most = losses.most * 1.005;
    fprintf(script,
            "set logscale xy\nset xlabel '%s; in grey the largest run'\nset ylabel 'held-out "
            "loss, nats a token'\nset format x '%%.0e'\nset yrange [%.5f:%.5f]\nset key inside right top\nset ytics (",
            of, least, most);
    for (int i = 0; i < TICS; i++) {
        const double at = least * pow(most / least, (i + 0.5) / TICS);
        fprintf(script, "%s'%.3f' %.5f", i ? ", " : "", at, at);
    }
    fputs(")\n", script);
}

static void put_lines(FILE *script, const sweep_fits *f) {
    int block = 0, color = 1;
    for (int i = 0; i < f->count; i++) {
        const sweep_fit *fit = &f->items[i];
        if (fit->measure || fit->problem) continue;
        fprintf(
            script,
            "%s'scaling.tsv' index %d using 1:3:4 with filledcurves lc %d fs transparent solid 0.2 noborder notitle, "
            "'' index %d using 1:2 with lines lw 2 lc %d title '%s: E + A D^−α', "
            "'' index %d using 1:5 with lines lw 1.5 dt 2 lc %d title '%s: A D^−α', "
            "'' index %d using 1:2 with points pt 7 ps 0.7 lc %d notitle",
            block ? ", " : "plot ", block + 1, color, block + 1, color, fit->series, block + 1, color, fit->series,
            block, color);
        block += 2;
        color++;
    }
    fputc('\n', script);
}

static void put_largest(FILE *script, const sweep_fits *f, range losses) {
    for (int i = 0; i < f->count; i++)
        if (!f->items[i].measure && !f->items[i].problem)
            fprintf(script, "set arrow from %g,%.5f to %g,%.5f nohead dt 3 lc rgb '#808080'\n", f->items[i].laws.most,
                    losses.least * 0.995, f->items[i].laws.most, losses.most * 1.005);
}

status sweep_fits_plot(const sweep_fits *f, const char *folder, sweep_plots *plots, bool *found) {
    plot p;
    range losses = {INFINITY, 0};
    TRY(plot_begin(&p, "scaling", 960, 560));
    for (int i = 0; i < f->count; i++)
        if (!f->items[i].measure && !f->items[i].problem) put_fit(p.data, &f->items[i], &losses);
    if (losses.most == 0) { /* nothing to draw */
        plot_abandon(&p);
        return STATUS_OK;
    }
    put_axes(p.script, sweep_size_name(f->of), losses);
    put_largest(p.script, f, losses);
    put_lines(p.script, f);
    return sweep_draw(&p, folder, plots, found);
}
