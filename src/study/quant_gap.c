/* The gap that #2102's author found between his live model and the packed one, taken apart: the first row is packed in
 * the script's way, each other one without one more of its causes, the last one is `moec pack MODEL --uniform`. The
 * switches are quant_options' and the weights that are packed; the script's average is frozen_average.h's. */
#include "base/memory.h"
#include "nn/plan.h"
#include "study/frozen_average.h"
#include "study/plot.h"
#include "study/quant_study.h"
#include "study/table.h"
#include <stdlib.h>
#include <string.h>

/* Whose weights are packed. */
typedef enum whose { WHOSE_FROZEN, WHOSE_AVERAGE, WHOSE_CHOSEN } whose;

typedef struct gap_row {
    const char *key, *title;
    whose weights;
    quant_options quant;
} gap_row;
enum { MOST_ROWS = 9 };

typedef struct gap {
    quant_study *s;
    gap_row rows[MOST_ROWS];
    int count;
    frozen_average frozen;
    bool has_average, packs_average; /* a run with averaged weights; the last row packs these */
    const char *which;               /* weights of a training the last row packs, "live" or "ema"; NULL: not known */
    /* the model of the rows that are measured */
    whose weights;
    model *own; /* NULL: the study's */
    pack_calibration calibration;
    double own_bpb;
    bool open;
} gap;

/* ---- the rows ---- */

static void add(gap *g, const char *key, const char *title, whose weights, const quant_options *quant) {
    g->rows[g->count++] = (gap_row){key, title, weights, *quant};
}

static bool has_routed_experts(const model_config *c) {
    for (int i = 0; i < c->num_layers; i++) {
        const mlp_plan plan = model_plan(c, i).mlp;
        if (plan.kind == MLP_EXPERTS && plan.active < plan.experts) return true;
    }
    return false;
}

static void list_rows(gap *g) {
    const quant_options ours = pack_options_of(&g->s->config->pack, g->s->config->train.seq).quant;
    quant_options o = quant_options_record();
    const whose average = g->has_average ? WHOSE_AVERAGE : WHOSE_CHOSEN;
    if (g->frozen.points > 1) add(g, "record", "the script's way", WHOSE_FROZEN, &o);
    if (g->frozen.points > 1)
        add(g, "average", "the average in float32", average, &o);
    else
        add(g, "record", "the script's way, average in float32", average, &o);
    /* First, since of small models nearly all is small, and the other causes are those of what is on grids. */
    o.keep_float_elements = ours.keep_float_elements;
    add(g, "small", "small matrices on grids too", average, &o);
    o.least_scale = ours.least_scale;
    add(g, "floor", "no floor under scales", average, &o);
    o.plain_tables = ours.plain_tables;
    add(g, "tables", "embedding under its statistics", average, &o);
    o.pool_experts = ours.pool_experts;
    if (has_routed_experts(&g->s->m->config)) add(g, "routed", "Hessians of routed tokens", average, &o);
    o.plain_clip = ours.plain_clip;
    add(g, "clip", "clipped by what GPTQ leaves", average, &o);
    add(g, "grids", "bits and steps of moec pack", average, &ours);
    if (g->has_average && !g->packs_average) add(g, "weights", "live weights", WHOSE_CHOSEN, &ours);
}

static const cJSON *known_row(const gap *g, int row) {
    return quant_study_known(g->s, "gap", g->rows[row].key);
}

/* ---- whose weights ---- */

static void close_weights(gap *g) {
    pack_calibration_close(&g->calibration);
    model_destroy(g->own);
    g->own = NULL;
    g->open = false;
}

static status load_weights(gap *g, whose weights, model **out) {
    const quant_study *s = g->s;
    *out = NULL;
    if (weights == WHOSE_CHOSEN) return STATUS_OK;
    TRY(checkpoint_load_model(s->options->saved, s->k, "ema", MODEL_VALUES, out));
    if (weights == WHOSE_AVERAGE) return STATUS_OK;
    return frozen_average_set(&g->frozen, *out, s->options->saved, &s->config->average);
}

/* Its own Hessians: the script calibrates what it packs. */
static status open_weights(gap *g, whose weights) {
    quant_study *s = g->s;
    if (g->open && g->weights == weights) return STATUS_OK;
    if (!g->own || g->weights != weights) {
        close_weights(g);
        TRY(load_weights(g, weights, &g->own));
    }
    model *m = g->own ? g->own : s->m;
    TRY(pack_calibrate(&g->calibration, s->config, m, s->tok, false, NULL));
    g->own_bpb = s->float_bpb;
    if (g->own) TRY(quant_study_score(s, g->own, "their floats", &g->own_bpb));
    g->weights = weights;
    g->open = true;
    return STATUS_OK;
}

/* ---- measuring ---- */

static cJSON *row_of(const gap *g, const gap_row *row, const pack_report *report, double bits, cJSON *layers) {
    cJSON *out = cJSON_CreateObject();
    cJSON_AddStringToObject(out, "title", row->title);
    cJSON_AddNumberToObject(out, "bytes", (double)report->artifact_bytes);
    cJSON_AddNumberToObject(out, "bits", report->bits_per_weight);
    cJSON_AddNumberToObject(out, "bpb", bits);
    cJSON_AddNumberToObject(out, "float_bpb", g->own_bpb);
    cJSON_AddNumberToObject(out, "difference", bits - g->s->float_bpb);
    cJSON_AddItemToObject(out, "layers", layers);
    return out;
}

static status measure(gap *g, int index) {
    const gap_row *row = &g->rows[index];
    quant_study *s = g->s;
    if (known_row(g, index)) return STATUS_OK;
    TRY(open_weights(g, row->weights));
    pack_options options = pack_options_of(&s->config->pack, s->config->train.seq);
    options.quant = row->quant;
    options.budget_bytes = 0;
    options.weights = row->weights == WHOSE_CHOSEN ? g->which : "ema";
    model *packed = NULL;
    pack_report report = {0};
    int64_t bytes;
    double bits;
    cJSON *layers;
    status result = quant_study_write(s, g->own ? g->own : s->m, g->calibration.h, &options, &packed, &bytes, &report);
    if (result == STATUS_OK) result = quant_study_score(s, packed, row->title, &bits);
    if (result == STATUS_OK) result = quant_study_stream(s, packed, &layers);
    if (result == STATUS_OK) result = quant_study_keep(s, "gap", row->key, row_of(g, row, &report, bits, layers));
    model_destroy(packed);
    pack_report_free(&report);
    return result;
}

/* Whether the run's checkpoints tell of the script's average. */
static status look_for_average(gap *g) {
    const quant_study_options *o = g->s->options;
    const cJSON *known = quant_study_known(g->s, "gap", "way");
    g->has_average = o->saved && checkpoint_has_average(o->saved);
    if (o->saved) TRY(checkpoint_weights(o->saved, o->which, &g->which));
    if (!g->has_average) return STATUS_OK;
    g->packs_average = strcmp(g->which, "ema") == 0;
    if (!known) {
        TRY(load_weights(g, WHOSE_FROZEN, &g->own)); /* of the first row, which is measured next */
        g->weights = WHOSE_FROZEN;
        cJSON *way = cJSON_CreateObject();
        cJSON_AddNumberToObject(way, "points", g->frozen.points);
        cJSON_AddNumberToObject(way, "first", (double)g->frozen.first);
        cJSON_AddNumberToObject(way, "last", (double)g->frozen.last);
        return quant_study_keep(g->s, "gap", "way", way);
    }
    g->frozen = (frozen_average){.points = (int)quant_study_number(known, "points"),
                                 .first = (int64_t)quant_study_number(known, "first"),
                                 .last = (int64_t)quant_study_number(known, "last")};
    return STATUS_OK;
}

/* ---- tables and plots ---- */

static void put_header(const gap *g, FILE *out) {
    fprintf(
        out,
        "\n## The gap of #2102 taken apart\n\nThe first row is packed as the script does, each other one without one "
        "more of its causes; the last one is `moec pack --uniform`. As in the script: int6, GPTQ of damping 1 %%, "
        "no scale under 1/31, floats up to 65,536 weights, an embedding rounded without statistics, experts' "
        "Hessians of all tokens (each expert run on the others' too), scales by plain error. Not as there: scales "
        "are the best of 20, not of 5 percentiles, and bfloat16; bytes are of moec's coder, not of LZMA.\n");
    if (g->frozen.points > 1)
        fprintf(out,
                "The average that bf16 froze is computed step by step from step %lld to %lld, with live weights on "
                "straight lines between the run's %d checkpoints from there on; it begins at the first of them.\n",
                (long long)g->frozen.first, (long long)g->frozen.last, g->frozen.points);
    else if (g->has_average)
        fprintf(out, "The average that bf16 froze is not among the rows: the run has no older checkpoint of these "
                     "parameters to begin it with (checkpoint_every, keep_checkpoints).\n");
    else
        fprintf(out, "The model has no averaged weights: the rows are of its own ones.\n");
    fprintf(out, "\n");
}

static void put_rows(const gap *g, FILE *out) {
    table t = table_create(6);
    double before = 0;
    table_put(&t, "packed as"), table_put(&t, "bytes"), table_put(&t, "BPB"), table_put(&t, "of these as floats");
    table_put(&t, "to the row before"), table_put(&t, "to the float model");
    for (int i = 0; i < g->count; i++) {
        const cJSON *row = known_row(g, i);
        const double bits = quant_study_number(row, "bpb");
        char number[32];
        table_put(&t, "%s", g->rows[i].title);
        table_put(&t, "%s", grouped((int64_t)quant_study_number(row, "bytes"), number));
        table_put(&t, "%.5f", bits);
        table_put(&t, "%.5f", quant_study_number(row, "float_bpb"));
        if (i == 0)
            table_put(&t, "-");
        else
            table_put(&t, "%+.5f", bits - before);
        table_put(&t, "%+.5f", quant_study_number(row, "difference"));
        before = bits;
    }
    table_print(&t, out);
}

static const cJSON *entry_of(const gap *g, int row, int i) {
    return cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(known_row(g, row), "layers"), i);
}

static void put_layers(const gap *g, FILE *out) {
    const int shown[] = {0, g->count - 1};
    table t = table_create(5);
    table_put(&t, "read by");
    for (int j = 0; j < 2; j++) {
        table_put(&t, "%s: 1 - cosine", g->rows[shown[j]].title);
        table_put(&t, "relative error");
    }
    for (int i = 0; entry_of(g, 0, i); i++) {
        char title[32];
        quant_study_reader(title, g->s, entry_of(g, 0, i));
        table_put(&t, "%s", title);
        for (int j = 0; j < 2; j++) {
            table_put(&t, "%.2e", 1 - quant_study_number(entry_of(g, shown[j], i), "cosine"));
            table_put(&t, "%.4f", quant_study_number(entry_of(g, shown[j], i), "relative"));
        }
    }
    fprintf(out, "\n### The hidden state against the float model's, where each block reads it\n\nAll rows are in "
                 "study.json and in the plot.\n\n");
    table_print(&t, out);
}

static status draw_rows(const gap *g) {
    plot p;
    bool found;
    TRY(plot_begin(&p, "gap", 960, 480));
    for (int i = 0; i < g->count; i++)
        fprintf(p.data, "%s\t%.6f\t%.0f\n", g->rows[i].title, quant_study_number(known_row(g, i), "difference"),
                quant_study_number(known_row(g, i), "bytes"));
    fprintf(p.script, "set title 'the gap taken apart: packed - float'\nset ylabel 'bits per byte'\n"
                      "set style fill solid 0.8\nset boxwidth 0.6\nunset key\nset xtics rotate by -25 left\n"
                      "set bmargin 7\nset rmargin 24\nplot 'gap.tsv' using 0:2:xtic(1) with boxes lc rgb '#3060a0', "
                      "'' using 0:2:(sprintf('%%.2f MB', $3 / 1e6)) with labels offset 0,0.7\n");
    return plot_end(&p, g->s->options->out, &found);
}

static status draw_layers(const gap *g) {
    plot p;
    bool found;
    TRY(plot_begin(&p, "gap-layers", 980, 480));
    for (int i = 0; entry_of(g, 0, i); i++) {
        char title[32];
        quant_study_reader(title, g->s, entry_of(g, 0, i));
        fputs(title, p.data);
        for (int j = 0; j < g->count; j++) fprintf(p.data, "\t%.6g", quant_study_number(entry_of(g, j, i), "relative"));
        fputc('\n', p.data);
    }
    fprintf(p.script, "set title 'relative error of the hidden state against the float model'\n"
                      "set xtics rotate by -35 left\nset logscale y\nset key outside right top\nplot ");
    for (int j = 0; j < g->count; j++) {
        fprintf(p.script, "%s'gap-layers.tsv' using 0:%d%s with linespoints lw 2 pt 7 title ", j ? ", " : "", j + 2,
                j ? "" : ":xtic(1)");
        plot_put_text(p.script, g->rows[j].title);
    }
    fputc('\n', p.script);
    return plot_end(&p, g->s->options->out, &found);
}

status quant_gap(quant_study *s, FILE *out) {
    gap g = {.s = s};
    status result = look_for_average(&g);
    if (result == STATUS_OK) list_rows(&g);
    for (int i = 0; i < g.count && result == STATUS_OK; i++) result = measure(&g, i);
    close_weights(&g);
    TRY(result);
    put_header(&g, out);
    put_rows(&g, out);
    put_layers(&g, out);
    TRY(draw_rows(&g));
    return draw_layers(&g);
}
