/* moec probe's plots: heat maps of domain × expert, and measures by layer. */
#include "base/memory.h"
#include "study/plot.h"
#include "study/probe_report.h"
#include <stdlib.h>

enum { MOST_ACROSS = 4, MOST_LABELLED = 16 /* experts whose shares are written into the cells */ };

static const probed_router *router_at(const probe *p, int i) {
    return i < p->count ? &p->routers[i] : &p->mean;
}

/* "layer 3", with its pass where the model loops; "mean" */
static char *title_of(const probe *p, int i) {
    const probed_router *r = router_at(p, i);
    if (r->layer < 0) return xstrdup("mean");
    bool loops = false;
    for (int j = 0; j < p->count; j++) loops = loops || p->routers[j].pass > 1;
    return loops ? xasprintf("layer %d, pass %d", r->layer, r->pass) : xasprintf("layer %d", r->layer);
}

static void put_titles(FILE *out, const probe *p, int count) {
    for (int i = 0; i < count; i++) {
        char *title = title_of(p, i);
        fputs(i ? ", " : "", out);
        plot_put_text(out, title);
        fprintf(out, " %d", i);
        free(title);
    }
}

static int domains_shown(const probe *p) {
    int count = 0;
    for (int d = 0; d < p->table->domain_count; d++) count += p->tokens[d] > 0;
    return count;
}

/* ---- heat maps ---- */

static void put_matrix(FILE *out, const probe *p, const probed_router *r) {
    for (int d = 0; d < p->table->domain_count; d++) {
        if (p->tokens[d] == 0) continue;
        for (int e = 0; e < r->gates.experts; e++)
            fprintf(out, "%s%.5f", e ? "\t" : "", routing_table_share(&r->gates, d, e));
        fputc('\n', out);
    }
    fputs("\n\n", out);
}

static void put_axes(FILE *out, const probe *p) {
    const int experts = p->mean.gates.experts;
    int at = 0;
    char number[16];
    fputs("set ytics (", out);
    for (int d = 0; d < p->table->domain_count; d++) {
        if (p->tokens[d] == 0) continue;
        fputs(at ? ", " : "", out);
        plot_put_text(out, p->table->domains[d]);
        fprintf(out, " %d", at++);
    }
    fputs(")\n", out);
    if (experts > MOST_LABELLED) return;
    fprintf(out, "set xtics %s(", p->names.count ? "rotate by -35 left " : "");
    for (int e = 0; e < experts; e++) {
        fputs(e ? ", " : "", out);
        plot_put_text(out, probe_expert_name(p, e, number));
        fprintf(out, " %d", e);
    }
    fputs(")\n", out);
}

static void put_panel(FILE *out, const probe *p, int i) {
    char *title = title_of(p, i);
    fputs("set title ", out);
    plot_put_text(out, title);
    fprintf(
        out,
        "\nplot 'experts.tsv' index %d matrix using 1:2:($1 - 0.5):($1 + 0.5):($2 - 0.5):($2 + 0.5):3 with boxxyerror "
        "fillstyle solid noborder fillcolor palette notitle",
        i);
    if (p->mean.gates.experts <= MOST_LABELLED)
        fprintf(
            out,
            ", '' index %d matrix using 1:2:(sprintf('%%.0f', 100 * $3)):($3 > 0.6 ? 0xffffff : 0x202020) with labels "
            "textcolor rgb variable notitle",
            i);
    fputc('\n', out);
    free(title);
}

/* Panels of one size, the mean's the last. */
typedef struct panels {
    int count, across, down, width, height; /* pixels of each */
    bool labelled;
} panels;

static panels panels_of(const probe *p) {
    const int experts = p->mean.gates.experts;
    panels s = {.count = p->count + 1, .labelled = experts <= MOST_LABELLED};
    s.across = s.count < MOST_ACROSS ? s.count : MOST_ACROSS;
    s.down = (s.count + s.across - 1) / s.across;
    s.width = 130 + (s.labelled ? 40 * (experts < 4 ? 4 : experts) : 480);
    s.height = 110 + 26 * domains_shown(p) + (p->names.count ? 50 : 0);
    return s;
}

static void put_experts(FILE *data, FILE *script, const probe *p, const panels *s) {
    fprintf(script, "%sunset grid\nset tics font 'sans,11'\n%sset xrange [-0.5:%g]\nset yrange [%g:-0.5]\n",
            plot_palette, s->labelled ? "unset colorbox\n" : "", p->mean.gates.experts - 0.5, domains_shown(p) - 0.5);
    put_axes(script, p);
    fprintf(script, "set multiplot layout %d,%d title 'each expert''s share of a domain''s tokens, by gates%s'\n",
            s->down, s->across, s->labelled ? ", %" : "");
    for (int i = 0; i < s->count; i++) {
        put_matrix(data, p, router_at(p, i));
        put_panel(script, p, i);
    }
    fputs("unset multiplot\n", script);
}

static status plot_experts(const probe *p, const char *folder, bool *drawn) {
    const panels s = panels_of(p);
    plot figure;
    TRY(plot_begin(&figure, "experts", s.across * s.width, 50 + s.down * s.height));
    put_experts(figure.data, figure.script, p, &s);
    return plot_end(&figure, folder, drawn);
}

/* ---- measures by layer ---- */

static void put_separation(FILE *data, FILE *script, const probe *p) {
    for (int i = 0; i < p->count; i++)
        fprintf(data, "%d\t%.6g\t%.6g\t%.6g\n", i, p->routers[i].separation, p->routers[i].separation_first,
                probe_information_share(&p->routers[i]));
    fprintf(script,
            "set title 'how differently routers treat domains'\nset yrange [0:*]\nset xrange [-0.5:%g]\n"
            "set key outside right top\nset xtics rotate by -35 left (",
            p->count - 0.5);
    put_titles(script, p, p->count);
    fputs(")\nplot 'separation.tsv' using 1:2 with linespoints lw 2 pt 7 title 'separation, by gates', "
          "'' using 1:3 with linespoints lw 2 dt 2 pt 7 title 'separation, first choices', "
          "'' using 1:4 with linespoints lw 2 pt 7 title 'information / bound'\n",
          script);
}

static status plot_separation(const probe *p, const char *folder, bool *drawn) {
    plot figure;
    TRY(plot_begin(&figure, "separation", 960, 480));
    put_separation(figure.data, figure.script, p);
    return plot_end(&figure, folder, drawn);
}

status probe_plot(const probe *p, const char *folder, bool *drawn) {
    TRY(plot_experts(p, folder, drawn));
    return plot_separation(p, folder, drawn);
}
