/* What passes find out: sums on the device, read once a step. */
#include "base/memory.h"
#include "nn/pass_state.h"
#include <stdlib.h>
#include <string.h>

static bool has_router(const block *b) {
    return b->plan.mlp.kind == MLP_EXPERTS;
}

/* What a router adds to: routing_statistics, and behind them label_statistics. */
static int64_t router_sums(const block *b) {
    return ROUTING_SUMS(b->plan.mlp.experts) + LABEL_SUMS;
}

void pass_free_statistics(pass *p) {
    p->m->k->release(p->all_sums);
    p->sums = p->all_sums = NULL;
    free(p->host_sums);
    free(p->sum_of);
    free(p->routing);
    p->host_sums = NULL;
    p->sum_of = NULL;
    p->routing = NULL;
}

static void zero_sums(pass *p) {
    p->m->k->zero(p->all_sums, (size_t)(p->sum_count * p->rows) * sizeof *p->all_sums);
    p->sums = p->all_sums;
    p->batches = 0;
}

status pass_lay_out_statistics(pass *p) {
    const model_parts *s = p->m->parts;
    pass_free_statistics(p);
    p->sum_of = xcalloc((size_t)s->path.length, sizeof *p->sum_of);
    p->routing = xcalloc((size_t)s->path.length, sizeof *p->routing);
    p->sum_count = LOSS_SUMS;
    p->entries = s->path.length;
    for (int i = 0; i < s->path.length; i++) {
        const block *b = &s->blocks[s->path.layer[i]];
        p->sum_of[i] = has_router(b) ? p->sum_count : -1;
        if (has_router(b)) p->sum_count += router_sums(b);
    }
    p->rows = p->turns.batches > 1 ? p->turns.batches : 1;
    const size_t sums = (size_t)(p->sum_count * p->rows);
    p->host_sums = xcalloc(sums, sizeof *p->host_sums);
    TRY(p->m->k->alloc((void **)&p->all_sums, sums * sizeof *p->all_sums));
    zero_sums(p);
    return STATUS_OK;
}

/* An event may have changed the path since: its length, and where on it the routers are. */
static bool fits(const pass *p) {
    const model_parts *s = p->m->parts;
    int64_t expected = LOSS_SUMS;
    if (p->entries != s->path.length || !p->sums || p->rows != (p->turns.batches > 1 ? p->turns.batches : 1))
        return false;
    for (int i = 0; i < s->path.length; i++) {
        const block *b = &s->blocks[s->path.layer[i]];
        if (p->sum_of[i] != (has_router(b) ? expected : -1)) return false;
        if (has_router(b)) expected += router_sums(b);
    }
    return expected == p->sum_count;
}

void pass_clear(pass *p) {
    if (!fits(p) && pass_lay_out_statistics(p) != STATUS_OK) memory_out((size_t)p->sum_count * sizeof(double));
    zero_sums(p);
}

/* ---- ranks that take turns ---- */

void pass_take_turns(pass *p, pass_turns turns) {
    p->turns = turns;
}

void pass_next_sums(pass *p) {
    const int64_t row = p->rows > 1 ? p->batches * p->turns.ranks->ranks + p->turns.ranks->rank : 0;
    if (row < p->rows) p->sums = p->all_sums + row * p->sum_count;
}

status pass_meet(pass *p) {
    if (p->rows == 1 || p->turns.ranks->ranks == 1) return STATUS_OK;
    comm_part *parts = xcalloc((size_t)p->rows, sizeof *parts);
    for (int64_t i = 0; i < p->rows; i++)
        parts[i] = (comm_part){.owner = (int)(i % p->turns.ranks->ranks),
                               .data = p->all_sums + i * p->sum_count,
                               .bytes = (size_t)p->sum_count * sizeof *p->all_sums};
    const status s = comm_share(p->turns.ranks, parts, (int)p->rows);
    free(parts);
    p->batches = p->rows;
    return s;
}

/* All rows into the first one, from left to right. */
static void read_sums(pass *p) {
    p->m->k->download(p->host_sums, p->all_sums, (size_t)(p->sum_count * p->rows) * sizeof *p->host_sums);
    for (int64_t row = 1; row < p->rows; row++)
        for (int64_t i = 0; i < p->sum_count; i++) p->host_sums[i] += p->host_sums[row * p->sum_count + i];
}

double *pass_sums(const pass *p, int entry) {
    return p->counts ? p->sums + p->sum_of[entry] : NULL;
}

double *pass_label_sums(const pass *p, int entry) {
    const block *b = &p->m->parts->blocks[p->m->parts->path.layer[entry]];
    return p->counts && p->labelled ? pass_sums(p, entry) + ROUTING_SUMS(b->plan.mlp.experts) : NULL;
}

static bool is_last_pass(const pass *p, int entry) {
    const forward_path *path = &p->m->parts->path;
    for (int i = entry + 1; i < path->length; i++)
        if (path->layer[i] == path->layer[entry]) return false;
    return true;
}

static bool is_taught(const pass *p, int layer) {
    return model_config_is_moe(&p->m->config, layer) && (!p->label.layers || p->label.layers[layer]);
}

float pass_label_weight(const pass *p, int entry) {
    const int layer = p->m->parts->path.layer[entry];
    if (p->label.weight == 0 || !is_taught(p, layer) || !is_last_pass(p, entry)) return 0;
    int layers = 0;
    for (int i = 0; i < p->m->config.num_layers; i++) layers += is_taught(p, i);
    return p->label.weight / (float)layers;
}

float pass_router_weight(const pass *p, int entry) {
    const model_config *c = &p->m->config;
    if (!is_last_pass(p, entry)) return 0;
    int layers = 0;
    for (int layer = 0; layer < c->num_layers; layer++) layers += model_config_is_moe(c, layer);
    return c->moe.aux_mean && layers > 0 ? 1 / (float)layers : 1;
}

static routing_entry read_entry(const pass *p, int i, double of_batch) {
    const forward_path *path = &p->m->parts->path;
    int E = p->m->parts->blocks[path->layer[i]].plan.mlp.experts;
    double *sums = p->host_sums + p->sum_of[i];
    for (int64_t j = 0; j < ROUTING_SUMS(E) + LABEL_SUMS; j++) sums[j] *= of_batch;
    const double *label = sums + ROUTING_SUMS(E), of_labelled = label[2] > 0 ? 1 / label[2] : 0;
    return (routing_entry){.layer = path->layer[i],
                           .pass = path->pass[i],
                           .experts = E,
                           .share = sums,
                           .first = sums + E,
                           .entropy = sums[3 * E],
                           .z = sums[3 * E + 1],
                           .balance = E * sums[3 * E + 2],
                           .labelled = label[2],
                           .label_ce = label[0] * of_labelled,
                           .label_hits = label[1] * of_labelled};
}

const pass_statistics *pass_read(pass *p) {
    const model_config *c = &p->m->config;
    pass_statistics *s = &p->statistics;
    double of_batch = p->batches > 0 ? 1 / (double)p->batches : 0;
    read_sums(p);
    *s = (pass_statistics){.batches = p->batches,
                           .ce = of_batch * p->host_sums[SUM_CE],
                           .kl = of_batch * p->host_sums[SUM_KL],
                           .hidden = p->distill.layers ? of_batch * p->host_sums[SUM_HIDDEN] / p->distill.layers : 0,
                           .routing = p->routing};
    for (int i = 0; i < p->m->parts->path.length; i++) {
        if (p->sum_of[i] < 0) continue;
        routing_entry *e = &p->routing[s->routed++];
        *e = read_entry(p, i, of_batch);
        s->aux += (double)pass_router_weight(p, i) *
                      ((double)c->moe.aux_weight * e->balance + (double)c->moe.z_weight * e->z) +
                  (double)pass_label_weight(p, i) * e->label_ce * e->labelled;
    }
    return s;
}

/* ---- balancing without a loss ---- */

static void nudge(model *m, param *bias, const double *load, int E) {
    float rate = m->config.moe.bias_rate, *values = xmalloc((size_t)E * sizeof *values);
    double mean = 0;
    tensor_read(m->k, &bias->value, values);
    for (int e = 0; e < E; e++) mean += load[e] / E;
    double rounding = 1e-5 * mean; /* of the shares' sum: an expert within it has its part */
    for (int e = 0; e < E; e++) values[e] += load[e] < mean - rounding ? rate : load[e] > mean + rounding ? -rate : 0;
    tensor_write(m->k, &bias->value, values);
    free(values);
}

void model_balance_experts(model *m, const pass_statistics *s) {
    for (int layer = 0; layer < m->config.num_layers; layer++) {
        const block *b = &m->parts->blocks[layer];
        if (!b->router_bias) continue;
        int E = b->plan.mlp.experts;
        double *load = xcalloc((size_t)E, sizeof *load);
        for (int i = 0; i < s->routed; i++)
            for (int e = 0; s->routing[i].layer == layer && e < E; e++) load[e] += s->routing[i].share[e];
        nudge(m, b->router_bias, load, E);
        free(load);
    }
}
