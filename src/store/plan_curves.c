#include "store/plan_curves.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "quant/ldl_factor.h"
#include "store/artifact_format.h"
#include "store/candidate_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const tensor_plan *plan_curves_tensor(const plan_curves *c, int i) {
    return &c->plan->tensors[c->index[i]];
}

int64_t plan_curves_elements(const plan_curves *c, int i) {
    return param_count(c->m->params[c->index[i]]);
}

candidate_ranks plan_curves_ranks(const plan_curves *c, int i) {
    const tensor_plan *t = plan_curves_tensor(c, i);
    const tensor *value = &c->m->params[c->index[i]]->value;
    return candidate_ranks_up_to(t->most_rank, t->rank_bits, tensor_rows(value), tensor_cols(value));
}

candidate_curve *plan_curve(const plan_curves *c, int i, int way) {
    return &c->curves[i * ALLOCATION_WAYS + way];
}

void plan_curves_open(plan_curves *c, const model *m, const pack_plan *plan, const pack_allocation *asked,
                      hessians *h) {
    *c = (plan_curves){
        .m = m, .plan = plan, .asked = asked, .h = h, .ranks = asked->ranks ? asked->ranks : comm_alone()};
    c->index = xcalloc((size_t)plan->count, sizeof *c->index);
    for (int i = 0; i < plan->count; i++)
        if (pack_plan_is_grid(plan, m, i)) c->index[c->count++] = i;
    c->curves = xcalloc((size_t)c->count * ALLOCATION_WAYS, sizeof *c->curves);
}

void plan_curves_close(plan_curves *c) {
    free(c->index);
    free(c->curves);
    *c = (plan_curves){0};
}

/* ---- what stands for a measurement in the file ---- */

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

/* Another one whenever quantisers, the coder or what scales are reckoned to take come to other numbers. */
enum { MEASURES = 3 };

/* Everything that a candidate's numbers depend on. */
static uint64_t tensor_key(const plan_curves *c, uint64_t weights, int i, int rank) {
    const pack_allocation *o = c->asked;
    const tensor_plan *t = plan_curves_tensor(c, i);
    char text[360];
    int length =
        snprintf(text, sizeof text, "%s %d %s %s %016llx %016llx %.17g %.17g %d %lld %d %u", MOEC_VERSION, MEASURES,
                 c->m->params[c->index[i]]->name, quantizer_name(t->quantizer), (unsigned long long)weights,
                 (unsigned long long)o->calibration, c->plan->damp, c->plan->prune_fraction, o->sensitivities != NULL,
                 (long long)t->group, t->asymmetric, t->rotation);
    if (plan_curves_ranks(c, i).count > 0)
        length += snprintf(text + length, sizeof text - (size_t)length, " all"); /* candidates.h: no sample */
    else if (o->sample)
        length += snprintf(text + length, sizeof text - (size_t)length, " sample %lld", (long long)o->sample);
    if (rank) length += snprintf(text + length, sizeof text - (size_t)length, " %d %d", rank, t->rank_bits);
    return crc64(0, text, (size_t)length);
}

/* Of each way of a grid, by rank. */
typedef struct way_keys {
    int count;
    uint64_t of[ALLOCATION_WAYS];
} way_keys;

static way_keys keys_of(const plan_curves *c, uint64_t weights, int i) {
    const candidate_ranks ranks = plan_curves_ranks(c, i);
    way_keys keys = {.count = 1 + ranks.count};
    for (int w = 0; w < keys.count; w++) keys.of[w] = tensor_key(c, weights, i, w ? ranks.rank[w - 1] : 0);
    return keys;
}

/* ---- one grid at all rates, in all ways ---- */

typedef struct rate_table {
    bool known[CANDIDATES_MOST][ALLOCATION_WAYS];
    candidate at[CANDIDATES_MOST][ALLOCATION_WAYS];
} rate_table;

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

/* A matrix with its Hessian and that one's factor, opened when a rate first wants them. */
typedef struct opened {
    bool is_open, made;
    packed_matrix matrix;
    ldl_factor factor;
} opened;

static status open_once(opened *o, const plan_curves *c, int i) {
    if (o->is_open) return STATUS_OK;
    TRY(packed_matrix_open(&o->matrix, c->plan, c->m, c->index[i], c->h));
    o->is_open = true;
    TRY(quantizer_factor(plan_curves_tensor(c, i)->quantizer, &o->factor, &o->matrix.problem, &o->made));
    if (o->made) o->matrix.problem.factor = &o->factor;
    return STATUS_OK;
}

/* The rates that are not known yet. file NULL: others keep them. */
static status measure_grid(const plan_curves *c, candidate_file *file, const way_keys *keys, int i, rate_table *table) {
    const candidate_ranks ranks = plan_curves_ranks(c, i);
    opened o = {0};
    status s = STATUS_OK;
    for (int r = 0; r < candidate_rate_count && s == STATUS_OK; r++) {
        if (all_known(table, r, keys)) continue;
        s = interrupt_requested() ? STATUS_INTERRUPTED : open_once(&o, c, i);
        if (s == STATUS_OK)
            s = candidates_measure(table->at[r], plan_curves_tensor(c, i)->quantizer, &o.matrix.problem, &ranks,
                                   candidate_rates[r], packed_matrix_size, c->asked->sample);
        if (s == STATUS_OK && file) s = keep_rate(file, keys, table, r);
    }
    ldl_factor_free(&o.factor);
    if (o.is_open) packed_matrix_close(&o.matrix);
    return fail_in(s, "%s", c->m->params[c->index[i]]->name);
}

/* ---- rates that the recipe gives ---- */

/* It leaves nothing to choose: it is not measured, and what its bytes are the first building says. */
static bool is_given(const plan_curves *c, int i) {
    return plan_curves_tensor(c, i)->given_rate > 0 && plan_curves_ranks(c, i).count == 0;
}

/* The dial stands for bytes that nobody has measured. */
static void add_given(plan_curves *c) {
    for (int i = 0; i < c->count; i++) {
        if (!is_given(c, i)) continue;
        const double rate = plan_curves_tensor(c, i)->given_rate;
        curve_add(plan_curve(c, i, 0),
                  (candidate){.rate = rate, .bytes = rate / 8 * (double)plan_curves_elements(c, i)});
        c->guesses = true;
    }
}

/* ---- all grids ---- */

typedef struct measuring {
    plan_curves *c;
    candidate_file *file; /* rank 0's; NULL elsewhere */
    uint64_t weights;
    rate_table *tables; /* [ranks] */
    int *group;         /* [group_count] grids of the layers whose Hessians are held at a time */
    int group_count, done, to_do;
    progress shown;
} measuring;

static way_keys keys_in_group(const measuring *m, int i) {
    return keys_of(m->c, m->weights, m->group[i]);
}

/* What other ranks measured. */
static status keep_theirs(candidate_file *file, const way_keys *keys, const rate_table *t) {
    for (int i = 0; i < candidate_rate_count; i++) TRY(keep_rate(file, keys, t, i));
    return STATUS_OK;
}

static void add_to_curves(const plan_curves *c, int i, const rate_table *t, int ways) {
    for (int r = 0; r < candidate_rate_count; r++)
        for (int w = 0; w < ways; w++) curve_add(plan_curve(c, i, w), t->at[r][w]);
}

/* A grid of the group for each rank, from `first` on. */
static status measure_round(measuring *m, int first) {
    comm *ranks = m->c->ranks;
    const int own = first + ranks->rank;
    const int count = m->group_count - first < ranks->ranks ? m->group_count - first : ranks->ranks;
    for (int i = 0; i < count && m->file; i++) {
        const way_keys keys = keys_in_group(m, first + i);
        look_up(m->file, &keys, &m->tables[i]);
    }
    TRY(comm_broadcast(ranks, 0, m->tables, (size_t)ranks->ranks * sizeof *m->tables));
    rate_table mine = m->tables[ranks->rank];
    status s = STATUS_OK;
    if (own < m->group_count) {
        const way_keys keys = keys_in_group(m, own);
        s = measure_grid(m->c, m->file, &keys, m->group[own], &mine);
    }
    TRY(comm_agree(ranks, s));
    TRY(comm_gather(ranks, &mine, m->tables, sizeof mine));
    for (int i = 0; i < count; i++) {
        const way_keys keys = keys_in_group(m, first + i);
        if (i > 0 && m->file && s == STATUS_OK) s = keep_theirs(m->file, &keys, &m->tables[i]);
        add_to_curves(m->c, m->group[first + i], &m->tables[i], keys.count);
    }
    return comm_agree(ranks, s);
}

/* Rank 0 knows whether anything of the group has to be measured. */
static status hold_for_group(measuring *m, int layer) {
    bool needed = false;
    for (int i = 0; i < m->group_count && m->file; i++) {
        rate_table t;
        const way_keys keys = keys_in_group(m, i);
        look_up(m->file, &keys, &t);
        for (int r = 0; r < candidate_rate_count; r++) needed |= !all_known(&t, r, &keys);
    }
    TRY(comm_broadcast(m->c->ranks, 0, &needed, sizeof needed));
    return needed && m->c->h ? hessians_hold(m->c->h, layer) : STATUS_OK;
}

/* The layers from `layer` to `last`, −1: what is in none. */
static status measure_group(measuring *m, int layer, int last) {
    const plan_curves *c = m->c;
    const int ranks = c->ranks->ranks;
    m->group_count = 0;
    for (int i = 0; i < c->count; i++) {
        const param *p = c->m->params[c->index[i]];
        if (p->layer >= layer && p->layer <= last && !is_given(c, i)) m->group[m->group_count++] = i;
    }
    TRY(hold_for_group(m, layer));
    for (int i = 0; i < m->group_count; i += ranks) {
        TRY(measure_round(m, i));
        m->done += m->group_count - i < ranks ? m->group_count - i : ranks;
        if (c->ranks->rank > 0) continue;
        progress_show(&m->shown, (double)m->done / (double)m->to_do, c->m->params[c->index[m->group[i]]]->name);
    }
    return STATUS_OK;
}

status plan_curves_measure(plan_curves *c) {
    measuring m = {.c = c};
    const bool leads = c->ranks->rank == 0;
    TRY(comm_agree(c->ranks, weights_key(c->m, &m.weights)));
    TRY(comm_agree(c->ranks, leads ? candidate_file_open(&m.file, c->asked->candidates) : STATUS_OK));
    m.tables = xcalloc((size_t)c->ranks->ranks, sizeof *m.tables);
    m.group = xcalloc((size_t)c->count + 1, sizeof *m.group);
    m.shown = progress_start("candidates");
    add_given(c);
    for (int i = 0; i < c->count; i++) m.to_do += !is_given(c, i);
    const int layers = c->m->config.num_layers;
    status s = STATUS_OK;
    for (int layer = -1, last; layer < layers && s == STATUS_OK; layer = last + 1) {
        last = c->h ? hessians_last(c->h, layer) : layers;
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
