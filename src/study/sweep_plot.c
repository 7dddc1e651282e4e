/* Plots: loss curves, bars of bits per byte, and where routers sent the tokens over the training. */
#include "base/file.h"
#include "base/memory.h"
#include "study/plot.h"
#include "study/routing_log.h"
#include "study/sweep_result.h"
#include "study/sweep_scaling.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

status sweep_draw(plot *p, const char *folder, sweep_plots *plots, bool *found) {
    char *path = xasprintf("plots/%s.svg", p->name);
    status s = plot_end(p, folder, found);
    if (s != STATUS_OK || !*found) {
        free(path);
        return s;
    }
    plots->paths = xrealloc(plots->paths, (size_t)(plots->count + 1) * sizeof *plots->paths);
    plots->paths[plots->count++] = path;
    return STATUS_OK;
}

static double budget(const sweep *s, const sweep_variant *v) {
    return s->steps > 0 ? (double)sweep_steps(s, v) : s->max_seconds;
}

static const char *axis(const sweep *s) {
    return s->steps > 0 ? "step" : "seconds";
}

/* Into how many parts the time of a name's runs is cut: no part may be without a step. */
static int parts_of_time(const cJSON *results, const char *name, int most) {
    sweep_moments steps = sweep_moments_of(results, name, "steps");
    return steps.count && steps.least < most ? (int)fmax(1, steps.least) : most;
}

/* ---- loss curves ---- */

enum { MOST_POINTS = 200 };

/* The smoothed loss of one run after another, sampled where the budget's share i / points is over. */
typedef struct score_curve {
    const sweep *s;
    double budget;
    double sum[MOST_POINTS + 1];
    int runs[MOST_POINTS + 1];
    int points; /* no more than any run has steps */
    double smooth,
        weight; /* of the run being read: an exponential mean over a 50th of the steps, without its start's bias */
    double decay;
    int next; /* point */
} score_curve;

/* How far the run is: step or seconds. */
static double progress_of(const sweep *s, const cJSON *step) {
    const cJSON *x = cJSON_GetObjectItemCaseSensitive(step, s->steps > 0 ? "step" : "seconds");
    return cJSON_IsNumber(x) ? x->valuedouble : 0;
}

static void sample(score_curve *c) {
    if (c->weight > 0) {
        c->sum[c->next] += c->smooth / c->weight;
        c->runs[c->next]++;
    }
    c->next++;
}

static bool read_loss(void *context, const cJSON *step) {
    score_curve *c = context;
    const cJSON *loss = cJSON_GetObjectItemCaseSensitive(step, "loss");
    double x = progress_of(c->s, step);
    while (c->next <= c->points && x > c->budget * c->next / c->points) sample(c);
    c->smooth = c->decay * c->smooth + (1 - c->decay) * (cJSON_IsNumber(loss) ? loss->valuedouble : 0);
    c->weight = c->decay * c->weight + (1 - c->decay);
    return true;
}

static status add_run(score_curve *c, const sweep_variant *v, uint64_t seed, const char *out, const cJSON *line) {
    const cJSON *steps = cJSON_GetObjectItemCaseSensitive(line, "steps");
    double window = fmax(1, cJSON_IsNumber(steps) ? steps->valuedouble / 50 : 1);
    char *run = sweep_run_folder(v, seed, out);
    c->decay = 1 - 1 / window;
    c->smooth = c->weight = 0;
    c->next = 0;
    status s = sweep_read_log(run, read_loss, c);
    while (c->next <= c->points) sample(c);
    free(run);
    return s;
}

/* A block of the table: the mean over seeds. The first steps' losses would hide all differences. */
static void put_curve(FILE *out, const score_curve *c) {
    for (int i = c->points / 20; i <= c->points; i++)
        if (c->runs[i] > 0) fprintf(out, "%g\t%.5f\n", c->budget * i / c->points, c->sum[i] / c->runs[i]);
    fputs("\n\n", out);
}

static status loss_curves(const sweep *s, const char *out, const cJSON *results, FILE *data, FILE *script) {
    fprintf(script,
            "set xlabel '%s'\nset ylabel 'training loss, nats a token (smoothed, mean over seeds)'\n"
            "set key outside right top\nplot ",
            axis(s));
    int blocks = 0;
    for (int j = 0; j < s->variant_count; j++) {
        score_curve c = {.s = s,
                         .budget = budget(s, &s->variants[j]),
                         .points = parts_of_time(results, s->variants[j].name, MOST_POINTS)};
        int runs = 0;
        for (int i = 0; i < s->seed_count; i++) {
            const cJSON *line = sweep_result_find(results, s->variants[j].name, s->seeds[i]);
            if (!line) continue;
            TRY(add_run(&c, &s->variants[j], s->seeds[i], out, line));
            runs++;
        }
        if (runs == 0) continue;
        put_curve(data, &c);
        fprintf(script, "%s'loss.tsv' index %d using 1:2 with lines lw 2 title '%s'", blocks ? ", " : "", blocks,
                s->variants[j].name);
        blocks++;
    }
    fputc('\n', script);
    return STATUS_OK;
}

static status plot_losses(const sweep *s, const char *out, const char *folder, const cJSON *results, sweep_plots *plots,
                          bool *found) {
    plot p;
    TRY(plot_begin(&p, "loss", 960, 560));
    status filled = loss_curves(s, out, results, p.data, p.script);
    if (filled == STATUS_OK) return sweep_draw(&p, folder, plots, found);
    plot_abandon(&p);
    return filled;
}

/* ---- bars ---- */

static const char *const kinds[][2] = {{"val_bpb", "live"}, {"val_bpb_ema", "averaged"}, {"val_bpb_packed", "packed"}};
enum { KINDS = sizeof kinds / sizeof *kinds };

typedef struct span {
    double least, most;
    bool has[KINDS];
} span;

static void put_bars(FILE *out, const cJSON *results, const char *name, span *range) {
    fprintf(out, "%s", name);
    for (int i = 0; i < KINDS; i++) {
        sweep_moments m = sweep_moments_of(results, name, kinds[i][0]);
        double deviation = m.count > 1 ? m.deviation : 0;
        fprintf(out, "\t%.5f\t%.5f", m.mean, m.count > 0 ? deviation : NAN);
        if (m.count == 0) continue;
        range->has[i] = true;
        range->least = fmin(range->least, m.mean - deviation);
        range->most = fmax(range->most, m.mean + deviation);
    }
    fputc('\n', out);
}

/* Differences are small against the numbers: the axis starts below the least bar, and says so. */
static void put_bar_script(FILE *out, const span *range) {
    double room = fmax(range->most - range->least, 0.01 * range->most);
    double start = fmax(0, range->least - room), end = range->most + room / 4;
    fprintf(out,
            "set ylabel 'bits per byte, held out (the axis starts at %.3f)'\nset yrange [%.5f:%.5f]\n"
            "set style data histogram\nset style histogram errorbars gap 1 lw 1.5\nset style fill solid 0.7 noborder\n"
            "set xtics rotate by -35 left\nset errorbars linecolor rgb '#202020'\nset key outside right top\nplot ",
            start, start, end);
    const char *comma = "";
    for (int i = 0; i < KINDS; i++) {
        if (!range->has[i]) continue;
        fprintf(out, "%s'bpb.tsv' using %d:%d:xtic(1) title '%s'", comma, 2 * i + 2, 2 * i + 3, kinds[i][1]);
        comma = ", ";
    }
    fputc('\n', out);
}

static status plot_bars(const sweep *s, const char *folder, const cJSON *results, sweep_plots *plots, bool *found) {
    plot p;
    span range = {.least = INFINITY, .most = -INFINITY};
    TRY(plot_begin(&p, "bpb", 960, 560));
    for (int j = 0; j < s->variant_count; j++)
        if (sweep_moments_of(results, s->variants[j].name, "val_bpb").count > 0)
            put_bars(p.data, results, s->variants[j].name, &range);
    put_bar_script(p.script, &range);
    return sweep_draw(&p, folder, plots, found);
}

/* ---- the experts' heat map ---- */

enum { MOST_BINS = 100 };

/* The routing in parts of time. */
typedef struct heat {
    const sweep *s;
    double budget;
    int bins; /* no more than any run has steps */
    routing_sums bin[MOST_BINS];
    routing_sums all; /* every pass that any bin has */
} heat;

static void heat_free(heat *h) {
    for (int i = 0; i < h->bins; i++) routing_sums_free(&h->bin[i]);
    routing_sums_free(&h->all);
    free(h);
}

static bool read_shares(void *context, const cJSON *step) {
    heat *h = context;
    int bin = (int)ceil(h->bins * progress_of(h->s, step) / h->budget) - 1;
    const cJSON *experts = cJSON_GetObjectItemCaseSensitive(step, "experts");
    if (bin >= h->bins) bin = h->bins - 1;
    if (bin < 0) return true;
    routing_sums_add(&h->bin[bin], experts);
    routing_sums_add(&h->all, experts);
    return true;
}

/* One expert's shares over time. */
static void put_expert(FILE *data, const heat *h, const routed_pass *row, int e) {
    for (int i = 0; i < h->bins; i++) {
        const routed_pass *p = routing_sums_find(&h->bin[i], row->layer, row->pass);
        fprintf(data, "%s%.4f", i ? "\t" : "", p && e < p->experts ? p->share[e] / p->steps : -1);
    }
    fputc('\n', data);
}

static int heat_rows(const heat *h) {
    int rows = 0;
    for (int i = 0; i < h->all.count; i++) rows += h->all.passes[i].experts;
    return rows;
}

/* A row of pixels for each expert, the first layer's first expert on top. */
static void put_heat(FILE *data, FILE *script, const heat *h, const char *name) {
    const int rows = heat_rows(h);
    int at = 0;
    fprintf(script,
            "unset grid\nset tics font 'sans,11'\nset title '%s: share of the tokens by layer (pass) and expert, mean "
            "over seeds'\n"
            "set xlabel '%s'\n%sset yrange [%g:-0.5]\nset xrange [0:%g]\nset ytics (",
            name, axis(h->s), plot_palette, rows - 0.5, h->budget);
    for (int i = 0; i < h->all.count; i++) {
        const routed_pass *row = &h->all.passes[i];
        for (int e = 0; e < row->experts; e++, at++) {
            fprintf(script, "%s'%d (%d) e%d' %d", at ? ", " : "", row->layer, row->pass, e, at);
            put_expert(data, h, row, e);
        }
    }
    fprintf(script,
            ")\nplot 'experts-%s.tsv' matrix using (($1 + 0.5) * %g):2:($3 < 0 ? NaN : $3) with image pixels notitle\n",
            name, h->budget / h->bins);
}

static status read_heat(heat *h, const sweep_variant *v, const char *out, const cJSON *results) {
    for (int i = 0; i < h->s->seed_count; i++) {
        if (!sweep_result_find(results, v->name, h->s->seeds[i])) continue;
        char *run = sweep_run_folder(v, h->s->seeds[i], out);
        status s = sweep_read_log(run, read_shares, h);
        free(run);
        TRY(s);
    }
    return STATUS_OK;
}

static status draw_heat(const heat *h, const char *variant, const char *folder, sweep_plots *plots, bool *found) {
    plot p;
    const int rows = heat_rows(h);
    char *name = xasprintf("experts-%s", variant);
    status s = plot_begin(&p, name, 960, 140 + (rows < 250 ? rows : 250) * 14);
    free(name);
    TRY(s);
    put_heat(p.data, p.script, h, variant);
    return sweep_draw(&p, folder, plots, found);
}

static status plot_heat(const sweep *s, const sweep_variant *v, const char *out, const char *folder,
                        const cJSON *results, sweep_plots *plots, bool *found) {
    heat *h = xcalloc(1, sizeof *h);
    h->s = s;
    h->budget = budget(s, v);
    h->bins = parts_of_time(results, v->name, MOST_BINS);
    status result = read_heat(h, v, out, results);
    if (result == STATUS_OK && h->all.count > 0) result = draw_heat(h, v->name, folder, plots, found);
    heat_free(h);
    return result;
}

/* ---- all ---- */

static status plot_all(const sweep *s, const char *out, const char *folder, const cJSON *results,
                       const sweep_fits *fits, sweep_plots *plots) {
    bool found = true;
    TRY(folder_create(folder));
    TRY(plot_losses(s, out, folder, results, plots, &found));
    if (found) TRY(plot_bars(s, folder, results, plots, &found));
    if (found) TRY(sweep_fits_plot(fits, folder, plots, &found));
    for (int j = 0; j < s->variant_count && found; j++)
        TRY(plot_heat(s, &s->variants[j], out, folder, results, plots, &found));
    if (!found) plot_say_missing("sweep");
    return STATUS_OK;
}

status sweep_plot(const sweep *s, const char *out, const cJSON *results, const sweep_fits *fits, sweep_plots *plots) {
    char *folder = path_join(out, "plots");
    status result = plot_all(s, out, folder, results, fits, plots);
    free(folder);
    return result;
}
