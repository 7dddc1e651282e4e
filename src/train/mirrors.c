#include "train/mirrors.h"
#include "base/file.h"
#include "base/memory.h"
#include "train/mix_report.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the table's columns ---- */

typedef struct column_list {
    char **names;
    int count;
} column_list;

static void add_column(column_list *c, const char *key, const char *name) {
    c->names = xrealloc(c->names, (size_t)(c->count + 1) * sizeof *c->names);
    c->names[c->count++] = name ? xasprintf("%s.%s", key, name) : xstrdup(key);
}

static column_list columns_of(const run_config *config, const document_table *looked_at, const loader *data) {
    static const char *const keys[] = {"step",    "time",       "seconds", "tokens",    "loss",
                                       "aux",     "lr_factor",  "lr",      "grad_norm", "tokens_per_second",
                                       "val_bpb", "val_bpb_ema"};
    column_list c = {0};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) add_column(&c, keys[i], NULL);
    if (!curve_is_zero(&config->distill.teacher_weight)) add_column(&c, "kl", NULL);
    if (!curve_is_zero(&config->distill.hidden_weight)) add_column(&c, "hidden", NULL);
    for (int i = 0; i < looked_at->domain_count; i++) add_column(&c, "val_bpb_domains", looked_at->domains[i]);
    cJSON *drawn = mix_drawn_tokens(data);
    const cJSON *domain;
    cJSON_ArrayForEach(domain, drawn) add_column(&c, "drawn", domain->string);
    cJSON_Delete(drawn);
    return c;
}

/* ---- both ---- */

static status open_table(log_mirrors *m, const char *run, run_log *l, column_list columns) {
    char *path = path_join(run, LOG_CSV_FILE);
    status s = log_csv_create(&m->table, path, columns.names, columns.count);
    if (s == STATUS_OK) s = run_log_listen(l, log_csv_record, m->table);
    free(path);
    return s;
}

status mirrors_open(log_mirrors *m, const run_config *c, run_log *l, const document_table *looked_at,
                    const loader *data) {
    *m = (log_mirrors){0};
    if (c->train.log_csv) TRY(open_table(m, c->train.run, l, columns_of(c, looked_at, data)));
    if (!c->train.tensorboard) return STATUS_OK;
    TRY(tensorboard_create(&m->board, c->train.run));
    return run_log_listen(l, tensorboard_record, m->board);
}

void mirrors_close(log_mirrors *m) {
    log_csv_close(m->table);
    tensorboard_close(m->board);
    *m = (log_mirrors){0};
}

status mirrors_remove(const char *run) {
    char *path = path_join(run, LOG_CSV_FILE);
    status s = tensorboard_remove(run);
    if (s == STATUS_OK && path_exists(path) && log_csv_check(path) == STATUS_OK && unlink(path) != 0)
        s = fail("%s: cannot be removed: %s", path, strerror(errno));
    free(path);
    return s;
}
