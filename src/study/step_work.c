#include "study/step_work.h"

#include "base/memory.h"
#include "nn/budget.h"
#include "nn/model.h"
#include "nn/plan.h"
#include "train/events.h"
#include "train/optimizer.h"
#include <stdlib.h>

/* ---- blocks ---- */

static double gated(activation f) {
    return (double)fc_rows(f, 1);
}

static work_block block_of(const model_config *c, int layer, int64_t T) {
    const layer_plan p = model_plan(c, layer);
    const layer_flops f = model_layer_flops(c, layer, T);
    const double d = c->model_dim, width = 1 + gated(p.mlp.activation);
    work_block b = {.layer = layer, .flops = f.attention, .numbers = 8 * d};
    if (p.mlp.kind != MLP_EXPERTS) {
        b.flops += f.mlp;
        b.numbers += width * (double)p.mlp.hidden;
        return b;
    }
    const double one = 2 * d * (double)(p.mlp.fc_rows + p.mlp.hidden);
    b.expert_flops = p.mlp.active * one;
    b.flops += f.mlp - b.expert_flops;
    b.numbers += width * (double)p.mlp.shared_hidden;
    b.expert_numbers = p.mlp.active * (2 * d + width * (double)p.mlp.hidden);
    b.routed = p.mlp.active * d;
    return b;
}

static void add_blocks(step_work *w, const model_config *c) {
    const forward_path path = model_path(c);
    w->blocks = xcalloc((size_t)path.length + 1, sizeof *w->blocks);
    for (int i = 0; i < path.length; i++) w->blocks[w->block_count++] = block_of(c, path.layer[i], w->seq);
}

/* ---- parameters ---- */

typedef struct counter {
    step_work *w;
    const optimizer_config *o;
} counter;

static double update_flops(const optimizer_config *o, const param_spec *spec) {
    const double rows = (double)spec->shape[0], cols = (double)spec->shape[1];
    const double thin = rows < cols ? rows : cols, wide = rows < cols ? cols : rows;
    return (double)o->newton_schulz_steps * 2 * (2 * thin * thin * wide + thin * thin * thin);
}

static void add_param(void *context, const param_spec *spec) {
    const counter *at = context;
    step_work *w = at->w;
    if (role_is_derived(spec->role)) return;
    const param_group group = optimizer_group_of(spec->role);
    const int means = optimizer_arrays(at->o, group);
    const bool muon = means == 1 && spec->ndim == 2;
    w->params = xrealloc(w->params, (size_t)(w->param_count + 1) * sizeof *w->params);
    w->params[w->param_count++] = (work_param){.layer = spec->layer,
                                               .expert = spec->expert >= 0,
                                               .muon = muon,
                                               .count = param_spec_count(spec),
                                               .update_flops = muon ? update_flops(at->o, spec) : 0,
                                               .means = means};
    w->values += (double)param_spec_count(spec);
    if (spec->expert >= 0) w->expert_values += (double)param_spec_count(spec);
}

step_work step_work_of(const run_config *c, bool after) {
    const model_config model = after ? model_after_events(&c->events, &c->model) : c->model;
    step_work w = {.ends_flops = model_ends_flops(&model),
                   .layers = model.num_layers,
                   .experts = model_config_has_moe(&model) ? model.moe.experts : 0,
                   .dim = model.model_dim,
                   .seq = c->train.seq,
                   .rows = c->train.batch * c->train.accumulate,
                   .micro_rows = c->train.batch,
                   .average = average_is_kept(&c->average)};
    counter at = {.w = &w, .o = &c->optimizer};
    add_blocks(&w, &model);
    model_specs_visit(&model, add_param, &at);
    return w;
}

void step_work_free(step_work *w) {
    free(w->blocks);
    free(w->params);
    *w = (step_work){0};
}
