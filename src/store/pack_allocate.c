/* From a number of bytes to a file: candidates, the multiplier over all tensors, and what was really packed back into their curves. */
#include "base/memory.h"
#include "store/artifact_format.h"
#include "store/pack_recipe.h"
#include "store/plan_curves.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WITHIN 0.995 /* of what was asked for */
enum { BUILDS = 6 };

typedef struct allocator {
    const model *m;
    const tokenizer *tok;
    hessians *h;
    pack_options options;
    pack_plan plan;
    plan_curves curves;     /* of the plan's grids */
    allocation_item *items; /* [curves.count] */
    double elements;        /* weights of all grids */
    double spare;           /* bytes that stay free */
} allocator;

/* ---- setting up ---- */

static status allocator_open(allocator *a) {
    const pack_allocation *o = &a->options.allocation;
    const status planned = pack_plan_of(&a->plan, a->m, &a->options);
    a->options.plan = &a->plan;
    TRY(planned);
    plan_curves_open(&a->curves, a->m, &a->plan, &a->options.allocation, a->h);
    a->items = xcalloc((size_t)a->curves.count, sizeof *a->items);
    a->elements = (double)pack_plan_grid_elements(&a->plan, a->m);
    for (int i = 0; i < a->curves.count && o->spare; i++)
        a->spare += (double)tensor_rows(&a->m->params[a->curves.index[i]]->value) / 8;
    return STATUS_OK;
}

static void allocator_close(allocator *a) {
    pack_plan_free(&a->plan);
    plan_curves_close(&a->curves);
    free(a->items);
}

/* Which rates each may have: all that were measured, or the one that the recipe gives. */
static allocation_way way_of(const candidate_curve *c, const tensor_plan *t, double elements) {
    allocation_way way = {c, c->at[0].rate, c->at[c->count - 1].rate};
    if (t->given_rate > 0) way.least = way.most = t->given_rate;
    if (t->given_bits > 0) way.least = way.most = curve_rate_of_bytes(c, t->given_bits / 8 * elements);
    return way;
}

static void set_items(allocator *a) {
    const plan_curves *c = &a->curves;
    for (int i = 0; i < c->count; i++) {
        allocation_item *item = &a->items[i];
        *item = (allocation_item){.way_count = 1 + plan_curves_ranks(c, i).count};
        for (int w = 0; w < item->way_count; w++)
            item->ways[w] = way_of(plan_curve(c, i, w), plan_curves_tensor(c, i), (double)plan_curves_elements(c, i));
    }
}

/* ---- building ---- */

static double grid_bytes(const allocator *a) {
    double bytes = 0;
    for (int i = 0; i < a->curves.count; i++) bytes += plan_curves_tensor(&a->curves, i)->bytes;
    return bytes;
}

static void scale_curve(candidate_curve *c, double bytes, double error) {
    for (int j = 0; j < c->count; j++) {
        c->at[j].bytes *= bytes;
        c->at[j].error *= error;
    }
}

/* Packs what was chosen, and moves every curve to where the whole matrix turned out to be at its rate. */
static status build(allocator *a, byte_buffer *file, pack_report *report) {
    const plan_curves *c = &a->curves;
    for (int i = 0; i < c->count; i++) {
        tensor_plan *t = &a->plan.tensors[c->index[i]];
        const candidate_ranks ranks = plan_curves_ranks(c, i);
        t->rate = a->items[i].chosen.rate;
        t->rank = a->items[i].way > 0 ? ranks.rank[a->items[i].way - 1] : 0;
    }
    TRY(artifact_build(file, a->m, a->tok, a->h, &a->options, report));
    for (int i = 0; i < c->count; i++) {
        const tensor_plan *t = plan_curves_tensor(c, i);
        const candidate *expected = &a->items[i].chosen;
        const double bytes = expected->bytes > 0 ? t->bytes / expected->bytes : 1;
        const double error = expected->error > 0 && t->error > 0 ? t->error / expected->error : 1;
        for (int w = 0; w < a->items[i].way_count; w++) scale_curve(plan_curve(c, i, w), bytes, error);
    }
    return STATUS_OK;
}

/* Bytes of the file beside its grids: rounding at the coarsest rates is quick, and has the same other parts. */
static status measure_rest(allocator *a, double *rest) {
    byte_buffer file = {0};
    pack_report report;
    pack_plan rounded = pack_plan_create(a->m, QUANTIZER_ROUND, 0);
    pack_options options = a->options;
    memcpy(rounded.tensors, a->plan.tensors, (size_t)a->plan.count * sizeof *rounded.tensors);
    for (int i = 0; i < rounded.count; i++) {
        rounded.tensors[i].quantizer = QUANTIZER_ROUND;
        rounded.tensors[i].rate = 1;
        rounded.tensors[i].rank = 0;
    }
    options.plan = &rounded;
    const status s = artifact_build(&file, a->m, a->tok, NULL, &options, &report);
    double grids = 0;
    for (int i = 0; i < a->curves.count; i++) grids += rounded.tensors[a->curves.index[i]].bytes;
    *rest = (double)report.artifact_bytes - grids;
    pack_plan_free(&rounded);
    free(file.bytes);
    return s;
}

/* Bytes that the grids may have. */
static double target_of(const allocator *a, double rest) {
    const double bits = a->options.allocation.bits, budget = (double)a->options.budget_bytes;
    const double by_bits = bits > 0 ? bits / 8 * a->elements : INFINITY;
    return (budget > 0 ? fmin(by_bits, budget - rest) : by_bits) - a->spare;
}

static status too_small(const allocator *a, const char *path, double rest) {
    const double least = allocation_least_bytes(a->items, a->curves.count) + a->spare;
    if (a->options.allocation.bits > 0 && a->options.allocation.bits / 8 * a->elements < least)
        return fail("%s: expected at least %.3f bits a weight, which the coarsest grids need here, found %g", path,
                    8 * least / a->elements, a->options.allocation.bits);
    return fail("%s: expected a budget of at least about %.0f bytes, which the coarsest grids need here, found %lld",
                path, ceil(least + rest), (long long)a->options.budget_bytes);
}

static bool all_at_most(const allocator *a) {
    for (int i = 0; i < a->curves.count; i++)
        if (a->items[i].chosen.rate + RATE_STEP <= a->items[i].ways[a->items[i].way].most) return false;
    return true;
}

typedef struct best_file {
    byte_buffer file;
    pack_report report;
    double grids, lambda;
    tensor_plan *tensors;
} best_file;

static void keep(best_file *best, const allocator *a, byte_buffer *file, const pack_report *report, double lambda) {
    free(best->file.bytes);
    *best = (best_file){
        .file = *file, .report = *report, .grids = grid_bytes(a), .lambda = lambda, .tensors = best->tensors};
    memcpy(best->tensors, a->plan.tensors, (size_t)a->plan.count * sizeof *best->tensors);
    *file = (byte_buffer){0};
}

/* Builds until one is within half a percent under the target. */
static status approach(allocator *a, best_file *best, double rest, const char *path) {
    double room = target_of(a, rest);
    for (int i = 0; i < BUILDS; i++) {
        byte_buffer file = {0};
        pack_report report;
        set_items(a);
        if ((i > 0 || !a->curves.guesses) && allocation_least_bytes(a->items, a->curves.count) > room) {
            if (best->file.count > 0) return STATUS_OK;
            return too_small(a, path, rest);
        }
        /* What is aimed at lies a little below: real bytes scatter around the curves. */
        const double lambda = allocate(a->items, a->curves.count, room * (i < BUILDS - 1 ? 0.999 : WITHIN));
        TRY(build(a, &file, &report));
        const double grids = grid_bytes(a);
        rest = (double)report.artifact_bytes - grids; /* the directory changes by a few bytes */
        room = target_of(a, rest);
        const bool fits = grids <= room, done = fits && (grids >= WITHIN * room || all_at_most(a));
        if (fits && (!best->file.count || grids > best->grids)) keep(best, a, &file, &report, lambda);
        free(file.bytes);
        if (done) break;
    }
    return best->file.count > 0 ? STATUS_OK : too_small(a, path, rest);
}

/* ---- the report ---- */

static void fill_tensors(pack_report *r, const allocator *a, const best_file *best) {
    r->tensors = xcalloc((size_t)a->plan.count, sizeof *r->tensors);
    for (int i = 0; i < a->plan.count; i++) {
        const tensor_plan *t = &best->tensors[i];
        if (a->m->params[i]->derived) continue;
        r->tensors[r->tensor_count++] = (pack_tensor){.of = a->m->params[i],
                                                      .coding = t->floats ? "float16" : quantizer_name(t->quantizer),
                                                      .rate = t->rate,
                                                      .rank = t->rank,
                                                      .bytes = t->bytes,
                                                      .error = t->error,
                                                      .weight = t->weight};
        r->loss += t->error;
    }
    r->loss_a_byte = best->lambda;
    r->grid_bits = a->elements > 0 ? 8 * best->grids / a->elements : 0;
    if (!a->options.allocation.sensitivities) r->loss = r->loss_a_byte = 0;
}

/* Rank 0 by itself; the others have their part in its Hessians. */
static status build_best(allocator *a, byte_buffer *file, pack_report *report, const char *path) {
    best_file best = {.tensors = xcalloc((size_t)a->m->param_count, sizeof *best.tensors)};
    double rest = 0;
    status s = measure_rest(a, &rest);
    if (s == STATUS_OK) s = approach(a, &best, rest, path);
    if (s == STATUS_OK) {
        *file = best.file;
        *report = best.report;
        fill_tensors(report, a, &best);
    } else {
        free(best.file.bytes);
    }
    free(best.tensors);
    return s;
}

status artifact_allocate(byte_buffer *file, const model *m, const tokenizer *tok, hessians *h, pack_options options,
                         pack_report *report, const char *path) {
    allocator a = {.m = m, .tok = tok, .h = h, .options = options};
    comm *ranks = options.allocation.ranks ? options.allocation.ranks : comm_alone();
    status s = comm_agree(ranks, allocator_open(&a));
    if (s == STATUS_OK) s = plan_curves_measure(&a.curves);
    if (s == STATUS_OK)
        s = ranks->rank > 0 ? hessians_follow(h) : hessians_dismiss(h, build_best(&a, file, report, path));
    allocator_close(&a);
    return s;
}
