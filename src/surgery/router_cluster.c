/* Rows from what the layers' MLPs read: k-means. */
#include "base/memory.h"
#include "base/progress.h"
#include "base/random.h"
#include "nn/pass.h"
#include "nn/streamed.h"
#include "surgery/router_init.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_POINTS = 4096, STEPS = 25 }; /* of a layer; of Lloyd */

/* One layer's points [count, d]. */
typedef struct points {
    float *values;
    int64_t count, d;
} points;

/* ---- k-means ---- */

static double distance(const float *a, const double *b, int64_t d) {
    double sum = 0;
    for (int64_t i = 0; i < d; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum;
}

static void set_centre(double *centre, const float *point, int64_t d) {
    for (int64_t i = 0; i < d; i++) centre[i] = (double)point[i];
}

/* Each next seed with a probability that grows with the square of its distance from the ones before (Arthur and
 * Vassilvitskii 2007). */
static void seed_centres(double *centres, int count, const points *p, rng *r) {
    double *nearest = xmalloc((size_t)p->count * sizeof *nearest);
    set_centre(centres, p->values + (int64_t)rng_below(r, (uint64_t)p->count) * p->d, p->d);
    for (int64_t n = 0; n < p->count; n++) nearest[n] = INFINITY;
    for (int c = 1; c < count; c++) {
        double total = 0;
        for (int64_t n = 0; n < p->count; n++) {
            nearest[n] = fmin(nearest[n], distance(p->values + n * p->d, centres + (c - 1) * p->d, p->d));
            total += nearest[n];
        }
        double left = rng_uniform(r) * total;
        int64_t chosen = 0;
        while (chosen + 1 < p->count && (left -= nearest[chosen]) > 0) chosen++;
        set_centre(centres + c * p->d, p->values + chosen * p->d, p->d);
    }
    free(nearest);
}

static int nearest_centre(const double *centres, int count, const float *point, int64_t d) {
    int best = 0;
    double least = INFINITY;
    for (int c = 0; c < count; c++) {
        const double found = distance(point, centres + c * d, d);
        if (found < least) {
            least = found;
            best = c;
        }
    }
    return best;
}

/* Centres become the means of what is nearest to them; one that has nothing stays. */
static void move_centres(double *centres, int count, const points *p) {
    double *sums = xcalloc((size_t)(count * p->d), sizeof *sums);
    int64_t *members = xcalloc((size_t)count, sizeof *members);
    for (int64_t n = 0; n < p->count; n++) {
        const float *point = p->values + n * p->d;
        const int c = nearest_centre(centres, count, point, p->d);
        members[c]++;
        for (int64_t i = 0; i < p->d; i++) sums[c * p->d + i] += (double)point[i];
    }
    for (int c = 0; c < count; c++)
        for (int64_t i = 0; members[c] > 0 && i < p->d; i++)
            centres[c * p->d + i] = sums[c * p->d + i] / (double)members[c];
    free(sums);
    free(members);
}

static void put_rows(float *rows, double *centres, int count, int64_t d) {
    for (int64_t i = 0; i < d; i++) {
        double mean = 0;
        for (int c = 0; c < count; c++) mean += centres[c * d + i] / count;
        for (int c = 0; c < count; c++) centres[c * d + i] -= mean;
    }
    for (int c = 0; c < count; c++) {
        double squares = 0;
        for (int64_t i = 0; i < d; i++) squares += centres[c * d + i] * centres[c * d + i];
        for (int64_t i = 0; i < d; i++) rows[c * d + i] = (float)(centres[c * d + i] / fmax(sqrt(squares), 1e-8));
    }
}

static void cluster(float *rows, int count, const points *p, uint64_t seed, int layer) {
    char name[64];
    snprintf(name, sizeof name, "cluster.%d", layer);
    rng r = rng_named(seed, name);
    double *centres = xmalloc((size_t)(count * p->d) * sizeof *centres);
    seed_centres(centres, count, p, &r);
    for (int step = 0; step < STEPS; step++) move_centres(centres, count, p);
    put_rows(rows, centres, count, p->d);
    free(centres);
}

/* ---- points ---- */

typedef struct collector {
    const model *m;
    points *layers;
    int64_t stride; /* every so manieth token is a point */
    float *device;
} collector;

static void observe(void *context, const param *weight, const void *x, int64_t N, int64_t cols) {
    collector *c = context;
    if (weight->role != ROLE_MLP_FC) return;
    points *p = &c->layers[weight->layer];
    c->m->k->to_float(c->device, x, N * cols);
    for (int64_t n = 0; n < N && p->count < MOST_POINTS; n += c->stride)
        c->m->k->download(p->values + p->count++ * cols, c->device + n * cols, (size_t)cols * sizeof *p->values);
}

static status collect(collector *c, pass *p, const batch *batches, int count) {
    status s = STATUS_OK;
    int64_t most = 0;
    progress shown = progress_start("clusters");
    for (int i = 0; i < count; i++)
        most = batches[i].batch * batches[i].length > most ? batches[i].batch * batches[i].length : most;
    TRY(c->m->k->alloc((void **)&c->device, (size_t)(most * c->m->config.model_dim) * sizeof(float)));
    pass_watch_products(p, observe, c);
    for (int i = 0; i < count && s == STATUS_OK; i++) {
        s = interrupt_requested() ? STATUS_INTERRUPTED : pass_observe(p, &batches[i], c->m->config.num_layers - 1);
        progress_show(&shown, (double)(i + 1) / count, "batches");
    }
    pass_watch_products(p, NULL, NULL);
    progress_end(&shown, s == STATUS_OK ? NULL : "stopped");
    c->m->k->release(c->device);
    return s;
}

static status cluster_all(router_rows *r, pass *p, const batch *batches, int count, uint64_t seed) {
    int64_t tokens = 0;
    for (int i = 0; i < count; i++) tokens += batches[i].batch * batches[i].length;
    if (tokens < r->experts)
        return fail("router cluster: expected calibration text of at least %d tokens, found %lld", r->experts,
                    (long long)tokens);
    collector c = {.m = pass_model(p), .stride = (tokens + MOST_POINTS - 1) / MOST_POINTS};
    c.layers = xcalloc((size_t)r->layers, sizeof *c.layers);
    for (int i = 0; i < r->layers; i++)
        c.layers[i] = (points){.values = xmalloc((size_t)(MOST_POINTS * r->d) * sizeof(float)), .d = r->d};
    const status s = collect(&c, p, batches, count);
    for (int i = 0; i < r->layers; i++) {
        if (s == STATUS_OK && r->rows[i]) cluster(r->rows[i], r->experts, &c.layers[i], seed, i);
        free(c.layers[i].values);
    }
    free(c.layers);
    return s;
}

status router_rows_from_clusters(router_rows *r, const weight_source *parent, const kernels *k, const batch *batches,
                                 int batch_count, uint64_t seed) {
    model *m;
    pass *p = NULL;
    TRY(model_create_streamed(&m, parent, k));
    status s = pass_create(&p, m);
    if (s == STATUS_OK) s = cluster_all(r, p, batches, batch_count, seed);
    pass_destroy(p);
    model_destroy(m);
    return s;
}
