/* Dense parents of several kinds, and mixtures made of them. */
#ifndef MOEC_TESTS_PARENTS_H
#define MOEC_TESTS_PARENTS_H

#include "foreign.h"

#include "surgery/upcycle.h"

/* #2102's backbone with everything on: ReLU², looped layers, skips, hashes, two parallel layers. */
static inline model_config record(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 4;
    c.model_dim = 64;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.smear_width = 4;
    c.residual.parallel_start_layer = 3;
    c.stem.bigram_buckets = 64;
    c.stem.bigram_dim = 16;
    c.loop = (loop_config){.extra_passes = 1, .first = 1, .last = 2, .on = true};
    return c;
}

static const struct {
    const char *name;
    model_config (*make)(void);
} parent_kinds[] = {{"llama", llama}, {"qwen2", qwen2}, {"qwen3", qwen3}, {"record", record}};
enum { PARENT_KINDS = sizeof parent_kinds / sizeof *parent_kinds };

static inline upcycle_options usual_options(void) {
    return (upcycle_options){
        .experts = 4, .shared = 1, .top_k = 2, .gate = GATE_NORMALIZED, .scaled = true, .seed = 11};
}

/* A mixture of some parents, with all that it needs as long as it lives. */
typedef struct made {
    weight_source sources[4];
    const weight_source *parents[4];
    router_rows routers;
    upcycled *u;
    const weight_source *weights;
} made;

static inline void make_of(made *m, model *const *parents, int count, const upcycle_options *o, double router_std) {
    *m = (made){0};
    for (int i = 0; i < count; i++) {
        m->sources[i] = weight_source_of(parents[i]);
        m->parents[i] = &m->sources[i];
    }
    m->routers = router_rows_create(&parents[0]->config, o);
    router_rows_draw(&m->routers, router_std, 1);
    assert_ok(upcycle_begin(&m->u, m->parents, count, o, &m->routers));
    m->weights = upcycle_weights(m->u);
}

static inline void make(made *m, model *parent, const upcycle_options *o) {
    make_of(m, &parent, 1, o, 1e-9);
}

static inline void unmake(made *m) {
    upcycle_end(m->u);
    router_rows_free(&m->routers);
}

/* What a source's model computes, as a whole model in memory. */
static inline void logits_of_source(const weight_source *w, float *logits) {
    model *m;
    assert_ok(model_create(&m, &w->config, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(weight_source_fill(w, m));
    logits_of(m, logits);
    model_destroy(m);
}

/* All values of one parameter (malloc'ed). */
static inline float *values_of(const weight_source *w, const param_spec *spec) {
    float *values = xmalloc((size_t)(spec_rows(spec) * spec_cols(spec)) * sizeof *values);
    assert_ok(w->read(w->context, spec, 0, spec_rows(spec), values));
    return values;
}

/* The spec of that role; fails where the model has none. */
static inline param_spec spec_of_role(const model_config *c, param_role role, int layer, int expert) {
    int count;
    param_spec *specs = stored_specs(c, &count), found = {.ndim = -1};
    for (int i = 0; i < count; i++)
        if (specs[i].role == role && specs[i].layer == layer && specs[i].expert == expert) found = specs[i];
    free(specs);
    assert_true(found.ndim >= 0);
    return found;
}

static inline float *values_of_role(const weight_source *w, param_role role, int layer, int expert) {
    const param_spec spec = spec_of_role(&w->config, role, layer, expert);
    return values_of(w, &spec);
}

#endif
