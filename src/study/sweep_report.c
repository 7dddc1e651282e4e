/* results.md: a row a name, means and standard deviations over seeds. */
#include "base/file.h"
#include "base/text_stream.h"
#include "study/sweep_difference.h"
#include "study/sweep_result.h"
#include "study/sweep_scaling.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const cJSON *sweep_number(const cJSON *line, const char *name, const char *group, const char *key) {
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(line, "name");
    if (!cJSON_IsString(found) || strcmp(found->valuestring, name) != 0) return NULL;
    const cJSON *value =
        cJSON_GetObjectItemCaseSensitive(group ? cJSON_GetObjectItemCaseSensitive(line, group) : line, key);
    return cJSON_IsNumber(value) ? value : NULL;
}

static sweep_moments moments_in(const cJSON *results, const char *name, const char *group, const char *key) {
    sweep_moments m = {.least = INFINITY, .most = -INFINITY};
    double sum = 0, squares = 0;
    const cJSON *line;
    cJSON_ArrayForEach(line, results) {
        const cJSON *value = sweep_number(line, name, group, key);
        if (!value) continue;
        sum += value->valuedouble;
        m.count++;
        m.least = fmin(m.least, value->valuedouble);
        m.most = fmax(m.most, value->valuedouble);
    }
    m.mean = m.count ? sum / m.count : NAN;
    cJSON_ArrayForEach(line, results) {
        const cJSON *value = sweep_number(line, name, group, key);
        if (value) squares += (value->valuedouble - m.mean) * (value->valuedouble - m.mean);
    }
    m.deviation = m.count > 1 ? sqrt(squares / (m.count - 1)) : NAN;
    return m;
}

sweep_moments sweep_moments_of(const cJSON *results, const char *name, const char *key) {
    return moments_in(results, name, NULL, key);
}

/* ---- the table ---- */

static void put_mean_and_deviation(FILE *out, sweep_moments m) {
    if (m.count == 0)
        fputs(" – |", out);
    else if (m.count == 1)
        fprintf(out, " %.4f |", m.mean);
    else
        fprintf(out, " %.4f ± %.4f |", m.mean, m.deviation);
}

static void put_moments(FILE *out, const cJSON *results, const char *name, const char *key) {
    put_mean_and_deviation(out, sweep_moments_of(results, name, key));
}

static void put_mean(FILE *out, const cJSON *results, const char *name, const char *key, int digits) {
    sweep_moments m = sweep_moments_of(results, name, key);
    if (m.count == 0)
        fputs(" – |", out);
    else
        fprintf(out, " %.*f |", digits, m.mean);
}

/* The extremes over seeds: one collapsed run must not vanish in a mean. */
static void put_shares(FILE *out, const cJSON *results, const char *name) {
    sweep_moments least = sweep_moments_of(results, name, "expert_share_min");
    sweep_moments most = sweep_moments_of(results, name, "expert_share_max");
    if (least.count == 0)
        fputs(" – |", out);
    else
        fprintf(out, " %.3f / %.3f |", least.least, most.most);
}

static void put_collapsed(FILE *out, const cJSON *results, const char *name, int seeds) {
    int collapsed = 0;
    const cJSON *line;
    cJSON_ArrayForEach(line, results) {
        const cJSON *found = cJSON_GetObjectItemCaseSensitive(line, "name");
        if (cJSON_IsString(found) && strcmp(found->valuestring, name) == 0)
            collapsed += cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "collapsed"));
    }
    if (sweep_moments_of(results, name, "expert_share_min").count == 0)
        fputs(" – |", out);
    else if (collapsed == 0)
        fputs(" no |", out);
    else
        fprintf(out, " %d of %d |", collapsed, seeds);
}

static void put_row(FILE *out, const sweep *s, const cJSON *results, const char *name) {
    int seeds = sweep_moments_of(results, name, "val_bpb").count;
    fprintf(out, "| %s | %d |", name, seeds);
    put_mean(out, results, name, "parameters", 0);
    put_mean(out, results, name, "active_parameters", 0);
    put_mean(out, results, name, "steps", 0);
    put_moments(out, results, name, "val_bpb");
    put_moments(out, results, name, "val_bpb_blend");
    put_moments(out, results, name, "val_bpb_ema");
    if (s->pack) {
        put_moments(out, results, name, "val_bpb_packed");
        put_mean(out, results, name, "artifact_bytes", 0);
    }
    put_mean(out, results, name, "ms_per_step", 1);
    put_mean(out, results, name, "tokens_per_second", 0);
    put_shares(out, results, name);
    put_mean(out, results, name, "router_entropy", 3);
    put_collapsed(out, results, name, seeds);
    fputc('\n', out);
}

static bool has_sizes(const sweep *s) {
    bool has = false;
    for (int i = 0; i < s->variant_count; i++) has |= s->variants[i].times != 1;
    return has;
}

static void put_head(FILE *out, const sweep *s, const cJSON *results) {
    int runs = s->seed_count * s->variant_count;
    fprintf(out, "# %s\n\n", s->path);
    if (s->steps > 0)
        fprintf(out, "Each run: %" PRId64 " steps%s. ", s->steps,
                has_sizes(s) ? ", times what its size is (column steps)" : "");
    else
        fprintf(out, "Each run: %.0f s of training. ", s->max_seconds);
    fprintf(out, "%d of %d runs are finished. Bits per byte of ", cJSON_GetArraySize(results), runs);
    if (s->eval_tokens > 0)
        fprintf(out, "a sample of %" PRId64 " tokens from all domains of the held-out text", s->eval_tokens);
    else
        fprintf(out, "the held-out text");
    fprintf(out, ", mean ± standard deviation over seeds; expert shares and entropy (nats) over the last 50 steps, the "
                 "extremes of all layers, passes and seeds.\n\n");
    fputs("| run | seeds | parameters | active | steps | BPB live | BPB blend | BPB averaged |", out);
    if (s->pack) fputs(" BPB packed | artifact bytes |", out);
    fputs(" ms a step | tokens/s | expert share min / max | router entropy | collapsed |\n", out);
    fputs("|---|--:|--:|--:|--:|--:|--:|--:|", out);
    if (s->pack) fputs("--:|--:|", out);
    fputs("--:|--:|--:|--:|--:|\n", out);
}

/* ---- by domain ---- */

cJSON *sweep_domains(const cJSON *results) {
    cJSON *all = cJSON_CreateObject();
    const cJSON *line, *domain;
    cJSON_ArrayForEach(line, results) {
        const cJSON *domains = cJSON_GetObjectItemCaseSensitive(line, "val_bpb_domains");
        cJSON_ArrayForEach(domain, domains) if (!cJSON_GetObjectItemCaseSensitive(all, domain->string))
            cJSON_AddNullToObject(all, domain->string);
    }
    return all;
}

static void put_domains_of(FILE *out, const cJSON *results, const char *name, const cJSON *domains, const char *group,
                           const char *weights) {
    const cJSON *domain;
    if (moments_in(results, name, group, domains->child->string).count == 0) return;
    fprintf(out, "| %s | %s |", name, weights);
    cJSON_ArrayForEach(domain, domains) put_mean_and_deviation(out, moments_in(results, name, group, domain->string));
    fputc('\n', out);
}

static void put_domains(FILE *out, const sweep *s, const cJSON *results) {
    cJSON *domains = sweep_domains(results);
    const cJSON *domain;
    if (domains->child) {
        fputs("\nBy domain:\n\n| run | weights |", out);
        cJSON_ArrayForEach(domain, domains) fprintf(out, " %s |", domain->string);
        fputs("\n|---|---|", out);
        cJSON_ArrayForEach(domain, domains) fputs("--:|", out);
        fputc('\n', out);
        for (int i = 0; i < s->variant_count; i++) {
            const char *name = s->variants[i].name;
            put_domains_of(out, results, name, domains, "val_bpb_domains", "live");
            put_domains_of(out, results, name, domains, "val_bpb_ema_domains", "averaged");
            put_domains_of(out, results, name, domains, "val_bpb_packed_domains", "packed");
        }
    }
    cJSON_Delete(domains);
}

static void put_report(FILE *out, const sweep *s, const cJSON *results, const sweep_fits *fits,
                       const sweep_plots *plots) {
    put_head(out, s, results);
    for (int i = 0; i < s->variant_count; i++)
        if (sweep_moments_of(results, s->variants[i].name, "val_bpb").count > 0)
            put_row(out, s, results, s->variants[i].name);
    put_domains(out, s, results);
    sweep_differences_print(s, results, out);
    sweep_fits_print(fits, out);
    fputc('\n', out);
    for (int i = 0; i < plots->count; i++) fprintf(out, "![%s](%s)\n", plots->paths[i], plots->paths[i]);
}

static status write_report(const sweep *s, const char *out, const cJSON *results, const sweep_fits *fits,
                           const sweep_plots *plots) {
    char *path = path_join(out, "results.md");
    text_stream t;
    put_report(text_stream_begin(&t), s, results, fits, plots);
    const status result = text_stream_write(&t, path);
    free(path);
    return result;
}

static status report(const sweep *s, const char *out, const cJSON *results, const sweep_fits *fits,
                     sweep_plots *plots) {
    status drawn = sweep_plot(s, out, results, fits, plots);
    TRY(write_report(s, out, results, fits, plots)); /* the table, whatever became of the plots */
    TRY(sweep_fits_write(fits, out));
    return drawn;
}

status sweep_report(const sweep *s, const char *out) {
    cJSON *results;
    sweep_plots plots = {0};
    sweep_fits fits;
    TRY(sweep_results(s, out, &results));
    if (cJSON_GetArraySize(results) == 0) {
        cJSON_Delete(results);
        return fail("%s: no run of %s is finished yet", out, s->path);
    }
    sweep_fits_of(&fits, s, results);
    status result = report(s, out, results, &fits, &plots);
    sweep_fits_free(&fits);
    for (int i = 0; i < plots.count; i++) free(plots.paths[i]);
    free(plots.paths);
    cJSON_Delete(results);
    return result;
}
