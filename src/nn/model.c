/* A model's life: its parameters, created from the list of specs, placed in the arenas, found by name, counted. */
#include "nn/model.h"

#include "base/memory.h"
#include "kernel/weight_room.h"
#include "nn/budget.h"
#include "nn/hot_experts.h"
#include "nn/parts.h"
#include "nn/spread.h"
#include "nn/streamed.h"
#include <stdlib.h>
#include <string.h>

/* ---- parameters ---- */

status model_param_create(param **out, const model *m, const param_spec *spec) {
    char name[PARAM_NAME_BYTES];
    param_spec_name(spec, name);
    param *p = param_create(name, spec->ndim, spec->shape);
    p->role = (int)spec->role;
    p->layer = spec->layer;
    p->expert = spec->expert;
    p->frozen = role_is_frozen(spec->role) || freeze_matches(&m->frozen, spec->role, name);
    p->derived = role_is_derived(spec->role);
    p->is_matrix = role_is_matrix(spec->role);
    p->away = spread_sends_away(&m->spread, &m->config, spec->expert);
    p->room = m->room;
    const bool there = p->is_matrix && !p->away && !(m->layers && spec->layer >= 0);
    if (there) p->matrix = (weight){.rows = spec->shape[0], .cols = spec->shape[1]};
    if (there && !model_use_runs(m->use)) {
        status s = m->k->weight_create(&p->matrix, spec->shape[0], spec->shape[1], NULL);
        if (s != STATUS_OK) {
            param_destroy(p, m->k);
            return fail_in(s, "%s", name);
        }
    }
    *out = p;
    return STATUS_OK;
}

void model_append(model *m, param *p) {
    m->params = xrealloc(m->params, (size_t)(m->param_count + 1) * sizeof *m->params);
    m->params[m->param_count++] = p;
}

/* Keeps the first failure. */
typedef struct builder {
    model *m;
    status result;
} builder;

static void add(void *context, const param_spec *spec) {
    builder *b = context;
    param *p;
    if (b->result == STATUS_OK) b->result = model_param_create(&p, b->m, spec);
    if (b->result == STATUS_OK) model_append(b->m, p);
}

static status add_all(model *m) {
    builder b = {.m = m};
    model_specs_visit(&m->config, add, &b);
    return b.result;
}

/* ---- their places ---- */

static bool is_vector(const param *p) {
    return !p->is_matrix;
}
static bool is_here(const param *p) {
    return !p->away;
}

/* The values that are there go along into the new arena. */
static void point_at_arenas(model *m, const arena *values, const arena *gradients) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        float *place = p->offset >= 0 ? values->data + p->offset : NULL;
        if (place && p->value.data) m->k->copy(place, p->value.data, tensor_bytes(&p->value));
        p->value.data = place;
        p->grad = gradients->data && !p->frozen && !p->away ? gradients->data + p->offset : NULL;
    }
}

status model_place(model *m) {
    arena values, gradients = {0};
    m->layout = arena_lay_out(m->params, m->param_count, model_use_runs(m->use) ? is_vector : is_here);
    TRY(arena_create(&values, m->k, m->layout.total));
    status s = m->use == MODEL_TRAIN ? arena_create(&gradients, m->k, m->layout.trained) : STATUS_OK;
    if (s != STATUS_OK) {
        arena_destroy(&values);
        return s;
    }
    point_at_arenas(m, &values, &gradients);
    arena_destroy(&m->values);
    arena_destroy(&m->gradients);
    m->values = values;
    m->gradients = gradients;
    return spread_place_gradients(m);
}

/* ---- life ---- */

enum { LARGEST_BLOCK = 1 << 30 };

/* One block where that can be: what is left empty in it is never touched, and of others' last huge pages a part is lost. Codes of 8 bits
 * with a scale and an offset for 32 are 1.25 bytes. */
static status create_room(model *m) {
    const model_budget b = model_budget_count(&m->config);
    const int64_t count = b.total + b.derived;
    const int64_t bytes = model_use_packs(m->use) ? count * 5 / 4 : count * (int64_t)dtype_bytes(m->k->act);
    const int64_t room = bytes + bytes / 64 + (1 << 16); /* what alignment takes */
    return weight_room_create(&m->room, m->k, (size_t)(room < LARGEST_BLOCK ? room : LARGEST_BLOCK), false);
}

status model_create(model **out, const model_config *config, const kernels *k, model_use use) {
    return model_create_with(out, config, k, use, (model_extras){0});
}

status model_create_with(model **out, const model_config *config, const kernels *k, model_use use,
                         model_extras extras) {
    TRY(model_config_check(config));
    model *m = xcalloc(1, sizeof *m);
    m->config = *config;
    m->k = k;
    m->use = use;
    m->layers = extras.layers;
    m->spread = extras.spread;
    if (extras.frozen) m->frozen = names_copy(extras.frozen);
    status s = model_use_runs(use) && !m->layers ? create_room(m) : STATUS_OK;
    if (s == STATUS_OK) s = add_all(m);
    if (s == STATUS_OK) s = model_place(m);
    if (s == STATUS_OK) s = model_bind(m);
    if (s == STATUS_OK) s = model_derive(m);
    if (s != STATUS_OK) {
        model_destroy(m);
        return s;
    }
    *out = m;
    return STATUS_OK;
}

void model_destroy(model *m) {
    if (!m) return;
    hot_experts_destroy(m->hot);
    for (int i = 0; i < m->param_count; i++) param_destroy(m->params[i], m->k);
    free(m->params);
    weight_room_destroy(m->room);
    arena_destroy(&m->values);
    arena_destroy(&m->gradients);
    arena_destroy(&m->other_gradients);
    arena_destroy(&m->guests);
    model_unbind(m);
    names_free(&m->frozen);
    free(m);
}

param *model_find(const model *m, const char *name) {
    for (int i = 0; i < m->param_count; i++)
        if (strcmp(m->params[i]->name, name) == 0) return m->params[i];
    return NULL;
}

param *model_param(const model *m, int role, int layer, int expert) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->role == role && p->layer == layer && p->expert == expert) return p;
    }
    return NULL;
}

int64_t model_param_total(const model *m) {
    int64_t total = 0;
    for (int i = 0; i < m->param_count; i++)
        if (!m->params[i]->derived) total += param_count(m->params[i]);
    return total;
}

static int64_t matrix_bytes(const weight *w, const kernels *k) {
    const quantized *q = w->quantized;
    if (w->packed) return w->packed_bytes;
    if (!q) return w->rows * w->cols * (int64_t)dtype_bytes(k->act);
    const int64_t inputs = q->input_scale ? q->cols : 0;
    return q->rows * q->cols + (q->rows * quantized_groups(q) + inputs) * (int64_t)sizeof *q->scale;
}

int64_t model_expert_bytes(const model *m) {
    int64_t bytes = 0;
    for (int i = 0; i < m->param_count; i++)
        if (m->params[i]->expert >= 0) bytes += matrix_bytes(&m->params[i]->matrix, m->k);
    return bytes;
}

/* How often a token passes through it. */
static double passes_through(const model *m, const param *p) {
    const model_parts *s = m->parts;
    if (p == s->tok_emb) return s->head.weight == p;
    if (p == s->bigram.table || p == s->trigram.table) return 0;
    if (p->layer < 0) return 1;
    int passes = 0;
    for (int i = 0; i < s->path.length; i++) passes += s->path.layer[i] == p->layer;
    if (p->expert < 0) return passes;
    const mlp_plan *plan = &s->blocks[p->layer].plan.mlp;
    return (double)passes * plan->active / plan->experts;
}

double model_token_bytes(const model *m) {
    double bytes = 0;
    for (int i = 0; i < m->param_count; i++)
        if (m->params[i]->matrix.rows > 0)
            bytes += passes_through(m, m->params[i]) * (double)matrix_bytes(&m->params[i]->matrix, m->k);
    return bytes;
}

/* QAT covers what pack quantises: the matrices of blocks. Embeddings are packed at more bits, random weights not at all, and
 * low-rank corrections are small enough to stay floats. */
static bool sees_grid(const param *p) {
    return p->layer >= 0 && !p->derived && role_component(p->role) != COMPONENT_ADAPTERS;
}

static status refresh(model *m, bool frozen) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (!frozen && !p->grad) continue;
        TRY(param_refresh(p, m->k, m->qat_levels > 0 && sees_grid(p) ? m->qat_levels : 0));
    }
    return STATUS_OK;
}

status model_refresh(model *m) {
    return refresh(m, true);
}

status model_refresh_trained(model *m) {
    return refresh(m, false);
}

void model_zero_grad(model *m) {
    arena_zero(&m->gradients);
    arena_zero(&m->other_gradients);
}

/* ---- settings that may change ---- */

static status change_config(model *m, const model_config *changed) {
    TRY(model_config_check(changed));
    m->config = *changed;
    return model_bind(m);
}

status model_set_looping(model *m, bool on) {
    model_config changed = m->config;
    changed.loop.on = on;
    return change_config(m, &changed);
}

status model_set_top_k(model *m, int top_k) {
    model_config changed = m->config;
    changed.moe.top_k = top_k;
    return change_config(m, &changed);
}
