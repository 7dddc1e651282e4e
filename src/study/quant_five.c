/* The five-way table of #480: how many bits attention needs, and how many the MLPs. */
#include "base/memory.h"
#include "nn/roles.h"
#include "study/plot.h"
#include "study/quant_study.h"
#include "study/table.h"
#include <stdlib.h>

#define TABLES_RATE 6.0 /* of embeddings and the head, in all five */

typedef struct way {
    const char *name;
    double attention, mlp;
} way;
static const way ways[] = {
    {"attn6_mlp6", 6, 6}, {"attn6_mlp5", 6, 5}, {"attn6_mlp4", 6, 4}, {"attn5_mlp5", 5, 5}, {"attn5_mlp4", 5, 4}};
enum { WAYS = sizeof ways / sizeof *ways };

static double rate_of(const way *w, component part) {
    if (part == COMPONENT_ATTENTION) return w->attention;
    return part == COMPONENT_MLP || part == COMPONENT_SHARED || part == COMPONENT_EXPERTS ? w->mlp : TABLES_RATE;
}

static status measure(quant_study *s, const way *w) {
    cJSON *row;
    if (quant_study_known(s, "five", w->name)) return STATUS_OK;
    pack_plan plan = quant_study_plan(s, QUANTIZER_GPTQ, 0);
    for (int i = 0; i < plan.count; i++)
        plan.tensors[i].rate = rate_of(w, role_component((param_role)s->m->params[i]->role));
    const status result = quant_study_row(s, &plan, QUANTIZER_GPTQ, 0, w->name, &row);
    pack_plan_free(&plan);
    TRY(result);
    return quant_study_keep(s, "five", w->name, row);
}

static status draw(const quant_study *s) {
    plot p;
    bool found;
    TRY(plot_begin(&p, "five", 760, 420));
    for (int i = 0; i < WAYS; i++) {
        const cJSON *row = quant_study_known(s, "five", ways[i].name);
        fprintf(p.data, "%s\t%.6f\t%.0f\n", ways[i].name, quant_study_number(row, "difference"),
                quant_study_number(row, "bytes"));
    }
    fprintf(p.script, "set title 'bits of attention and MLPs: packed - float'\nset ylabel 'bits per byte'\n"
                      "set style fill solid 0.8\nset boxwidth 0.6\nset yrange [*<0:0<*]\nunset key\n"
                      "plot 'five.tsv' using 0:2:xtic(1) with boxes lc rgb '#3060a0', "
                      "'' using 0:2:(sprintf('%%.2f MB', $3 / 1e6)) with labels offset 0,0.7\n");
    return plot_end(&p, s->options->out, &found);
}

status quant_five(quant_study *s, FILE *out) {
    table t = table_create(5);
    for (int i = 0; i < WAYS; i++) TRY(measure(s, &ways[i]));
    fprintf(
        out,
        "\n## Bits of attention and of MLPs\n\nGPTQ, nominal bits a weight after coding; embeddings and head %g.\n\n",
        TABLES_RATE);
    table_put(&t, "bits"), table_put(&t, "bytes"), table_put(&t, "bits a weight"), table_put(&t, "BPB");
    table_put(&t, "packed - float");
    for (int i = 0; i < WAYS; i++) {
        const cJSON *row = quant_study_known(s, "five", ways[i].name);
        char number[32];
        table_put(&t, "%s", ways[i].name);
        table_put(&t, "%s", grouped((int64_t)quant_study_number(row, "bytes"), number));
        table_put(&t, "%.2f", quant_study_number(row, "bits"));
        table_put(&t, "%.5f", quant_study_number(row, "bpb"));
        table_put(&t, "%+.5f", quant_study_number(row, "difference"));
    }
    table_print(&t, out);
    return draw(s);
}
