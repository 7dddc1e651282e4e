#include "study/sweep_difference.h"

#include "study/sweep_result.h"
#include "study/table.h"
#include <math.h>

/* Student's t, 97.5 %, for 1, 2, … degrees of freedom; beyond them the normal distribution's is near enough. */
static double student(int freedom) {
    static const double quantiles[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201,
                                       2.179,  2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074,
                                       2.069,  2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042, 2.040};
    const int count = sizeof quantiles / sizeof *quantiles;
    return freedom <= count ? quantiles[freedom - 1] : 1.960;
}

seed_difference seed_difference_of(const double *differences, int count) {
    seed_difference d = {count, 0, NAN};
    double squares = 0;
    for (int i = 0; i < count; i++) d.mean += differences[i] / count;
    for (int i = 0; i < count; i++) squares += (differences[i] - d.mean) * (differences[i] - d.mean);
    if (count > 1) d.half = student(count - 1) * sqrt(squares / (count - 1) / count);
    if (count == 0) d.mean = NAN;
    return d;
}

const char *seed_difference_verdict(const seed_difference *d) {
    if (isnan(d->half)) return "";
    if (fabs(d->mean) <= d->half) return "even";
    return d->mean < 0 ? "better" : "worse";
}

/* domain: NULL for all. */
static double score_of(const cJSON *line, const char *domain) {
    const cJSON *from = domain ? cJSON_GetObjectItemCaseSensitive(line, "val_bpb_domains") : line;
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(from, domain ? domain : "val_bpb");
    return cJSON_IsNumber(value) ? value->valuedouble : NAN;
}

static seed_difference difference_of(const sweep *s, const cJSON *results, const char *name, const char *domain) {
    double differences[SWEEP_MAX_SEEDS];
    int count = 0;
    for (int i = 0; i < s->seed_count; i++) {
        const cJSON *line = sweep_result_find(results, name, s->seeds[i]);
        const cJSON *first = sweep_result_find(results, s->variants[0].name, s->seeds[i]);
        const double d = score_of(line, domain) - score_of(first, domain);
        if (!isnan(d)) differences[count++] = d;
    }
    return seed_difference_of(differences, count);
}

static void put_difference(table *t, const seed_difference *d) {
    if (isnan(d->mean))
        table_put(t, "–");
    else if (isnan(d->half))
        table_put(t, "%+.4f", d->mean);
    else
        table_put(t, "%+.4f ± %.4f", d->mean, d->half);
}

static void put_row(table *t, const sweep *s, const cJSON *results, const char *name, const cJSON *domains) {
    const seed_difference all = difference_of(s, results, name, NULL);
    const cJSON *domain;
    if (all.seeds == 0) return;
    table_put(t, "%s", name);
    table_put(t, "%d", all.seeds);
    put_difference(t, &all);
    table_put(t, "%s", seed_difference_verdict(&all));
    cJSON_ArrayForEach(domain, domains) {
        const seed_difference d = difference_of(s, results, name, domain->string);
        put_difference(t, &d);
    }
}

/* Whether some other run of as many steps has a seed in common with the first. */
static bool comparable(const sweep *s, const cJSON *results) {
    bool any = false;
    for (int i = 1; i < s->variant_count; i++) {
        if (s->variants[i].times != s->variants[0].times) return false;
        any |= difference_of(s, results, s->variants[i].name, NULL).seeds > 0;
    }
    return any;
}

void sweep_differences_print(const sweep *s, const cJSON *results, FILE *out) {
    if (!comparable(s, results)) return;
    cJSON *domains = sweep_domains(results);
    const cJSON *domain;
    table t = table_create(4 + cJSON_GetArraySize(domains));
    table_put(&t, "run");
    table_put(&t, "seeds");
    table_put(&t, "all");
    table_put(&t, "verdict");
    cJSON_ArrayForEach(domain, domains) table_put(&t, "%s", domain->string);
    for (int i = 1; i < s->variant_count; i++) put_row(&t, s, results, s->variants[i].name, domains);
    fprintf(out,
            "\nBits per byte of the live weights less those of %s, seed by seed, with 95 %% intervals over seeds:\n\n",
            s->variants[0].name);
    table_print(&t, out);
    cJSON_Delete(domains);
}
