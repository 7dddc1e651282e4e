/* Noise on every value of a model: what is zero at the start would let nothing that came before matter. */
#ifndef MOEC_TESTS_DISTURB_H
#define MOEC_TESTS_DISTURB_H

#include "test.h"

#include "base/random.h"
#include "nn/model.h"

static inline void disturb(model *m, uint64_t seed, float deviation) {
    rng r = rng_seed(seed);
    for (int i = 0; i < m->param_count; i++) {
        tensor *t = &m->params[i]->value;
        const size_t count = (size_t)tensor_count(t);
        float *values = xmalloc(count * sizeof *values), *noise = xmalloc(count * sizeof *noise);
        tensor_read(m->k, t, values);
        rng_normal(&r, noise, count, deviation);
        for (size_t j = 0; j < count; j++) values[j] += noise[j];
        tensor_write(m->k, t, values);
        free(values);
        free(noise);
    }
    assert_ok(model_refresh(m));
}

#endif
