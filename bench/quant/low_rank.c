/* Whether a correction of low rank (src/quant/low_rank.h) pays at equal bytes: low_rank RUN DATA QUANTIZER BITS RATE…
 *
 * Each matrix of the run is quantised by QUANTIZER at every rate, corrected with factors of BITS bits, and measured:
 * Hessian-weighted error with the loss's curvature, and bytes of codes, factors and scales as the coder needs them.
 * Beside it stands the error that the quantiser alone has at as many bytes, by its own curve. A line a matrix: of ranks
 * 1, 4 and 16 the share of the error that the correction takes away, and its error over that of the finer grid of equal
 * bytes; above 1 it does not pay. Then the same of all errors together, as sums. */
#include "base/file.h"
#include "base/memory.h"
#include "quant/candidates.h"
#include "store/open.h"
#include "store/pack_plan.h"
#include "train/pack.h"
#include <stdio.h>
#include <stdlib.h>

enum { MOST_RATES = 8 };

typedef struct request {
    quantizer q;
    candidate_ranks ranks;
    double rates[MOST_RATES];
    int rate_count;
    /* sums over matrices, by rate and rank */
    double before[MOST_RATES], after[MOST_RATES][CANDIDATE_RANKS], finer[MOST_RATES][CANDIDATE_RANKS];
    int pays[MOST_RATES][CANDIDATE_RANKS], matrices;
} request;

static void stop(void) {
    fprintf(stderr, "%s\n", error_message());
    exit(1);
}

static candidate_curve curve_of(const request *q, const matrix_problem *p) {
    candidate_curve c = {0};
    for (int i = 0; i < candidate_rate_count; i++) {
        candidate one;
        if (candidate_measure(&one, q->q, p, candidate_rates[i], packed_matrix_size) != STATUS_OK) stop();
        curve_add(&c, one);
    }
    return c;
}

static void show(request *q, const char *name, const matrix_problem *p) {
    const candidate_curve alone = curve_of(q, p);
    candidate_ranks ranks = q->ranks;
    while (ranks.count && (p->rows + p->cols) * ranks.rank[ranks.count - 1] > p->rows * p->cols) ranks.count--;
    q->matrices++;
    for (int i = 0; i < q->rate_count; i++) {
        candidate at[1 + CANDIDATE_RANKS];
        if (candidates_measure(at, q->q, p, &ranks, q->rates[i], packed_matrix_size, 0) != STATUS_OK) stop();
        printf("%-36s %5.2f  %5lld x %-5lld", name, q->rates[i], (long long)p->rows, (long long)p->cols);
        q->before[i] += at[0].error;
        for (int k = 0; k < ranks.count; k++) {
            const candidate *with = &at[k + 1];
            const double finer = curve_at(&alone, curve_rate_of_bytes(&alone, with->bytes)).error;
            printf("   %.4f %.4f", 1 - with->error / at[0].error, with->error / finer);
            q->after[i][k] += with->error;
            q->finer[i][k] += finer;
            q->pays[i][k] += with->error < finer;
        }
        printf("\n");
    }
}

static void show_sums(const request *q) {
    for (int i = 0; i < q->rate_count; i++) {
        printf("%-36s %5.2f  %13s", "all", q->rates[i], "");
        for (int k = 0; k < q->ranks.count; k++)
            printf("   %.4f %.4f", 1 - q->after[i][k] / q->before[i], q->after[i][k] / q->finer[i][k]);
        printf("   pays in");
        for (int k = 0; k < q->ranks.count; k++) printf(" %d", q->pays[i][k]);
        printf(" of %d\n", q->matrices);
    }
}

static void show_all(request *q, const char *run, const char *data) {
    run_config c = run_config_default();
    model *m;
    tokenizer *tok;
    pack_calibration cal;
    char *path = path_join(run, "config.yaml");
    if (run_config_load_begun(&c, path, NULL, 0) != STATUS_OK ||
        open_model(run, kernels_for(DTYPE_F32), "chosen", MODEL_VALUES, &m, &tok, NULL) != STATUS_OK)
        stop();
    free(path);
    free(c.data.path);
    c.data.path = xstrdup(data);
    if (pack_calibrate(&cal, &c, m, tok, true, NULL) != STATUS_OK) stop();
    pack_plan plan = pack_plan_create(m, q->q, 1024);
    plan.sensitivities = cal.s;
    plan.damp = 0.01;
    for (int i = 0; i < plan.count; i++) {
        packed_matrix matrix;
        if (!pack_plan_is_grid(&plan, m, i)) continue;
        if (packed_matrix_open(&matrix, &plan, m, i, cal.h) != STATUS_OK) stop();
        show(q, m->params[i]->name, &matrix.problem);
        packed_matrix_close(&matrix);
    }
}

int main(int count, char **arguments) {
    request q = {.ranks = {.count = 3, .rank = {1, 4, 16}}};
    if (count < 6 || !quantizer_find(arguments[3], &q.q) || count - 5 > MOST_RATES)
        return fprintf(stderr, "usage: low_rank RUN DATA QUANTIZER BITS RATE...\n"), 2;
    q.ranks.bits = atoi(arguments[4]);
    for (int i = 5; i < count; i++) q.rates[q.rate_count++] = atof(arguments[i]);
    printf("%-36s %5s  %13s   %-13s   %-13s   %-13s\n", "matrix", "rate", "shape", "rank 1", "rank 4", "rank 16");
    show_all(&q, arguments[1], arguments[2]);
    show_sums(&q);
    return 0;
}
