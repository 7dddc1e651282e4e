#include "surgery/upcycle.h"

#include "base/memory.h"
#include "base/random.h"
#include "formats/family.h"
#include "surgery/drop.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct upcycled {
    weight_source weights;
    const weight_source *const *parents;
    int parent_count;
    upcycle_options options;
    const router_rows *routers;
    dropped *drops; /* [experts] of drop_layer; hidden 0: not chosen yet */
    int drop_layer;
    float *other; /* another parent's piece, for the mean */
    size_t room;
};

/* ---- the config ---- */

static bool is_chosen(const upcycle_options *o, int layer) {
    bool any = false;
    for (int i = 0; i < MODEL_MAX_LAYERS; i++) any |= o->layers[i];
    return !any || o->layers[layer];
}

static status check(const upcycle_options *o) {
    if (o->experts < 1 || o->experts > MODEL_MAX_EXPERTS)
        return fail_usage("experts: expected 1 to %d, found %d", MODEL_MAX_EXPERTS, o->experts);
    if (o->top_k < 1 || o->top_k > o->experts)
        return fail_usage("top_k: expected 1 to experts %d, found %d", o->experts, o->top_k);
    if (o->shared < 0 || o->shared > UPCYCLE_MAX_SHARED)
        return fail_usage("shared: expected 0 to %d, found %d", UPCYCLE_MAX_SHARED, o->shared);
    if (!(o->drop >= 0 && o->drop <= 1)) return fail_usage("drop: expected a part from 0 to 1, found %g", o->drop);
    if (o->gate != GATE_NORMALIZED && o->gate != GATE_RENORMALIZED && o->gate != GATE_PROBABILITY)
        return fail_usage("gates: expected normalized, renormalized or probability, found another");
    return STATUS_OK;
}

static status check_parent(const model_config *parent, const upcycle_options *o) {
    if (model_config_has_moe(parent)) return fail("the parent is a mixture already");
    if (parent->mlp.bias) return fail("mlp_bias: experts have no biases, and the parent's MLPs have");
    for (int i = 0; i < MODEL_MAX_LAYERS; i++) {
        if (i >= parent->num_layers && o->layers[i])
            return fail_usage("layers: expected layers below the parent's %d, found %d", parent->num_layers, i);
        if (i < parent->num_layers && is_chosen(o, i) && parent->random_up.layers[i])
            return fail("layers: layer %d of the parent has a random up-projection, which cannot become experts", i);
    }
    return STATUS_OK;
}

status upcycle_config_of(model_config *out, const model_config *parent, const upcycle_options *o) {
    TRY(check(o));
    TRY(check_parent(parent, o));
    model_config c = *parent;
    const int hidden = model_config_hidden(parent);
    c.moe.experts = o->experts;
    c.moe.top_k = o->top_k;
    c.moe.gate = o->gate;
    c.moe.expert_mult = c.moe.shared_mult = 0;
    c.moe.expert_hidden = hidden;
    c.moe.shared_hidden = o->shared * hidden;
    c.moe.split = false;
    c.moe.names = o->names;
    c.moe.shared_gate = o->shared_gate && o->shared > 0;
    c.moe.start_layer = -1;
    for (int i = 0; i < parent->num_layers; i++) c.moe.layers[i] = is_chosen(o, i);
    *out = c;
    return model_config_check(&c);
}

/* ---- routers ---- */

int router_rows_count(const router_rows *r) {
    return r->experts + r->gate;
}

router_rows router_rows_create(const model_config *c, const upcycle_options *o) {
    router_rows r = {
        .layers = c->num_layers, .experts = o->experts, .gate = o->shared_gate && o->shared > 0, .d = c->model_dim};
    r.rows = xcalloc((size_t)r.layers + 1, sizeof *r.rows);
    for (int i = 0; i < r.layers; i++)
        if (is_chosen(o, i)) r.rows[i] = xcalloc((size_t)(router_rows_count(&r) * r.d), sizeof **r.rows);
    return r;
}

void router_rows_free(router_rows *r) {
    for (int i = 0; i < r->layers; i++) free(r->rows[i]);
    free(r->rows);
    *r = (router_rows){0};
}

void router_rows_draw(router_rows *r, double std, uint64_t seed) {
    for (int i = 0; i < r->layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "router.%d", i);
        rng generator = rng_named(seed, name);
        if (r->rows[i]) rng_normal(&generator, r->rows[i], (size_t)(r->experts * r->d), (float)std);
    }
}

/* ---- weights ---- */

/* Σ g over the chosen, as far as it is known before the router is. */
static double gate_sum(const upcycle_options *o) {
    if (o->gate == GATE_NORMALIZED || (o->gate == GATE_RENORMALIZED && o->top_k > 1)) return 1;
    return (double)o->top_k / o->experts;
}

static float routed_scale(const upcycle_options *o) {
    return o->scaled ? (float)((o->shared > 0 ? 0.5 : 1) / gate_sum(o)) : 1;
}
/* The gate that knows nothing yet is σ(0) = ½. */
static float shared_scale(const upcycle_options *o) {
    return o->scaled ? (float)((o->shared_gate ? 1 : 0.5) / o->shared) : 1;
}

static void forget_drops(upcycled *u) {
    for (int e = 0; u->drops && e < u->options.experts; e++) drop_free(&u->drops[e]);
}

/* What the expert loses, found once for both its matrices. */
static status drop_of(upcycled *u, const weight_source *parent, const param_spec *spec, const dropped **d) {
    if (!u->drops) u->drops = xcalloc((size_t)u->options.experts, sizeof *u->drops);
    if (u->drop_layer != spec->layer) forget_drops(u);
    u->drop_layer = spec->layer;
    dropped *found = &u->drops[spec->expert];
    *d = found;
    if (found->hidden > 0) return STATUS_OK;
    return drop_choose(found, parent, spec->layer, spec->expert, u->options.drop, u->options.seed);
}

/* Of an expert: its parent's MLP, new where it was dropped, the projection scaled. */
static status read_expert(upcycled *u, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const weight_source *parent = u->parents[spec->expert % u->parent_count];
    const bool proj = spec->role == ROLE_EXPERT_PROJ;
    const param_spec dense = {proj ? ROLE_MLP_PROJ : ROLE_MLP_FC, spec->layer, -1, 2, {spec->shape[0], spec->shape[1]}};
    TRY(parent->read(parent->context, &dense, first, rows, out));
    if (u->options.drop > 0) {
        const dropped *d;
        TRY(drop_of(u, parent, spec, &d));
        drop_apply(d, spec, first, rows, u->options.seed, out);
    }
    const float scale = routed_scale(&u->options);
    for (int64_t i = 0; proj && scale != 1 && i < rows * spec_cols(spec); i++) out[i] *= scale;
    return STATUS_OK;
}

/* What all parents have, and the shared MLP: the first one's, or the mean. */
static status read_common(upcycled *u, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const int64_t count = rows * spec_cols(spec);
    TRY(u->parents[0]->read(u->parents[0]->context, spec, first, rows, out));
    if (!u->options.average || u->parent_count == 1) return STATUS_OK;
    if ((size_t)count > u->room) {
        u->other = xrealloc(u->other, (size_t)count * sizeof *u->other);
        u->room = (size_t)count;
    }
    for (int p = 1; p < u->parent_count; p++) {
        TRY(u->parents[p]->read(u->parents[p]->context, spec, first, rows, u->other));
        for (int64_t i = 0; i < count; i++) out[i] += u->other[i];
    }
    for (int64_t i = 0; i < count; i++) out[i] /= (float)u->parent_count;
    return STATUS_OK;
}

/* fc of S copies side by side: the gates of all, then what they are multiplied with. */
static status read_shared_fc(upcycled *u, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const layer_plan plan = model_plan(&u->parents[0]->config, spec->layer);
    const int64_t hidden = plan.mlp.hidden, half = hidden * u->options.shared, cols = spec_cols(spec);
    const param_spec dense = {ROLE_MLP_FC, spec->layer, -1, 2, {plan.mlp.fc_rows, cols}};
    for (int64_t done = 0, run; done < rows; done += run) {
        const int64_t row = first + done, within = row % hidden;
        run = rows - done < hidden - within ? rows - done : hidden - within;
        TRY(read_common(u, &dense, row < half ? within : hidden + within, run, out + done * cols));
    }
    return STATUS_OK;
}

/* The dense rows come close together and move apart, the last one first. */
static status read_shared_proj(upcycled *u, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const int64_t hidden = model_plan(&u->parents[0]->config, spec->layer).mlp.hidden, cols = spec_cols(spec);
    const param_spec dense = {ROLE_MLP_PROJ, spec->layer, -1, 2, {spec->shape[0], hidden}};
    const float scale = shared_scale(&u->options);
    TRY(read_common(u, &dense, first, rows, out));
    for (int64_t i = 0; i < rows * hidden; i++) out[i] *= scale;
    for (int64_t r = rows - 1; r >= 0; r--)
        for (int s = u->options.shared - 1; s >= 0; s--)
            memmove(out + r * cols + s * hidden, out + r * hidden, (size_t)hidden * sizeof *out);
    return STATUS_OK;
}

static status read(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    upcycled *u = context;
    switch (spec->role) {
    case ROLE_EXPERT_FC:
    case ROLE_EXPERT_PROJ:
        return read_expert(u, spec, first, rows, out);
    case ROLE_SHARED_FC:
        return read_shared_fc(u, spec, first, rows, out);
    case ROLE_SHARED_PROJ:
        return read_shared_proj(u, spec, first, rows, out);
    case ROLE_ROUTER:
        memcpy(out, u->routers->rows[spec->layer] + first * u->routers->d,
               (size_t)(rows * u->routers->d) * sizeof *out);
        return STATUS_OK;
    case ROLE_SHARED_GATE:
        memcpy(out, u->routers->rows[spec->layer] + u->routers->experts * u->routers->d,
               (size_t)u->routers->d * sizeof *out);
        return STATUS_OK;
    case ROLE_ROUTER_BIAS:
        memset(out, 0, (size_t)spec_cols(spec) * sizeof *out);
        return STATUS_OK;
    default:
        return read_common(u, spec, first, rows, out);
    }
}

/* ---- the mixture ---- */

/* Parents may differ in what only training asks for; their rotated rows must stand in one order. */
static status same_shape(const model_config *first, const model_config *other, int number) {
    char what[64];
    snprintf(what, sizeof what, "parent %d, beside the first", number);
    if (model_config_has_moe(other)) return fail("%s: it is a mixture already", what);
    if (first->rotary.style != other->rotary.style)
        return fail("%s: rope_style: expected the same, found another", what);
    return config_same(other, first, what);
}

status upcycle_begin(upcycled **out, const weight_source *const *parents, int parent_count,
                     const upcycle_options *options, const router_rows *routers) {
    model_config c;
    TRY(upcycle_config_of(&c, &parents[0]->config, options));
    for (int p = 1; p < parent_count; p++) TRY(same_shape(&parents[0]->config, &parents[p]->config, p + 1));
    if (parent_count > options->experts)
        return fail_usage("experts: expected at least as many as parents, %d, found %d", parent_count,
                          options->experts);
    upcycled *u = xcalloc(1, sizeof *u);
    *u = (upcycled){.weights = {.config = c, .read = read, .context = u},
                    .parents = parents,
                    .parent_count = parent_count,
                    .options = *options,
                    .routers = routers};
    *out = u;
    return STATUS_OK;
}

void upcycle_end(upcycled *u) {
    if (!u) return;
    forget_drops(u);
    free(u->drops);
    free(u->other);
    free(u);
}

const weight_source *upcycle_weights(const upcycled *u) {
    return &u->weights;
}
