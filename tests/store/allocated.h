/* The small model of packed.h with its sensitivities, whose bytes are shared out. */
#ifndef MOEC_TESTS_STORE_ALLOCATED_H
#define MOEC_TESTS_STORE_ALLOCATED_H

#include "packed.h"

#include "quant/sensitivity.h"

typedef struct shared {
    fixture *f;
    sensitivities *s;
    char *candidates;
} shared;

static inline int shared_setup(void **state) {
    shared *t = xcalloc(1, sizeof *t);
    int32_t ids[BATCH * LENGTH], targets[BATCH * LENGTH];
    setup((void **)&t->f);
    t->s = sensitivities_create(t->f->p);
    for (uint64_t seed = 0; seed < 4; seed++) {
        batch b = tiny_batch(ids, seed);
        with_targets(&b, ids, targets);
        assert_ok(sensitivities_add(t->s, &b, 3 * BATCH * LENGTH));
    }
    t->candidates = path_join(t->f->folder, "candidates");
    *state = t;
    return 0;
}

static inline int shared_teardown(void **state) {
    shared *t = *state;
    sensitivities_destroy(t->s);
    teardown((void **)&t->f);
    free(t->candidates);
    free(t);
    return 0;
}

static inline pack_options shared_options(const shared *t, double bits) {
    pack_options o = tiny_options();
    o.allocation = (pack_allocation){
        .on = true, .bits = bits, .quantizer = QUANTIZER_GPTQ, .candidates = t->candidates, .sensitivities = t->s};
    return o;
}

#endif
