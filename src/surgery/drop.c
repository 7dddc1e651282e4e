#include "surgery/drop.h"

#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- which units ---- */

/* The first `count` of a random order. */
static void choose_units(dropped *d, int64_t count, rng *r) {
    int64_t *order = xmalloc((size_t)d->hidden * sizeof *order);
    for (int64_t i = 0; i < d->hidden; i++) order[i] = i;
    for (int64_t i = 0; i < count; i++) {
        const int64_t j = i + (int64_t)rng_below(r, (uint64_t)(d->hidden - i)), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
        d->unit[order[i]] = true;
    }
    free(order);
}

/* ---- what they were ---- */

typedef struct moments {
    double sum, squares;
    int64_t count;
} moments;

static void add(moments *m, const float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        m->sum += (double)values[i];
        m->squares += (double)values[i] * (double)values[i];
    }
    m->count += count;
}

static normal_law law_of(const moments *m) {
    if (m->count == 0) return (normal_law){0};
    const double mean = m->sum / (double)m->count;
    return (normal_law){mean, sqrt(fmax(m->squares / (double)m->count - mean * mean, 0))};
}

/* The parent's matrix in pieces; `take` gets each row. */
static status each_row(const weight_source *w, const param_spec *spec, void (*take)(void *, int64_t, const float *),
                       void *context) {
    const int64_t all = spec_rows(spec), cols = spec_cols(spec), most = spec_piece(spec) < all ? spec_piece(spec) : all;
    float *piece = xmalloc((size_t)(most * cols) * sizeof *piece);
    status s = STATUS_OK;
    for (int64_t first = 0; first < all && s == STATUS_OK; first += most) {
        const int64_t rows = all - first < most ? all - first : most;
        s = w->read(w->context, spec, first, rows, piece);
        for (int64_t r = 0; r < rows && s == STATUS_OK; r++) take(context, first + r, piece + r * cols);
    }
    free(piece);
    return s;
}

typedef struct measuring {
    dropped *d;
    int64_t cols;
    moments gate, up, down;
} measuring;

static void take_fc(void *context, int64_t row, const float *values) {
    measuring *m = context;
    if (m->d->unit[row % m->d->hidden]) add(row < m->d->hidden ? &m->gate : &m->up, values, m->cols);
}

static void take_proj(void *context, int64_t row, const float *values) {
    measuring *m = context;
    (void)row;
    for (int64_t i = 0; i < m->d->hidden; i++)
        if (m->d->unit[i]) add(&m->down, values + i, 1);
}

static status measure(dropped *d, const weight_source *parent, int layer) {
    const layer_plan plan = model_plan(&parent->config, layer);
    const int64_t channels = parent->config.model_dim;
    measuring m = {.d = d, .cols = channels};
    const param_spec fc = {ROLE_MLP_FC, layer, -1, 2, {plan.mlp.fc_rows, channels}};
    const param_spec proj = {ROLE_MLP_PROJ, layer, -1, 2, {channels, plan.mlp.hidden}};
    TRY(each_row(parent, &fc, take_fc, &m));
    TRY(each_row(parent, &proj, take_proj, &m));
    d->gate = law_of(&m.gate);
    d->up = law_of(&m.up);
    d->down = law_of(&m.down);
    return STATUS_OK;
}

status drop_choose(dropped *d, const weight_source *parent, int layer, int expert, double part, uint64_t seed) {
    char name[64];
    snprintf(name, sizeof name, "drop.%d.%d", layer, expert);
    rng r = rng_named(seed, name);
    const int64_t hidden = model_plan(&parent->config, layer).mlp.hidden;
    *d = (dropped){.hidden = hidden, .unit = xcalloc((size_t)hidden, sizeof *d->unit)};
    choose_units(d, llround(part * (double)hidden), &r);
    const status s = measure(d, parent, layer);
    if (s != STATUS_OK) drop_free(d);
    return s;
}

void drop_free(dropped *d) {
    free(d->unit);
    *d = (dropped){0};
}

/* ---- new ones ---- */

static float draw(rng *r, const normal_law *law) {
    float x;
    rng_normal(r, &x, 1, (float)law->deviation);
    return x + (float)law->mean;
}

/* Each row draws from a generator of its own, so that pieces may come in any order. */
static rng row_generator(const param_spec *spec, int64_t row, uint64_t seed) {
    char name[96];
    snprintf(name, sizeof name, "drop.%d.%d.%d.%lld", (int)spec->role, spec->layer, spec->expert, (long long)row);
    return rng_named(seed, name);
}

void drop_apply(const dropped *d, const param_spec *spec, int64_t first, int64_t rows, uint64_t seed, float *values) {
    const int64_t cols = spec_cols(spec);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t row = first + r;
        float *at = values + r * cols;
        rng generator = row_generator(spec, row, seed);
        if (spec->role == ROLE_EXPERT_PROJ) {
            for (int64_t i = 0; i < cols; i++)
                if (d->unit[i]) at[i] = draw(&generator, &d->down);
        } else if (d->unit[row % d->hidden]) {
            for (int64_t i = 0; i < cols; i++) at[i] = draw(&generator, row < d->hidden ? &d->gate : &d->up);
        }
    }
}
