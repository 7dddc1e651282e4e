#include "study/frozen_average.h"

#include "base/file.h"
#include "base/half.h"
#include "base/memory.h"
#include "nn/roles.h"
#include "store/checkpoint_folder.h"
#include "store/source.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_DECAY 0.9965
enum { PIECE = 4096 /* numbers that stay in a core's cache for all steps */ };

static void walk_piece(float *a, const float *w, const float *next, int64_t count, int64_t from, int64_t to,
                       double decay, bool bf16) {
    for (int64_t s = from + 1; s <= to; s++) {
        const float part = (float)(s - from) / (float)(to - from);
        const float d = (float)fmin(decay, (double)(s + 1) / (double)(s + 10)), rest = 1 - d;
        if (bf16)
            for (int64_t i = 0; i < count; i++)
                a[i] = bfloat_round(bfloat_round(d * a[i]) + rest * (w[i] + part * (next[i] - w[i])));
        else
            for (int64_t i = 0; i < count; i++) a[i] += rest * (w[i] + part * (next[i] - w[i]) - a[i]);
    }
}

void frozen_average_walk(float *a, const float *w, const float *next, int64_t count, int64_t from, int64_t to,
                         double decay, bool bf16) {
#pragma omp parallel for schedule(static) if (count > PIECE)
    for (int64_t at = 0; at < count; at += PIECE)
        walk_piece(a + at, w + at, next + at, count - at < PIECE ? count - at : PIECE, from, to, decay, bf16);
}

/* ---- the run's checkpoints ---- */

typedef struct way {
    model_source **points;
    int64_t *steps;
    int count;
} way;

static void way_close(way *w) {
    for (int i = 0; i < w->count; i++) model_source_close(w->points[i]);
    free(w->points);
    free(w->steps);
}

/* Whether it has every parameter of m, with its shape. */
static bool has_parameters(const model_source *s, const model *m) {
    int count, stored = 0;
    param_spec *specs = stored_specs(&model_source_weights(s)->config, &count);
    for (int i = 0; i < m->param_count; i++) stored += !m->params[i]->derived;
    bool same = count == stored;
    for (int i = 0, next = 0; i < m->param_count && same; i++) {
        if (m->params[i]->derived) continue;
        const param_spec own = spec_of_param(m->params[i]), *other = &specs[next++];
        same = own.role == other->role && own.layer == other->layer && own.expert == other->expert &&
               own.ndim == other->ndim && memcmp(own.shape, other->shape, (size_t)own.ndim * sizeof *own.shape) == 0;
    }
    free(specs);
    return same;
}

static status add_point(way *w, const char *folder, int64_t step, const model *m) {
    char *path = xasprintf("%s/" STEP_FORMAT, folder, step);
    model_source *s;
    const status result = model_source_open(&s, path, "live");
    free(path);
    TRY(result);
    if (!has_parameters(s, m)) {
        model_source_close(s);
        return STATUS_OK;
    }
    w->points[w->count] = s;
    w->steps[w->count++] = step;
    return STATUS_OK;
}

/* Live weights of all checkpoints up to the saved one. */
static status way_open(way *w, const checkpoint *saved, const model *m) {
    *w = (way){0};
    char *folder = xstrdup(saved->path), *name;
    while ((name = strrchr(folder, '/')) && !name[1]) *name = 0;
    if (name) *name = 0;
    int64_t *steps = NULL;
    int count = 0;
    status s = name ? checkpoint_steps(folder, &steps, &count) : STATUS_OK;
    w->points = xcalloc((size_t)count + 1, sizeof *w->points);
    w->steps = xcalloc((size_t)count + 1, sizeof *w->steps);
    for (int i = 0; i < count && s == STATUS_OK; i++)
        if (steps[i] <= saved->step) s = add_point(w, folder, steps[i], m);
    free(steps);
    free(folder);
    return s;
}

/* ---- one parameter ---- */

static status read_point(const way *w, int i, const param *p, float *out) {
    const weight_source *source = model_source_weights(w->points[i]);
    const param_spec spec = spec_of_param(p);
    return source->read(source->context, &spec, 0, spec_rows(&spec), out);
}

static status average_param(const way *w, param *p, const kernels *k, double decay) {
    const int64_t count = param_count(p);
    const bool bf16 = p->is_matrix && !role_has_expert((param_role)p->role);
    float *a = xmalloc(3 * (size_t)count * sizeof *a), *now = a + count, *next = now + count;
    status s = read_point(w, 0, p, now);
    for (int64_t i = 0; i < count; i++) a[i] = bf16 ? bfloat_round(now[i]) : now[i];
    for (int i = 1; i < w->count && s == STATUS_OK; i++) {
        s = read_point(w, i, p, next);
        if (s == STATUS_OK) frozen_average_walk(a, now, next, count, w->steps[i - 1], w->steps[i], decay, bf16);
        float *const passed = now;
        now = next;
        next = passed;
    }
    if (s == STATUS_OK) s = param_set(p, k, a);
    free(a);
    return s;
}

status frozen_average_set(frozen_average *out, model *m, const checkpoint *saved, const average_config *config) {
    way w;
    const double decay = config->kind == AVERAGE_EMA && config->ema_decay > 0 ? config->ema_decay : RECORD_DECAY;
    *out = (frozen_average){0};
    status s = way_open(&w, saved, m);
    if (s == STATUS_OK && w.count > 0)
        *out = (frozen_average){.points = w.count, .first = w.steps[0], .last = w.steps[w.count - 1]};
    for (int i = 0; i < m->param_count && w.count > 1 && s == STATUS_OK; i++)
        if (!m->params[i]->derived) s = average_param(&w, m->params[i], m->k, decay);
    way_close(&w);
    return s;
}
