#include "study/sweep_scaling.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "study/sweep_sizes.h"
#include "study/table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double ahead[] = {2, 4, 10}; /* times the largest size */
enum { AHEAD = sizeof ahead / sizeof *ahead };

/* ---- fitting ---- */

static const char *series_of(const sweep_variant *v) {
    return v->series ? v->series : "all runs";
}

static void add_points(sweep_fit *fit, const sweep_fits *f, const sweep_variant *v, const cJSON *results) {
    const char *group = f->averaged ? "val_bpb_ema_domains" : "val_bpb_domains";
    const char *loss = f->averaged ? "val_loss_ema" : "val_loss";
    const cJSON *line;
    cJSON_ArrayForEach(line, results) {
        const cJSON *size = sweep_number(line, v->name, NULL, sweep_size_name(f->of));
        const cJSON *found =
            sweep_number(line, v->name, fit->measure ? group : NULL, fit->measure ? fit->measure : loss);
        if (size && found) fit->points[fit->count++] = (scaling_point){size->valuedouble, found->valuedouble};
    }
}

static void fit_one(sweep_fits *f, const sweep *s, const cJSON *results, const char *series, const char *measure) {
    f->items = xrealloc(f->items, (size_t)(f->count + 1) * sizeof *f->items);
    sweep_fit *fit = &f->items[f->count++];
    *fit = (sweep_fit){.series = series, .measure = measure};
    fit->points = xmalloc((size_t)(cJSON_GetArraySize(results) + 1) * sizeof *fit->points);
    for (int i = 0; i < s->variant_count; i++)
        if (strcmp(series_of(&s->variants[i]), series) == 0) add_points(fit, f, &s->variants[i], results);
    if (scaling_fit_laws(&fit->laws, fit->points, fit->count, 1) != STATUS_OK) fit->problem = xstrdup(error_message());
}

static bool all_have_averages(const cJSON *results) {
    const cJSON *line;
    cJSON_ArrayForEach(
        line, results) if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(line, "val_loss_ema"))) return false;
    return true;
}

static double most_passes(const cJSON *results) {
    double most = 0;
    const cJSON *line;
    cJSON_ArrayForEach(line, results) {
        const cJSON *passes = cJSON_GetObjectItemCaseSensitive(line, "text_passes");
        if (cJSON_IsNumber(passes)) most = fmax(most, passes->valuedouble);
    }
    return most;
}

void sweep_fits_of(sweep_fits *f, const sweep *s, const cJSON *results) {
    *f = (sweep_fits){.of = s->scaling.of};
    if (!f->of) return;
    f->averaged = all_have_averages(results);
    f->passes = most_passes(results);
    f->domains = sweep_domains(results);
    for (int i = 0; i < s->variant_count; i++) {
        const char *series = series_of(&s->variants[i]);
        const cJSON *domain;
        bool seen = false;
        for (int j = 0; j < i; j++) seen |= strcmp(series_of(&s->variants[j]), series) == 0;
        if (seen) continue;
        fit_one(f, s, results, series, NULL);
        cJSON_ArrayForEach(domain, f->domains) fit_one(f, s, results, series, domain->string);
    }
}

void sweep_fits_free(sweep_fits *f) {
    for (int i = 0; i < f->count; i++) {
        scaling_free(&f->items[i].laws);
        free(f->items[i].points);
        free(f->items[i].problem);
    }
    free(f->items);
    cJSON_Delete(f->domains);
    *f = (sweep_fits){0};
}

/* ---- the table ---- */

static void put_value(table *t, double value, scaling_range r, int digits) {
    if (isnan(r.low) || r.low == r.high)
        table_put(t, "%.*f", digits, value);
    else
        table_put(t, "%.*f (%.*f … %.*f)", digits, value, digits, r.low, digits, r.high);
}

static void put_percent(table *t, double logarithm) {
    if (isnan(logarithm))
        table_put(t, "–");
    else
        table_put(t, "%.2f %%", 100 * expm1(logarithm));
}

static void put_law(table *t, const sweep_fit *fit, const char *law, const scaling_fit *l) {
    table_put(t, "%s", fit->measure ? fit->measure : "loss");
    table_put(t, "%s", law);
    put_value(t, l->law.E, l->E, 3);
    table_put(t, "%.4g", l->law.A);
    put_value(t, l->law.alpha, l->alpha, 3);
    put_percent(t, l->error);
    isnan(l->aicc) ? table_put(t, "–") : table_put(t, "%.1f", l->aicc);
    put_percent(t, l->left_out);
    put_percent(t, l->ahead);
    for (int i = 0; i < AHEAD; i++) {
        const double size = ahead[i] * fit->laws.most;
        put_value(t, scaling_at(&l->law, size), scaling_range_at(l, size), 3);
    }
}

static void print_series(const sweep_fits *f, const char *series, FILE *out) {
    static const char *const head[] = {"measure", "law", "E", "A", "α", "error", "AICc", "left out", "largest"};
    table t = table_create(9 + AHEAD);
    for (int i = 0; i < 9; i++) table_put(&t, "%s", head[i]);
    for (int i = 0; i < AHEAD; i++) table_put(&t, "at %g×", ahead[i]);
    for (int i = 0; i < f->count; i++) {
        const sweep_fit *fit = &f->items[i];
        if (fit->series != series || fit->problem) continue;
        put_law(&t, fit, "E + A·D^−α", &fit->laws.saturating);
        put_law(&t, fit, "A·D^−α", &fit->laws.power);
    }
    table_print(&t, out);
}

/* By how much ten times the size would lower it, in percent. */
static double gain(const scaling_fit *l, const scaling *s, double times) {
    return 100 * (scaling_at(&l->law, times * s->most) / scaling_at(&l->law, s->most) - 1);
}

static void print_outlook(const sweep_fit *fit, const char *of, FILE *out) {
    const scaling *s = &fit->laws;
    const double difference = s->power.aicc - s->saturating.aicc, times = ahead[AHEAD - 1];
    fprintf(
        out,
        "\n%g times the %s (%.3g) would change the loss by %+.1f %% if it levels off at E, by %+.1f %% if it does not. "
        "That is %.1f spans of the data beyond the largest run (%d runs of %d sizes, %.3g to %.3g).",
        times, of, times * s->most, gain(&s->saturating, s, times), gain(&s->power, s, times),
        scaling_beyond(s, times * s->most), s->runs, s->sizes, s->least, s->most);
    if (isnan(difference))
        fputs(" There are too few runs to tell the laws apart.\n", out);
    else if (fabs(difference) < 2)
        fprintf(out, " The runs do not tell the laws apart (AICc differs by %.1f).\n", fabs(difference));
    else
        fprintf(out, " AICc prefers %s, by %.1f.\n", difference > 0 ? "the law with E" : "the plain power",
                fabs(difference));
}

void sweep_fits_print(const sweep_fits *f, FILE *out) {
    if (f->count == 0) return;
    const char *of = sweep_size_name(f->of);
    fprintf(out, "\n## Scaling with %s\n\n", f->of == SIZE_ACTIVE_PARAMETERS ? "active parameters" : of);
    fprintf(
        out,
        "Held-out loss of the %s weights in nats a token, and bits per byte by domain, against %s D: least squares of "
        "log "
        "L; in brackets 95 %% over seeds. Error: root mean square of the runs about the law; left out: of each size, "
        "predicted from the others; largest: predicted over found for the largest size, from the smaller ones. At n×: "
        "beyond the data, where intervals hold only if the law does.\n",
        f->averaged ? "averaged" : "live", of);
    if (f->of == SIZE_TOKENS && f->passes >= 1)
        fprintf(out,
                "\nThe longest runs passed over their text %.0f time%s and more: tokens that come again are worth less "
                "than new ones, and a law through them is of this text.\n",
                f->passes, f->passes >= 2 ? "s" : "");
    for (int i = 0; i < f->count; i++) {
        const sweep_fit *fit = &f->items[i];
        if (fit->measure) continue;
        fprintf(out, "\n### %s\n\n", fit->series);
        if (fit->problem) {
            fprintf(out, "%s\n", fit->problem);
            continue;
        }
        print_series(f, fit->series, out);
        print_outlook(fit, of, out);
    }
}

/* ---- JSON ---- */

static void add_value(cJSON *to, const char *key, double value, scaling_range r) {
    cJSON *json = cJSON_AddObjectToObject(to, key);
    cJSON_AddNumberToObject(json, "value", value);
    cJSON_AddNumberToObject(json, "low", r.low); /* cJSON writes NaN as null */
    cJSON_AddNumberToObject(json, "high", r.high);
}

static cJSON *law_json(const scaling *s, const scaling_fit *l) {
    cJSON *json = cJSON_CreateObject(), *at = cJSON_CreateArray();
    add_value(json, "E", l->law.E, l->E);
    add_value(json, "A", l->law.A, l->A);
    add_value(json, "alpha", l->law.alpha, l->alpha);
    cJSON_AddNumberToObject(json, "error", l->error);
    cJSON_AddNumberToObject(json, "aicc", l->aicc);
    cJSON_AddNumberToObject(json, "left_out", l->left_out);
    cJSON_AddNumberToObject(json, "ahead", l->ahead);
    cJSON_AddItemToObject(json, "beyond", at);
    for (int i = 0; i < AHEAD; i++) {
        const double size = ahead[i] * s->most;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "times", ahead[i]);
        cJSON_AddNumberToObject(item, "size", size);
        cJSON_AddNumberToObject(item, "spans", scaling_beyond(s, size));
        add_value(item, "loss", scaling_at(&l->law, size), scaling_range_at(l, size));
        cJSON_AddItemToArray(at, item);
    }
    return json;
}

static cJSON *fit_json(const sweep_fit *fit) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "series", fit->series);
    cJSON_AddStringToObject(json, "measure", fit->measure ? "bpb" : "loss");
    cJSON_AddItemToObject(json, "domain", fit->measure ? cJSON_CreateString(fit->measure) : cJSON_CreateNull());
    cJSON_AddNumberToObject(json, "runs", fit->count);
    if (fit->problem) {
        cJSON_AddStringToObject(json, "problem", fit->problem);
        return json;
    }
    cJSON_AddNumberToObject(json, "sizes", fit->laws.sizes);
    cJSON_AddNumberToObject(json, "least", fit->laws.least);
    cJSON_AddNumberToObject(json, "most", fit->laws.most);
    cJSON_AddItemToObject(json, "saturating", law_json(&fit->laws, &fit->laws.saturating));
    cJSON_AddItemToObject(json, "power", law_json(&fit->laws, &fit->laws.power));
    return json;
}

status sweep_fits_write(const sweep_fits *f, const char *out) {
    if (f->count == 0) return STATUS_OK;
    char *path = path_join(out, "scaling.json");
    cJSON *json = cJSON_CreateObject(), *fits = cJSON_CreateArray();
    cJSON_AddStringToObject(json, "of", sweep_size_name(f->of));
    cJSON_AddStringToObject(json, "weights", f->averaged ? "ema" : "live");
    cJSON_AddNumberToObject(json, "text_passes", f->passes);
    cJSON_AddItemToObject(json, "fits", fits);
    for (int i = 0; i < f->count; i++) cJSON_AddItemToArray(fits, fit_json(&f->items[i]));
    status s = json_write_file(path, json);
    cJSON_Delete(json);
    free(path);
    return s;
}
