#include "study/step_report.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text_stream.h"
#include "study/plot.h"
#include "study/table.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static bool is_shown(const step_study *s, step_method method) {
    return method != STEP_EXPERTS || s->work->experts > 1;
}

status step_study_run(step_study *s) {
    step_options o = s->options;
    o.ranks = 1;
    o.method = STEP_SHARDED;
    TRY(step_simulate(s->work, s->machine, &o, &s->alone));
    for (int i = 0; i < s->count; i++)
        for (step_method m = 0; m < STEP_METHODS; m++) {
            if (!is_shown(s, m)) continue;
            o.ranks = s->ranks[i];
            o.method = m;
            TRY(step_simulate(s->work, s->machine, &o, &s->results[i][m]));
        }
    return STATUS_OK;
}

static double speed(const step_result *r) {
    return r->tokens / r->seconds;
}

/* As many times the one rank: of a node that is shared one rank has all. */
static double ideal(const step_study *s, int ranks) {
    const int local = ranks < s->machine->node_ranks ? ranks : s->machine->node_ranks;
    return s->machine->shared ? (double)ranks / local : ranks;
}

double step_study_efficiency(const step_study *s, int index, step_method method) {
    const step_result *r = &s->results[index][method];
    return r->possible ? speed(r) / ideal(s, s->ranks[index]) / speed(&s->alone) : NAN;
}

/* ---- the table ---- */

static const char *const columns[] = {"ranks",     "way",      "experts over", "step", "tokens/s",       "of ideal",
                                      "computing", "updating", "waiting",      "sent", "to other nodes", "memory"};
enum { COLUMNS = sizeof columns / sizeof *columns };

static void put_bytes(table *t, double bytes) {
    if (bytes >= 1e9)
        table_put(t, "%.2f GB", bytes / 1e9);
    else
        table_put(t, "%.2f MB", bytes / 1e6);
}

static void put_seconds(table *t, double seconds) {
    if (seconds >= 1)
        table_put(t, "%.2f s", seconds);
    else
        table_put(t, "%.2f ms", 1e3 * seconds);
}

static void put_row(table *t, const step_study *s, int index, step_method method) {
    const step_result *r = &s->results[index][method];
    table_put(t, "%d", s->ranks[index]);
    table_put(t, "%s", step_method_name(method));
    table_put(t, r->expert_ranks > 1 ? "%d ranks" : "–", r->expert_ranks);
    put_seconds(t, r->seconds);
    table_put(t, "%.3g", speed(r));
    table_put(t, "%.2f", step_study_efficiency(s, index, method));
    table_put(t, "%.0f %%", 100 * r->computing / r->seconds);
    table_put(t, "%.0f %%", 100 * r->updating / r->seconds);
    table_put(t, "%.0f %%", 100 * r->waiting / r->seconds);
    put_bytes(t, r->sent);
    put_bytes(t, r->sent_apart);
    put_bytes(t, r->memory);
}

static void print_head(const step_study *s, FILE *out) {
    char values[32];
    fprintf(out, "%s on %s: %s parameters", s->config, s->machine->name, grouped(llround(s->work->values), values));
    if (s->work->experts > 1) fprintf(out, " (%.0f %% experts')", 100 * s->work->expert_values / s->work->values);
    if (s->options.grows)
        fprintf(out, ", %" PRId64 " x %" PRId64 " tokens a step and rank\n", s->work->micro_rows, s->work->seq);
    else
        fprintf(out, ", %" PRId64 " x %" PRId64 " tokens a step\n", s->work->rows, s->work->seq);
    fprintf(out, "one rank: a step in %.3f s, %.0f tokens/s, %.1f GB\n\n", s->alone.seconds, speed(&s->alone),
            s->alone.memory / 1e9);
}

/* What cannot be, and what does not fit. */
static void print_remarks(const step_study *s, FILE *out) {
    for (int i = 0; i < s->count; i++) {
        const step_result *first = &s->results[i][STEP_AS_BUILT];
        if (!first->possible) fprintf(out, "\n%d ranks: %s\n", s->ranks[i], first->why);
        const double memory = s->machine->memory / (s->machine->shared ? s->machine->node_ranks : 1);
        for (step_method m = 0; m < STEP_METHODS && first->possible && memory > 0; m++)
            if (is_shown(s, m) && s->results[i][m].memory > memory)
                fprintf(out, "\n%d ranks, %s: a rank has %.0f GB of memory, and this needs %.0f GB\n", s->ranks[i],
                        step_method_name(m), memory / 1e9, s->results[i][m].memory / 1e9);
    }
}

void step_study_print(const step_study *s, FILE *out) {
    table t = table_create(COLUMNS);
    print_head(s, out);
    for (int i = 0; i < COLUMNS; i++) table_put(&t, "%s", columns[i]);
    for (int i = 0; i < s->count; i++)
        for (step_method m = 0; m < STEP_METHODS; m++)
            if (is_shown(s, m) && s->results[i][m].possible) put_row(&t, s, i, m);
    table_print(&t, out);
    print_remarks(s, out);
}

cJSON *step_study_json(const step_study *s) {
    cJSON *root = cJSON_CreateObject(), *rows = cJSON_AddArrayToObject(root, "steps");
    cJSON_AddStringToObject(root, "config", s->config);
    cJSON_AddStringToObject(root, "machine", s->machine->name);
    cJSON_AddNumberToObject(root, "parameters", s->work->values);
    cJSON_AddNumberToObject(root, "alone_seconds", s->alone.seconds);
    for (int i = 0; i < s->count; i++)
        for (step_method m = 0; m < STEP_METHODS; m++) {
            const step_result *r = &s->results[i][m];
            if (!is_shown(s, m) || !r->possible) continue;
            cJSON *one = cJSON_CreateObject();
            cJSON_AddNumberToObject(one, "ranks", s->ranks[i]);
            cJSON_AddStringToObject(one, "way", step_method_name(m));
            cJSON_AddNumberToObject(one, "expert_ranks", r->expert_ranks);
            cJSON_AddNumberToObject(one, "seconds", r->seconds);
            cJSON_AddNumberToObject(one, "tokens_per_second", speed(r));
            cJSON_AddNumberToObject(one, "efficiency", step_study_efficiency(s, i, m));
            cJSON_AddNumberToObject(one, "computing_seconds", r->computing);
            cJSON_AddNumberToObject(one, "updating_seconds", r->updating);
            cJSON_AddNumberToObject(one, "waiting_seconds", r->waiting);
            cJSON_AddNumberToObject(one, "sent_bytes", r->sent);
            cJSON_AddNumberToObject(one, "sent_apart_bytes", r->sent_apart);
            cJSON_AddNumberToObject(one, "memory_bytes", r->memory);
            cJSON_AddBoolToObject(one, "by_message", r->by_message);
            cJSON_AddItemToArray(rows, one);
        }
    return root;
}

/* ---- files ---- */

static status write_table(const step_study *s, const char *folder) {
    char *path = path_join(folder, "simulation.md");
    text_stream t;
    step_study_print(s, text_stream_begin(&t));
    const status result = text_stream_write(&t, path);
    free(path);
    return result;
}

static void put_data(const step_study *s, FILE *data) {
    for (step_method m = 0; m < STEP_METHODS; m++) {
        if (!is_shown(s, m)) continue;
        for (int i = 0; i < s->count; i++) {
            const step_result *r = &s->results[i][m];
            if (r->possible) fprintf(data, "%d\t%.6g\t%.6g\n", s->ranks[i], speed(r), step_study_efficiency(s, i, m));
        }
        fputs("\n\n", data);
    }
}

static void put_script(const step_study *s, FILE *script) {
    fputs("set multiplot layout 1,2\nset logscale x 2\nset xlabel 'ranks'\nset key left top\nset logscale y\n"
          "set format y '%.0e'\nset ylabel 'tokens a second'\n",
          script);
    for (int side = 0; side < 2; side++) {
        if (side)
            fputs("unset logscale y\nset format y '%g'\nset yrange [0:1.05]\nset ylabel 'of as many single ranks'\n"
                  "unset key\n",
                  script);
        int block = 0;
        for (step_method m = 0; m < STEP_METHODS; m++) {
            if (!is_shown(s, m)) continue;
            fprintf(script, "%s'simulation.tsv' index %d using 1:%d with linespoints lw 2 pt 7 ps 0.6 title '%s'",
                    block ? ", " : "plot ", block, 2 + side, step_method_name(m));
            block++;
        }
        fputc('\n', script);
    }
    fputs("unset multiplot\n", script);
}

status step_study_write(const step_study *s, const char *folder) {
    plot p;
    bool found;
    TRY(folder_create(folder));
    TRY(write_table(s, folder));
    TRY(plot_begin(&p, "simulation", 960, 420));
    put_data(s, p.data);
    put_script(s, p.script);
    TRY(plot_end(&p, folder, &found));
    if (!found) plot_say_missing("simulate");
    return STATUS_OK;
}
