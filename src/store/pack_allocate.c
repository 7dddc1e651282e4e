/* From a number of bytes to a file: candidates, the multiplier over all tensors, and what was really packed back into their curves. */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "quant/allocate.h"
#include "quant/inverse_factor.h"
#include "store/artifact_format.h"
#include "store/candidate_file.h"
#include "store/pack_plan.h"
#include "store/pack_recipe.h"
#include <math.h>
#include <stdio.h>
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
    candidate_curve
        *curves; /* [plan.count, ALLOCATION_WAYS], of grids: without a correction, and with each of their ranks */
    allocation_item *items; /* [item_count] */
    int *index;             /* [item_count] of an item's tensor */
    int item_count;
    double elements; /* weights of all grids */
    double spare;    /* bytes that stay free */
    bool guesses;    /* of some grids nobody knows the bytes until a file was built */
} allocator;

static comm *ranks_of(const allocator *a) {
    return a->options.allocation.ranks ? a->options.allocation.ranks : comm_alone();
}

/* ---- candidates ---- */

static status weights_key(const model *m, uint64_t *key) {
    status s = STATUS_OK;
    *key = 0;
    for (int i = 0; i < m->param_count && s == STATUS_OK; i++) {
        const param *p = m->params[i];
        float *w = xmalloc(tensor_bytes(&p->value));
        s = param_get(p, m->k, w);
        if (s == STATUS_OK) *key = crc64(*key, w, tensor_bytes(&p->value));
        free(w);
    }
    return s;
}

static candidate_curve *curve_of(const allocator *a, int index, int way) {
    return &a->curves[index * ALLOCATION_WAYS + way];
}

static candidate_ranks ranks_of_tensor(const allocator *a, int index) {
    const tensor_plan *t = &a->plan.tensors[index];
    const tensor *value = &a->m->params[index]->value;
    return candidate_ranks_up_to(t->most_rank, t->rank_bits, tensor_rows(value), tensor_cols(value));
}

/* Everything that a candidate's numbers depend on. */
static uint64_t tensor_key(const allocator *a, uint64_t weights, int index, int rank) {
    const pack_allocation *o = &a->options.allocation;
    const tensor_plan *t = &a->plan.tensors[index];
    char text[360];
    int length = snprintf(text, sizeof text, "%s %s %s %016llx %016llx %.17g %.17g %d %lld %d %u", MOEC_VERSION,
                          a->m->params[index]->name, quantizer_name(t->quantizer), (unsigned long long)weights,
                          (unsigned long long)o->calibration, a->plan.damp, a->plan.prune_fraction,
                          o->sensitivities != NULL, (long long)t->group, t->asymmetric, t->rotation);
    if (o->sample && ranks_of_tensor(a, index).count == 0) /* else all is measured */
        length += snprintf(text + length, sizeof text - (size_t)length, " sample %lld", (long long)o->sample);
    if (rank) length += snprintf(text + length, sizeof text - (size_t)length, " %d %d", rank, t->rank_bits);
    return crc64(0, text, (size_t)length);
}

/* One tensor at all rates, in all ways. */
typedef struct rate_table {
    bool known[CANDIDATES_MOST][ALLOCATION_WAYS];
    candidate at[CANDIDATES_MOST][ALLOCATION_WAYS];
} rate_table;

/* Of each way of a tensor, by rank: what stands for it in the file. */
typedef struct way_keys {
    int count;
    uint64_t of[ALLOCATION_WAYS];
} way_keys;

static way_keys keys_of(const allocator *a, uint64_t weights, int index) {
    const candidate_ranks ranks = ranks_of_tensor(a, index);
    way_keys keys = {.count = 1 + ranks.count};
    for (int w = 0; w < keys.count; w++) keys.of[w] = tensor_key(a, weights, index, w ? ranks.rank[w - 1] : 0);
    return keys;
}

static void look_up(const candidate_file *known, const way_keys *keys, rate_table *t) {
    for (int i = 0; i < candidate_rate_count; i++)
        for (int w = 0; w < keys->count; w++)
            t->known[i][w] = candidate_file_find(known, keys->of[w], candidate_rates[i], &t->at[i][w]);
}

static bool all_known(const rate_table *t, int rate, const way_keys *keys) {
    bool all = true;
    for (int w = 0; w < keys->count; w++) all = all && t->known[rate][w];
    return all;
}

/* What is not in the file yet. */
static status keep_rate(candidate_file *file, const way_keys *keys, const rate_table *t, int rate) {
    for (int w = 0; w < keys->count; w++)
        if (!t->known[rate][w]) TRY(candidate_file_add(file, keys->of[w], &t->at[rate][w]));
    return STATUS_OK;
}

/* The rates that are not known yet; the weights and their Hessian are asked for only where there are any. file NULL: others keep them. */
static status measure_tensor(allocator *a, candidate_file *file, const way_keys *keys, int index, rate_table *table) {
    const tensor_plan *t = &a->plan.tensors[index];
    const candidate_ranks ranks = ranks_of_tensor(a, index);
    packed_matrix matrix;
    inverse_factor factor = {0};
    bool open = false, made;
    status s = STATUS_OK;
    for (int i = 0; i < candidate_rate_count && s == STATUS_OK; i++) {
        if (all_known(table, i, keys)) continue;
        if (interrupt_requested()) s = STATUS_INTERRUPTED;
        if (s == STATUS_OK && !open) {
            s = packed_matrix_open(&matrix, &a->plan, a->m, index, a->h);
            open = s == STATUS_OK;
            if (open) s = quantizer_factor(t->quantizer, &factor, &matrix.problem, &made);
            if (open && made) matrix.problem.factor = &factor;
        }
        if (s == STATUS_OK)
            s = candidates_measure(table->at[i], t->quantizer, &matrix.problem, &ranks, candidate_rates[i],
                                   packed_matrix_bytes, a->options.allocation.sample);
        if (s == STATUS_OK && file) s = keep_rate(file, keys, table, i);
    }
    inverse_factor_free(&factor);
    if (open) packed_matrix_close(&matrix);
    return fail_in(s, "%s", a->m->params[index]->name);
}

/* What other ranks measured. */
static status keep_theirs(candidate_file *file, const way_keys *keys, const rate_table *t) {
    for (int i = 0; i < candidate_rate_count; i++) TRY(keep_rate(file, keys, t, i));
    return STATUS_OK;
}

static void add_to_curves(const allocator *a, int index, const rate_table *t, int ways) {
    for (int i = 0; i < candidate_rate_count; i++)
        for (int w = 0; w < ways; w++) curve_add(curve_of(a, index, w), t->at[i][w]);
}

/* A rate that the recipe gives leaves nothing to choose: it is not measured, and what its bytes are the first building says. */
static bool is_given(const allocator *a, int index) {
    return a->plan.tensors[index].given_rate > 0 && ranks_of_tensor(a, index).count == 0;
}

/* The dial stands for bytes that nobody has measured; returns whether there are any. */
static bool add_given(const allocator *a) {
    bool any = false;
    for (int i = 0; i < a->item_count; i++) {
        const int index = a->index[i];
        const double rate = a->plan.tensors[index].given_rate;
        if (!is_given(a, index)) continue;
        curve_add(curve_of(a, index, 0),
                  (candidate){.rate = rate, .bytes = rate / 8 * (double)param_count(a->m->params[index])});
        any = true;
    }
    return any;
}

typedef struct measuring {
    allocator *a;
    comm *ranks;
    candidate_file *file; /* rank 0's; NULL elsewhere */
    uint64_t weights;
    rate_table *tables; /* [ranks] */
    int *group;         /* [group_count] tensors whose layers' Hessians are held at a time */
    int group_count, done, to_do;
    progress shown;
} measuring;

static way_keys keys_of_item(const measuring *m, int i) {
    return keys_of(m->a, m->weights, m->group[i]);
}

/* A matrix of the group for each rank, from `first` on. */
static status measure_round(measuring *m, int first) {
    const int ranks = m->ranks->ranks, own = first + m->ranks->rank;
    const int count = m->group_count - first < ranks ? m->group_count - first : ranks;
    for (int i = 0; i < count && m->file; i++) {
        const way_keys keys = keys_of_item(m, first + i);
        look_up(m->file, &keys, &m->tables[i]);
    }
    TRY(comm_broadcast(m->ranks, 0, m->tables, (size_t)ranks * sizeof *m->tables));
    rate_table mine = m->tables[m->ranks->rank];
    status s = STATUS_OK;
    if (own < m->group_count) {
        const way_keys keys = keys_of_item(m, own);
        s = measure_tensor(m->a, m->file, &keys, m->group[own], &mine);
    }
    TRY(comm_agree(m->ranks, s));
    TRY(comm_gather(m->ranks, &mine, m->tables, sizeof mine));
    for (int i = 0; i < count; i++) {
        const way_keys keys = keys_of_item(m, first + i);
        if (i > 0 && m->file && s == STATUS_OK) s = keep_theirs(m->file, &keys, &m->tables[i]);
        add_to_curves(m->a, m->group[first + i], &m->tables[i], keys.count);
    }
    return comm_agree(m->ranks, s);
}

/* Rank 0 knows whether anything of the group has to be measured. */
static status hold_for_group(measuring *m, int layer) {
    bool needed = false;
    for (int i = 0; i < m->group_count && m->file; i++) {
        rate_table t;
        const way_keys keys = keys_of_item(m, i);
        look_up(m->file, &keys, &t);
        for (int j = 0; j < candidate_rate_count; j++) needed |= !all_known(&t, j, &keys);
    }
    TRY(comm_broadcast(m->ranks, 0, &needed, sizeof needed));
    return needed && m->a->h ? hessians_hold(m->a->h, layer) : STATUS_OK;
}

/* The layers from `layer` to `last`, −1: what is in none. */
static status measure_group(measuring *m, int layer, int last) {
    m->group_count = 0;
    for (int i = 0; i < m->a->item_count; i++) {
        const param *p = m->a->m->params[m->a->index[i]];
        if (p->layer >= layer && p->layer <= last && !is_given(m->a, m->a->index[i]))
            m->group[m->group_count++] = m->a->index[i];
    }
    TRY(hold_for_group(m, layer));
    for (int i = 0; i < m->group_count; i += m->ranks->ranks) {
        TRY(measure_round(m, i));
        m->done += m->group_count - i < m->ranks->ranks ? m->group_count - i : m->ranks->ranks;
        if (m->ranks->rank > 0) continue;
        progress_show(&m->shown, (double)m->done / (double)m->to_do, m->a->m->params[m->group[i]]->name);
    }
    return STATUS_OK;
}

static status measure_all(allocator *a) {
    measuring m = {.a = a, .ranks = ranks_of(a)};
    const bool leads = m.ranks->rank == 0;
    TRY(comm_agree(m.ranks, weights_key(a->m, &m.weights)));
    TRY(comm_agree(m.ranks, leads ? candidate_file_open(&m.file, a->options.allocation.candidates) : STATUS_OK));
    m.tables = xcalloc((size_t)m.ranks->ranks, sizeof *m.tables);
    m.group = xcalloc((size_t)a->item_count + 1, sizeof *m.group);
    m.shown = progress_start("candidates");
    a->guesses = add_given(a);
    for (int i = 0; i < a->item_count; i++) m.to_do += !is_given(a, a->index[i]);
    const int layers = a->m->config.num_layers;
    status s = STATUS_OK;
    for (int layer = -1, last; layer < layers && s == STATUS_OK; layer = last + 1) {
        last = a->h ? hessians_last(a->h, layer) : layers;
        s = measure_group(&m, layer, last);
    }
    char detail[96];
    snprintf(detail, sizeof detail, "%d matrices at %d rates", m.done, candidate_rate_count);
    if (leads) progress_end(&m.shown, s == STATUS_OK ? detail : "stopped");
    candidate_file_close(m.file);
    free(m.tables);
    free(m.group);
    return s;
}

/* ---- setting up ---- */

static status apply_recipe(allocator *a) {
    const char *path = a->options.allocation.recipe_path;
    uint8_t *text;
    size_t bytes;
    if (!path) return STATUS_OK;
    TRY(file_read(path, 1 << 18, &text, &bytes));
    const status s = pack_recipe_apply(&a->plan, a->m, path, (const char *)text, bytes);
    free(text);
    return s;
}

static status allocator_open(allocator *a) {
    const pack_allocation *o = &a->options.allocation;
    a->plan = pack_plan_create(a->m, o->quantizer, a->options.quant.keep_float_elements);
    a->plan.sensitivities = o->sensitivities;
    a->plan.damp = a->options.quant.damp;
    a->plan.prune_fraction = a->options.quant.prune_fraction;
    a->options.plan = &a->plan;
    a->curves = xcalloc((size_t)a->plan.count * ALLOCATION_WAYS, sizeof *a->curves);
    a->items = xcalloc((size_t)a->plan.count, sizeof *a->items);
    a->index = xcalloc((size_t)a->plan.count, sizeof *a->index);
    if (o->low_rank > 0 && a->plan.prune_fraction > 0)
        return fail_usage("low-rank: expected nothing pruned beside corrections, found prune_fraction %g",
                          a->plan.prune_fraction);
    for (int i = 0; i < a->plan.count; i++) a->plan.tensors[i].most_rank = o->low_rank;
    TRY(apply_recipe(a));
    for (int i = 0; i < a->plan.count; i++)
        if (pack_plan_is_grid(&a->plan, a->m, i)) a->index[a->item_count++] = i;
    a->elements = (double)pack_plan_grid_elements(&a->plan, a->m);
    for (int i = 0; i < a->item_count && o->spare; i++)
        a->spare += (double)tensor_rows(&a->m->params[a->index[i]]->value) / 8;
    return STATUS_OK;
}

static void allocator_close(allocator *a) {
    pack_plan_free(&a->plan);
    free(a->curves);
    free(a->items);
    free(a->index);
}

/* Which rates each may have: all that were measured, or the one that the recipe gives. */
static allocation_way way_of(const candidate_curve *c, const tensor_plan *t, double elements) {
    allocation_way way = {c, c->at[0].rate, c->at[c->count - 1].rate};
    if (t->given_rate > 0) way.least = way.most = t->given_rate;
    if (t->given_bits > 0) way.least = way.most = curve_rate_of_bytes(c, t->given_bits / 8 * elements);
    return way;
}

static void set_items(allocator *a) {
    for (int i = 0; i < a->item_count; i++) {
        const int index = a->index[i];
        allocation_item *item = &a->items[i];
        *item = (allocation_item){.way_count = 1 + ranks_of_tensor(a, index).count};
        for (int w = 0; w < item->way_count; w++)
            item->ways[w] =
                way_of(curve_of(a, index, w), &a->plan.tensors[index], (double)param_count(a->m->params[index]));
    }
}

/* ---- building ---- */

static double grid_bytes(const allocator *a) {
    double bytes = 0;
    for (int i = 0; i < a->item_count; i++) bytes += a->plan.tensors[a->index[i]].bytes;
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
    for (int i = 0; i < a->item_count; i++) {
        tensor_plan *t = &a->plan.tensors[a->index[i]];
        const candidate_ranks ranks = ranks_of_tensor(a, a->index[i]);
        t->rate = a->items[i].chosen.rate;
        t->rank = a->items[i].way > 0 ? ranks.rank[a->items[i].way - 1] : 0;
    }
    TRY(artifact_build(file, a->m, a->tok, a->h, &a->options, report));
    for (int i = 0; i < a->item_count; i++) {
        const tensor_plan *t = &a->plan.tensors[a->index[i]];
        const candidate *expected = &a->items[i].chosen;
        const double bytes = expected->bytes > 0 ? t->bytes / expected->bytes : 1;
        const double error = expected->error > 0 && t->error > 0 ? t->error / expected->error : 1;
        for (int w = 0; w < a->items[i].way_count; w++) scale_curve(curve_of(a, a->index[i], w), bytes, error);
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
    for (int i = 0; i < a->item_count; i++) grids += rounded.tensors[a->index[i]].bytes;
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
    const double least = allocation_least_bytes(a->items, a->item_count) + a->spare;
    if (a->options.allocation.bits > 0 && a->options.allocation.bits / 8 * a->elements < least)
        return fail("%s: expected at least %.3f bits a weight, which the coarsest grids need here, found %g", path,
                    8 * least / a->elements, a->options.allocation.bits);
    return fail("%s: expected a budget of at least about %.0f bytes, which the coarsest grids need here, found %lld",
                path, ceil(least + rest), (long long)a->options.budget_bytes);
}

static bool all_at_most(const allocator *a) {
    for (int i = 0; i < a->item_count; i++)
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
        if ((i > 0 || !a->guesses) && allocation_least_bytes(a->items, a->item_count) > room) {
            if (best->file.count > 0) return STATUS_OK;
            return too_small(a, path, rest);
        }
        /* What is aimed at lies a little below: real bytes scatter around the curves. */
        const double lambda = allocate(a->items, a->item_count, room * (i < BUILDS - 1 ? 0.999 : WITHIN));
        TRY(build(a, &file, &report));
        const double grids = grid_bytes(a);
        rest = (double)report.artifact_bytes - grids; /* the directory changes by a few bytes */
        room = target_of(a, rest);
        const bool fits = grids <= room, done = fits && (grids >= WITHIN * room || all_at_most(a));
        if (fits && grids > best->grids) keep(best, a, &file, &report, lambda);
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
    status s = comm_agree(ranks_of(&a), allocator_open(&a));
    if (s == STATUS_OK) s = measure_all(&a);
    if (s == STATUS_OK)
        s = ranks_of(&a)->rank > 0 ? hessians_follow(h) : hessians_dismiss(h, build_best(&a, file, report, path));
    allocator_close(&a);
    return s;
}
