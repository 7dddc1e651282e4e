/* A small model that is packed, with Hessians of a few batches. */
#ifndef MOEC_TESTS_STORE_PACKED_H
#define MOEC_TESTS_STORE_PACKED_H

#include "disturb.h"

#include "base/random.h"
#include "quant/hessians.h"
#include "store/artifact.h"

/* Every kind of parameter: experts in layer 1, looped layers, a bigram hash, a tied head. */
static inline model_config tiny_config(void) {
    model_config c = model_config_default();
    c.vocab_size = 96;
    c.num_layers = 3;
    c.model_dim = 32;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 2;
    c.stem.bigram_buckets = 64;
    c.stem.bigram_dim = 8;
    c.loop.extra_passes = 1;
    c.loop.first = 1;
    c.loop.last = 1;
    c.loop.on = true;
    c.moe.layers[1] = true;
    return c;
}

static inline model *model_of(const model_config *c) {
    model *m;
    assert_ok(model_create(&m, c, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(model_init(m, 7));
    disturb(m, 5, 0.05f);
    return m;
}

static inline model *tiny_model(void) {
    const model_config c = tiny_config();
    return model_of(&c);
}

enum { BATCH = 2, LENGTH = 24 };
static inline batch tiny_batch(int32_t ids[BATCH * LENGTH], uint64_t seed) {
    rng r = rng_seed(seed);
    for (int i = 0; i < BATCH * LENGTH; i++) ids[i] = (int32_t)rng_below(&r, 96);
    return (batch){.batch = BATCH, .length = LENGTH, .input_ids = ids};
}

/* Each token's target is the next one. */
static inline void with_targets(batch *b, const int32_t *ids, int32_t targets[BATCH * LENGTH]) {
    for (int i = 0; i < BATCH * LENGTH; i++) targets[i] = ids[(i + 1) % (BATCH * LENGTH)];
    b->target_ids = targets;
}

static inline hessians *calibrated(pass *p, size_t memory) {
    hessians *h = hessians_create(p, memory);
    int32_t ids[BATCH * LENGTH];
    for (uint64_t seed = 0; seed < 4; seed++) {
        batch b = tiny_batch(ids, seed);
        hessians_add(h, &b);
    }
    return h;
}

static inline pack_options tiny_options(void) {
    pack_options o = pack_options_default();
    o.quant.keep_float_elements = 300; /* bigram_proj (32 × 8) stays a float, the rest gets grids */
    o.context_tokens = LENGTH;
    o.quant.least_step = 0; /* the finest grids of so many bits */
    return o;
}

typedef struct fixture {
    char *folder, *path;
    model *m;
    pass *p;
    hessians *h;
} fixture;

static inline int setup(void **state) {
    fixture *f = xcalloc(1, sizeof *f);
    f->folder = scratch_create();
    f->path = path_join(f->folder, "model.moec");
    f->m = tiny_model();
    assert_ok(pass_create(&f->p, f->m));
    f->h = calibrated(f->p, HESSIANS_MEMORY);
    *state = f;
    return 0;
}

static inline int teardown(void **state) {
    fixture *f = *state;
    hessians_destroy(f->h);
    pass_destroy(f->p);
    model_destroy(f->m);
    scratch_remove(f->folder);
    free(f->path);
    free(f);
    return 0;
}

#endif
