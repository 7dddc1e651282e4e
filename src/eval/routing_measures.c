#include "eval/routing_measures.h"

#include "base/memory.h"
#include "eval/assignment.h"
#include <math.h>
#include <stdlib.h>

routing_table routing_table_create(int domains, int experts) {
    return (routing_table){domains, experts, xcalloc((size_t)domains * (size_t)experts, sizeof(double))};
}

void routing_table_free(routing_table *t) {
    free(t->count);
    *t = (routing_table){0};
}

static double at(const routing_table *t, int domain, int expert) {
    return t->count[domain * t->experts + expert];
}

double routing_table_domain(const routing_table *t, int domain) {
    double sum = 0;
    for (int e = 0; e < t->experts; e++) sum += at(t, domain, e);
    return sum;
}

static double expert_total(const routing_table *t, int expert) {
    double sum = 0;
    for (int d = 0; d < t->domains; d++) sum += at(t, d, expert);
    return sum;
}

double routing_table_total(const routing_table *t) {
    double sum = 0;
    for (int d = 0; d < t->domains; d++) sum += routing_table_domain(t, d);
    return sum;
}

double routing_table_share(const routing_table *t, int domain, int expert) {
    const double sum = routing_table_domain(t, domain);
    return sum > 0 ? at(t, domain, expert) / sum : 0;
}

/* ---- separation, contrast ---- */

static double total_variation(const routing_table *t, int a, int b) {
    double sum = 0;
    for (int e = 0; e < t->experts; e++) sum += fabs(routing_table_share(t, a, e) - routing_table_share(t, b, e));
    return sum / 2;
}

double routing_separation(const routing_table *t) {
    double sum = 0;
    int pairs = 0;
    for (int a = 0; a < t->domains; a++)
        for (int b = a + 1; b < t->domains; b++) {
            if (routing_table_domain(t, a) <= 0 || routing_table_domain(t, b) <= 0) continue;
            sum += total_variation(t, a, b);
            pairs++;
        }
    return pairs ? sum / pairs : 0;
}

static double smallest_domain(const routing_table *t) {
    double least = INFINITY;
    for (int d = 0; d < t->domains; d++) {
        const double sum = routing_table_domain(t, d);
        if (sum > 0) least = fmin(least, sum);
    }
    return least;
}

static double expert_contrast(const routing_table *t, int expert, double smoothing) {
    double least = INFINITY, most = 0;
    for (int d = 0; d < t->domains; d++) {
        if (routing_table_domain(t, d) <= 0) continue;
        const double share = routing_table_share(t, d, expert) + smoothing;
        least = fmin(least, share);
        most = fmax(most, share);
    }
    return most > 0 ? most / least : 1;
}

routing_contrast routing_contrast_of(const routing_table *t) {
    const double smoothing = 1 / smallest_domain(t);
    routing_contrast c = {0};
    for (int e = 0; e < t->experts; e++) {
        const double contrast = expert_contrast(t, e, smoothing);
        c.mean += contrast / t->experts;
        if (contrast > c.largest) c = (routing_contrast){c.mean, contrast, e};
    }
    return c;
}

/* ---- information ---- */

/* −p log2 p, of p = count / all */
static double bits(double count, double all) {
    return count > 0 ? -count / all * log2(count / all) : 0;
}

static double domain_entropy(const routing_table *t, double all) {
    double sum = 0;
    for (int d = 0; d < t->domains; d++) sum += bits(routing_table_domain(t, d), all);
    return sum;
}

double routing_expert_entropy(const routing_table *t) {
    const double all = routing_table_total(t);
    double sum = 0;
    for (int e = 0; e < t->experts; e++) sum += bits(expert_total(t, e), all);
    return sum;
}

/* H(domain) + H(expert) − H(domain, expert) */
double routing_information(const routing_table *t) {
    const double all = routing_table_total(t);
    double joint = 0;
    for (int d = 0; d < t->domains; d++)
        for (int e = 0; e < t->experts; e++) joint += bits(at(t, d, e), all);
    return fmax(0, domain_entropy(t, all) + routing_expert_entropy(t) - joint);
}

double routing_information_bound(const routing_table *t) {
    return fmin(domain_entropy(t, routing_table_total(t)), log2(t->experts));
}

/* ---- accuracy ---- */

routing_accuracy routing_accuracy_of(const routing_table *t, const int *expert) {
    double right = 0, all = 0, shares = 0;
    int domains = 0;
    for (int d = 0; d < t->domains; d++) {
        const double sum = routing_table_domain(t, d);
        if (expert[d] < 0 || sum <= 0) continue;
        right += at(t, d, expert[d]);
        all += sum;
        shares += at(t, d, expert[d]) / sum;
        domains++;
    }
    return domains ? (routing_accuracy){right / all, shares / domains} : (routing_accuracy){0};
}

void routing_best_experts(const routing_table *t, int *expert) {
    int *present = xmalloc((size_t)t->domains * sizeof *present), *best = xmalloc((size_t)t->domains * sizeof *best);
    double *worth = xmalloc((size_t)t->domains * (size_t)t->experts * sizeof *worth);
    int count = 0;
    for (int d = 0; d < t->domains; d++) {
        expert[d] = -1;
        if (routing_table_domain(t, d) <= 0) continue;
        for (int e = 0; e < t->experts; e++) worth[count * t->experts + e] = routing_table_share(t, d, e);
        present[count++] = d;
    }
    best_assignment(worth, count, t->experts, best);
    for (int i = 0; i < count; i++) expert[present[i]] = best[i];
    free(present);
    free(best);
    free(worth);
}
