#include "study/scaling.h"

#include "base/memory.h"
#include "base/random.h"
#include "study/order.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMETERS = 3, MOST_STEPS = 60 };
#define LEAST_ALPHA 1e-3
#define MOST_ALPHA 4.0

double scaling_at(const scaling_law *law, double size) {
    return law->E + law->A * pow(size, -law->alpha);
}

/* ---- least squares ---- */

/* Runs as logarithms, sizes about their mean: log E, log A and α hang together less there. */
typedef struct logs {
    const double *x, *y; /* log(size) − centre, log(loss) */
    int count;
    double centre;
} logs;

typedef struct guess {
    double theta[PARAMETERS]; /* log E, log A at the centre, α */
    double squares;
} guess;

static double squares_at(const logs *d, const double *theta) {
    double sum = 0;
    for (int i = 0; i < d->count; i++) {
        const double r = log(exp(theta[0]) + exp(theta[1] - theta[2] * d->x[i])) - d->y[i];
        sum += r * r;
    }
    return sum;
}

/* Jᵀ J and Jᵀ r of r = log(E + A exp(−α x)) − y:
 * ∂r/∂log E = E / L, ∂r/∂log A = A exp(−α x) / L, ∂r/∂α = −x A exp(−α x) / L. */
static void normal_equations(const logs *d, const double *theta, double H[PARAMETERS][PARAMETERS], double *g) {
    memset(H, 0, PARAMETERS * sizeof *H);
    memset(g, 0, PARAMETERS * sizeof *g);
    for (int i = 0; i < d->count; i++) {
        const double E = exp(theta[0]), power = exp(theta[1] - theta[2] * d->x[i]), L = E + power;
        const double J[PARAMETERS] = {E / L, power / L, -d->x[i] * power / L}, r = log(L) - d->y[i];
        for (int a = 0; a < PARAMETERS; a++) {
            g[a] += J[a] * r;
            for (int b = 0; b < PARAMETERS; b++) H[a][b] += J[a] * J[b];
        }
    }
}

/* Solves H s = g, H being positive definite. */
static void solve(double H[PARAMETERS][PARAMETERS], const double *g, double *s) {
    double L[PARAMETERS][PARAMETERS] = {{0}}, z[PARAMETERS];
    for (int a = 0; a < PARAMETERS; a++)
        for (int b = 0; b <= a; b++) {
            double sum = H[a][b];
            for (int c = 0; c < b; c++) sum -= L[a][c] * L[b][c];
            L[a][b] = a == b ? sqrt(fmax(sum, 1e-300)) : sum / L[b][b];
        }
    for (int a = 0; a < PARAMETERS; a++) {
        z[a] = g[a];
        for (int b = 0; b < a; b++) z[a] -= L[a][b] * z[b];
        z[a] /= L[a][a];
    }
    for (int a = PARAMETERS - 1; a >= 0; a--) {
        s[a] = z[a];
        for (int b = a + 1; b < PARAMETERS; b++) s[a] -= L[b][a] * s[b];
        s[a] /= L[a][a];
    }
}

static double within(double value, double least, double most) {
    return fmin(fmax(value, least), most);
}

/* Levenberg and Marquardt from one start. */
static guess descend(const logs *d, guess from) {
    double damping = 1e-3;
    from.squares = squares_at(d, from.theta);
    for (int step = 0; step < MOST_STEPS && damping < 1e12; step++) {
        double H[PARAMETERS][PARAMETERS], g[PARAMETERS], s[PARAMETERS];
        guess next;
        normal_equations(d, from.theta, H, g);
        for (int a = 0; a < PARAMETERS; a++) H[a][a] += damping * (H[a][a] + 1e-9);
        solve(H, g, s);
        for (int a = 0; a < PARAMETERS; a++) next.theta[a] = within(from.theta[a] - s[a], -60, 60);
        next.theta[2] = within(next.theta[2], LEAST_ALPHA, MOST_ALPHA);
        next.squares = squares_at(d, next.theta);
        if (!(next.squares < from.squares)) {
            damping *= 8;
            continue;
        }
        const bool done = from.squares - next.squares < 1e-13 * from.squares;
        from = next;
        damping = fmax(damping / 8, 1e-12);
        if (done) break;
    }
    return from;
}

/* log L = log A − α log D is a straight line. */
static guess fit_power(const logs *d) {
    double mean = 0, xx = 0, xy = 0;
    for (int i = 0; i < d->count; i++) {
        mean += d->y[i] / d->count;
        xx += d->x[i] * d->x[i];
        xy += d->x[i] * d->y[i];
    }
    guess g = {.theta = {-INFINITY, mean, within(-xy / xx, LEAST_ALPHA, MOST_ALPHA)}};
    g.squares = squares_at(d, g.theta);
    return g;
}

/* Starts: E as a share of the least loss, α, and the A that meets the middle. known: one more start, or NULL. */
static guess fit_saturating(const logs *d, const guess *known) {
    static const double shares[] = {0.02, 0.3, 0.6, 0.8, 0.9, 0.97}, alphas[] = {0.05, 0.15, 0.3, 0.5, 0.9, 1.8};
    double least = INFINITY, mean = 0;
    guess best = fit_power(d);
    for (int i = 0; i < d->count; i++) {
        least = fmin(least, d->y[i]);
        mean += d->y[i] / d->count;
    }
    if (known && isfinite(known->theta[0])) {
        const guess end = descend(d, *known);
        if (end.squares < best.squares) best = end;
    }
    /* A draw is near its runs: every second start will do. */
    const int each = known ? 2 : 1;
    for (int s = 0; s < (int)(sizeof shares / sizeof *shares); s += each)
        for (int a = 0; a < (int)(sizeof alphas / sizeof *alphas); a += each) {
            const double E = shares[s] * exp(least);
            const guess end =
                descend(d, (guess){.theta = {log(E), log(fmax(exp(mean) - E, 1e-3 * exp(mean))), alphas[a]}});
            if (end.squares < best.squares * (1 - 1e-9)) best = end;
        }
    return best;
}

static guess fit(const logs *d, bool saturating, const guess *known) {
    return saturating ? fit_saturating(d, known) : fit_power(d);
}

static scaling_law law_of(const guess *g, double centre) {
    return (scaling_law){.E = exp(g->theta[0]), .A = exp(g->theta[1] + g->theta[2] * centre), .alpha = g->theta[2]};
}

/* ---- groups of runs of one size ---- */

typedef struct sized {
    int first, count; /* in the sorted runs */
    double mean;      /* of log loss */
} sized;

typedef struct data {
    logs d;
    double *x, *y, *drawn; /* [count]; d reads x and y */
    sized *sizes;
    int size_count;
    bool replicated; /* some size has two runs */
} data;

static int by_size(const void *a, const void *b) {
    const scaling_point *p = a, *q = b;
    if (p->size != q->size) return p->size < q->size ? -1 : 1;
    return (p->loss > q->loss) - (p->loss < q->loss);
}

static void group(data *g) {
    for (int i = 0; i < g->d.count; i++) {
        const bool begins = i == 0 || g->x[i] - g->x[i - 1] > 1e-9;
        if (begins) g->sizes[g->size_count++] = (sized){.first = i};
        sized *s = &g->sizes[g->size_count - 1];
        s->mean = (s->mean * s->count + g->y[i]) / (s->count + 1);
        s->count++;
        g->replicated |= s->count > 1;
    }
}

static status data_open(data *g, const scaling_point *points, int count) {
    *g = (data){0};
    for (int i = 0; i < count; i++)
        if (!(points[i].size > 0 && points[i].loss > 0) || !isfinite(points[i].size) || !isfinite(points[i].loss))
            return fail("scaling: expected sizes and losses above 0, found a loss of %g at %g", points[i].loss,
                        points[i].size);
    const size_t n = (size_t)count + 1;
    scaling_point *sorted = xmalloc(n * sizeof *sorted);
    if (count > 0) memcpy(sorted, points, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_size);
    g->x = xmalloc(3 * n * sizeof *g->x);
    g->y = g->x + n;
    g->drawn = g->y + n;
    g->sizes = xcalloc(n, sizeof *g->sizes);
    for (int i = 0; i < count; i++) g->d.centre += log(sorted[i].size) / count;
    for (int i = 0; i < count; i++) {
        g->x[i] = log(sorted[i].size) - g->d.centre;
        g->y[i] = log(sorted[i].loss);
    }
    g->d.x = g->x;
    g->d.y = g->y;
    g->d.count = count;
    group(g);
    free(sorted);
    if (g->size_count >= SCALING_LEAST_SIZES) return STATUS_OK;
    return fail("scaling: expected runs of at least %d sizes, found %d", SCALING_LEAST_SIZES, g->size_count);
}

static void data_close(data *g) {
    free(g->x);
    free(g->sizes);
}

/* ---- how good a law is ---- */

static double aicc(double squares, int runs, int parameters) {
    const int k = parameters + 1;
    if (runs - k - 1 <= 0) return NAN;
    return runs * log(fmax(squares, 1e-300) / runs) + 2 * k + 2.0 * k * (k + 1) / (runs - k - 1);
}

/* log of predicted over found for the size `out`, from the others. */
static double predict(const data *g, bool saturating, int out) {
    const sized *s = &g->sizes[out];
    const int behind = s->first + s->count, left = g->d.count - s->count;
    double *x = xmalloc(2 * (size_t)left * sizeof *x), *y = x + left;
    for (int i = 0, to = 0; i < g->d.count; i++) {
        if (i >= s->first && i < behind) continue;
        x[to] = g->x[i];
        y[to++] = g->y[i];
    }
    double centre = 0;
    for (int i = 0; i < left; i++) centre += x[i] / left;
    for (int i = 0; i < left; i++) x[i] -= centre;
    const guess found = fit(&(logs){.x = x, .y = y, .count = left}, saturating, NULL);
    const scaling_law law = law_of(&found, 0);
    free(x);
    return log(scaling_at(&law, exp(g->x[s->first] - centre))) - s->mean;
}

static void judge(const data *g, bool saturating, const guess *found, scaling_fit *f) {
    const int parameters = saturating ? 3 : 2;
    double squares = 0;
    f->error = sqrt(found->squares / g->d.count);
    f->aicc = aicc(found->squares, g->d.count, parameters);
    f->left_out = f->ahead = NAN;
    if (g->size_count <= parameters) return;
    for (int i = 0; i < g->size_count; i++) {
        f->ahead = predict(g, saturating, i);
        squares += f->ahead * f->ahead / g->size_count;
    }
    f->left_out = sqrt(squares);
}

/* ---- intervals ---- */

static void draw(data *g, rng *r) {
    for (int i = 0; i < g->size_count; i++) {
        const sized *s = &g->sizes[i];
        const double wider = s->count > 1 ? sqrt(s->count / (s->count - 1.0)) : 1;
        for (int j = 0; j < s->count; j++) {
            const double y = g->y[s->first + (int)rng_below(r, (uint64_t)s->count)];
            g->drawn[s->first + j] = s->mean + wider * (y - s->mean);
        }
    }
}

/* The middle 95 % of `values`, which are sorted here. */
static scaling_range middle(double *values) {
    sort_ascending(values, SCALING_DRAWS);
    return (scaling_range){values[SCALING_DRAWS / 40], values[SCALING_DRAWS - 1 - SCALING_DRAWS / 40]};
}

typedef double (*measure)(const scaling_law *law, double size);

static scaling_range range_of(const scaling_fit *f, measure m, double size) {
    double values[SCALING_DRAWS];
    if (!f->draws) return (scaling_range){NAN, NAN};
    for (int i = 0; i < SCALING_DRAWS; i++) values[i] = m(&f->draws[i], size);
    return middle(values);
}

static double E_of(const scaling_law *law, double size) {
    (void)size;
    return law->E;
}
static double A_of(const scaling_law *law, double size) {
    (void)size;
    return law->A;
}
static double alpha_of(const scaling_law *law, double size) {
    (void)size;
    return law->alpha;
}

scaling_range scaling_range_at(const scaling_fit *f, double size) {
    return range_of(f, scaling_at, size);
}

static void fit_law(data *g, bool saturating, uint64_t seed, scaling_fit *f) {
    const guess found = fit(&g->d, saturating, NULL);
    logs drawn = g->d;
    rng r = rng_named(seed, "scaling"); /* both laws see the same draws */
    f->law = law_of(&found, g->d.centre);
    judge(g, saturating, &found, f);
    drawn.y = g->drawn;
    if (g->replicated) f->draws = xmalloc(SCALING_DRAWS * sizeof *f->draws);
    for (int i = 0; i < SCALING_DRAWS && f->draws; i++) {
        draw(g, &r);
        const guess again = fit(&drawn, saturating, &found);
        f->draws[i] = law_of(&again, g->d.centre);
    }
    f->E = range_of(f, E_of, 0);
    f->A = range_of(f, A_of, 0);
    f->alpha = range_of(f, alpha_of, 0);
}

/* ---- all ---- */

status scaling_fit_laws(scaling *s, const scaling_point *points, int count, uint64_t seed) {
    data g;
    *s = (scaling){0};
    status opened = data_open(&g, points, count);
    if (opened == STATUS_OK) {
        s->runs = count;
        s->sizes = g.size_count;
        s->least = s->most = points[0].size;
        for (int i = 1; i < count; i++) {
            s->least = fmin(s->least, points[i].size);
            s->most = fmax(s->most, points[i].size);
        }
        fit_law(&g, true, seed, &s->saturating);
        fit_law(&g, false, seed, &s->power);
    }
    data_close(&g);
    return opened;
}

void scaling_free(scaling *s) {
    free(s->saturating.draws);
    free(s->power.draws);
    *s = (scaling){0};
}

double scaling_beyond(const scaling *s, double size) {
    return log(size / s->most) / log(s->most / s->least);
}
