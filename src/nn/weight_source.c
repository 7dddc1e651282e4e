#include "nn/weight_source.h"

#include "base/memory.h"
#include <stdlib.h>

enum { PIECE_BYTES = 4 << 20 };

int64_t spec_rows(const param_spec *spec) {
    return spec->ndim == 2 ? spec->shape[0] : 1;
}
int64_t spec_cols(const param_spec *spec) {
    return spec->ndim == 0 ? 1 : spec->shape[spec->ndim - 1];
}
int64_t spec_piece(const param_spec *spec) {
    const int64_t rows = PIECE_BYTES / ((int64_t)sizeof(float) * spec_cols(spec));
    return rows > 0 ? rows : 1;
}

/* ---- a model's own ---- */

static status read_own(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const model *m = context;
    const param *p = model_param(m, (int)spec->role, spec->layer, spec->expert);
    char name[PARAM_NAME_BYTES];
    param_spec_name(spec, name);
    if (!p) return fail("the model has no %s", name);
    return param_get_rows(p, m->k, first, rows, out);
}

weight_source weight_source_of(const model *m) {
    return (weight_source){.config = m->config, .read = read_own, .context = (void *)m};
}

/* ---- filling a model ---- */

static param_spec spec_of(const param *p) {
    param_spec spec = {.role = (param_role)p->role, .layer = p->layer, .expert = p->expert, .ndim = p->value.ndim};
    for (int i = 0; i < spec.ndim; i++) spec.shape[i] = p->value.shape[i];
    return spec;
}

static status fill_param(const weight_source *s, param *p, const kernels *k, float *piece) {
    const param_spec spec = spec_of(p);
    const int64_t all = spec_rows(&spec), most = spec_piece(&spec);
    for (int64_t first = 0; first < all; first += most) {
        const int64_t rows = all - first < most ? all - first : most;
        TRY(s->read(s->context, &spec, first, rows, piece));
        TRY(param_set_rows(p, k, first, rows, piece));
    }
    return STATUS_OK;
}

static int64_t largest_piece(const model *m) {
    int64_t most = 1;
    for (int i = 0; i < m->param_count; i++) {
        const param_spec spec = spec_of(m->params[i]);
        const int64_t rows = spec_piece(&spec) < spec_rows(&spec) ? spec_piece(&spec) : spec_rows(&spec);
        if (rows * spec_cols(&spec) > most) most = rows * spec_cols(&spec);
    }
    return most;
}

status weight_source_fill(const weight_source *s, model *m) {
    float *piece = xmalloc((size_t)largest_piece(m) * sizeof *piece);
    status result = STATUS_OK;
    for (int i = 0; i < m->param_count && result == STATUS_OK; i++)
        if (!m->params[i]->derived) result = fill_param(s, m->params[i], m->k, piece);
    free(piece);
    return result;
}

/* ---- what is stored ---- */

typedef struct list {
    param_spec *specs;
    int count;
} list;

static void add(void *context, const param_spec *spec) {
    list *l = context;
    if (role_is_derived(spec->role)) return;
    l->specs = xrealloc(l->specs, (size_t)(l->count + 1) * sizeof *l->specs);
    l->specs[l->count++] = *spec;
}

param_spec *stored_specs(const model_config *c, int *count) {
    list l = {.specs = xmalloc(sizeof *l.specs)};
    model_specs_visit(c, add, &l);
    *count = l.count;
    return l.specs;
}
