/* A comparison as files: compare.json, compare.md and compare.svg. */
#include "base/file.h"
#include "base/json.h"
#include "base/text_stream.h"
#include "study/compare.h"
#include "study/plot.h"
#include <math.h>
#include <stdlib.h>

/* ---- JSON ---- */

static cJSON *difference_json(const paired_difference *d) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "mean", d->mean);
    cJSON_AddNumberToObject(json, "error", d->error); /* cJSON writes NaN as null */
    cJSON_AddNumberToObject(json, "units", (double)d->units);
    cJSON_AddStringToObject(json, "verdict", paired_verdict(d));
    return json;
}

static cJSON *score_json(const piece_score *s, int64_t bytes, const paired_difference *d) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "bpb", compare_bpb(s, bytes));
    cJSON_AddNumberToObject(json, "perplexity", compare_perplexity(s));
    cJSON_AddNumberToObject(json, "tokens", (double)s->tokens);
    cJSON_AddNumberToObject(json, "bytes", (double)bytes);
    if (d) cJSON_AddItemToObject(json, "difference", difference_json(d));
    return json;
}

static void add_scores(const comparison *c, const compare_model *m, cJSON *to) {
    const bool paired = m != c->models;
    cJSON *domains = cJSON_CreateObject();
    cJSON_AddItemToObject(to, "all", score_json(&m->total, c->pieces.bytes, paired ? &m->in_all : NULL));
    cJSON_AddItemToObject(to, "domains", domains);
    for (int i = 0; i < c->domain_count; i++)
        if (c->domain_bytes[i] > 0)
            cJSON_AddItemToObject(domains, c->domain_name[i],
                                  score_json(&m->domain[i], c->domain_bytes[i], paired ? &m->difference[i] : NULL));
}

static void add_samples(const compare_model *m, cJSON *to) {
    cJSON *written = cJSON_AddObjectToObject(to, "written"), *samples = cJSON_CreateArray();
    cJSON_AddNumberToObject(written, "ended", (double)m->ended);
    cJSON_AddNumberToObject(written, "mean_tokens", m->mean_tokens);
    cJSON_AddNumberToObject(written, "mean_bytes", m->mean_bytes);
    cJSON_AddNumberToObject(written, "repeated_4_grams", m->grams ? (double)m->repeated / (double)m->grams : NAN);
    cJSON_AddItemToObject(written, "samples", samples);
    for (int i = 0; i < m->sample_count; i++) {
        const compare_sample *s = &m->samples[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "prompt", s->prompt);
        cJSON_AddNumberToObject(item, "seed", (double)s->seed);
        cJSON_AddStringToObject(item, "text", s->text);
        cJSON_AddNumberToObject(item, "tokens", (double)s->tokens);
        cJSON_AddBoolToObject(item, "ended", s->ended);
        cJSON_AddItemToArray(samples, item);
    }
}

static cJSON *speed_json(const compare_speed *s) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "median", s->median);
    cJSON_AddNumberToObject(json, "least", s->least);
    cJSON_AddNumberToObject(json, "most", s->most);
    return json;
}

static cJSON *model_json(const comparison *c, int index) {
    const compare_subject *subject = &c->options->models[index];
    const compare_model *m = &c->models[index];
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", m->name);
    cJSON_AddStringToObject(json, "path", subject->path);
    cJSON_AddStringToObject(json, "kind", subject->kind);
    cJSON_AddBoolToObject(json, "held_out", subject->held_out);
    cJSON_AddNumberToObject(json, "parameters", (double)m->parameters);
    cJSON_AddNumberToObject(json, "active_parameters", (double)m->active);
    cJSON_AddNumberToObject(json, "vocab_size", m->vocab_size);
    cJSON_AddNumberToObject(json, "disk_bytes", (double)m->disk_bytes);
    cJSON_AddNumberToObject(json, "load_seconds", m->load_seconds);
    cJSON_AddItemToObject(json, "prefill_tokens_per_second", speed_json(&m->prefill));
    cJSON_AddItemToObject(json, "decode_tokens_per_second", speed_json(&m->decode));
    cJSON_AddNumberToObject(json, "peak_bytes", (double)m->peak_bytes);
    cJSON_AddNumberToObject(json, "scoring_peak_bytes", (double)m->scoring_bytes);
    cJSON_AddNumberToObject(json, "seq", (double)m->seq);
    cJSON_AddNumberToObject(json, "stride", (double)m->stride);
    add_scores(c, m, json);
    add_samples(m, json);
    return json;
}

cJSON *compare_json(const comparison *c) {
    cJSON *json = cJSON_CreateObject(), *models = cJSON_CreateArray();
    cJSON_AddStringToObject(json, "text", c->options->data ? c->options->data : "files");
    cJSON_AddBoolToObject(json, "whole", c->pieces.whole);
    cJSON_AddNumberToObject(json, "bytes", (double)c->pieces.bytes);
    cJSON_AddNumberToObject(json, "threads", kernels_threads());
    cJSON_AddStringToObject(json, "kernels", c->options->k->name);
    cJSON_AddNumberToObject(json, "new_tokens", (double)c->options->new_tokens);
    cJSON_AddItemToObject(json, "models", models);
    for (int i = 0; i < c->count; i++) cJSON_AddItemToArray(models, model_json(c, i));
    return json;
}

/* ---- the plot: bars by domain, and what the bits cost in speed ---- */

/* Two blocks: a line a domain with every model's bits per byte; a line a model with its speed and bits per byte. */
static void put_data(const comparison *c, FILE *out, double *least, double *most) {
    for (int d = 0; d <= c->domain_count; d++) {
        const bool all = d == c->domain_count;
        const int64_t bytes = all ? c->pieces.bytes : c->domain_bytes[d];
        if (bytes == 0) continue;
        fprintf(out, "%s", all ? "all" : c->domain_name[d]);
        for (int i = 0; i < c->count; i++) {
            const double bits = compare_bpb(all ? &c->models[i].total : &c->models[i].domain[d], bytes);
            fprintf(out, "\t%.5f", bits);
            *least = fmin(*least, bits);
            *most = fmax(*most, bits);
        }
        fputc('\n', out);
    }
    fputs("\n\n", out);
    for (int i = 0; i < c->count; i++)
        fprintf(out, "%s\t%.2f\t%.5f\n\n\n", c->models[i].name, c->models[i].decode.median,
                compare_bpb(&c->models[i].total, c->pieces.bytes));
}

static void put_script(const comparison *c, FILE *out, double least, double most) {
    const double start = fmax(0, least - 0.25 * (most - least) - 0.02 * most);
    fprintf(out,
            "set multiplot layout 1,2\nset ylabel 'bits per byte (the axis starts at %.2f)'\nset yrange [%.4f:*]\n"
            "set style data histogram\nset style histogram clustered gap 1\nset style fill solid 0.7 noborder\n"
            "set key above\nplot ",
            start, start);
    for (int i = 0; i < c->count; i++) {
        fprintf(out, "%s'compare.tsv' index 0 using %d:xtic(1) title ", i ? ", " : "", i + 2);
        plot_put_text(out, c->models[i].name);
    }
    fprintf(out, "\nset xlabel 'tokens/s written, batch 1'\nset ylabel 'bits per byte of all'\nset autoscale y\n"
                 "set xrange [0:*]\nset offsets graph 0, graph 0.1, graph 0.2, graph 0.2\nunset key\nplot ");
    for (int i = 0; i < c->count; i++)
        fprintf(out,
                "%s'compare.tsv' index %d using 2:3 with points pt 7 ps 1.2 lc %d, 'compare.tsv' index %d using "
                "2:3:1 with labels offset 0,%d",
                i ? ", " : "", i + 1, i + 1, i + 1, i % 2 ? -1 : 1);
    fputs("\nunset multiplot\n", out);
}

static status plot_comparison(const comparison *c, const char *folder, bool *found) {
    plot p;
    double least = INFINITY, most = 0;
    TRY(plot_begin(&p, "compare", 1100, 460));
    put_data(c, p.data, &least, &most);
    put_script(c, p.script, least, most);
    return plot_end(&p, folder, found);
}

/* ---- all ---- */

static status write_markdown(const comparison *c, const char *folder, const char *shown) {
    char *path = path_join(folder, "compare.md");
    text_stream t;
    compare_print(c, true, shown, text_stream_begin(&t));
    const status s = text_stream_write(&t, path);
    free(path);
    return s;
}

status compare_write(const comparison *c, const char *folder, bool *plotted) {
    TRY(folder_create(folder));
    char *path = path_join(folder, "compare.json");
    cJSON *json = compare_json(c);
    status s = json_write_file(path, json);
    cJSON_Delete(json);
    free(path);
    TRY(s);
    status drawn = plot_comparison(c, folder, plotted);
    TRY(write_markdown(c, folder, drawn == STATUS_OK && *plotted ? "compare.svg" : NULL));
    return drawn;
}
