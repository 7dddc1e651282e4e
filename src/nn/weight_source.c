#include "nn/weight_source.h"

#include "base/file.h"
#include "base/memory.h"
#include "nn/hot_experts.h"
#include "nn/packed.h"
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

param_spec spec_of_param(const param *p) {
    param_spec spec = {.role = (param_role)p->role, .layer = p->layer, .expert = p->expert, .ndim = p->value.ndim};
    for (int i = 0; i < spec.ndim; i++) spec.shape[i] = p->value.shape[i];
    return spec;
}

status weight_source_fill_param(const weight_source *s, param *p, const kernels *k) {
    const param_spec spec = spec_of_param(p);
    const int64_t all = spec_rows(&spec), most = spec_piece(&spec) < all ? spec_piece(&spec) : all;
    float *piece = xmalloc((size_t)(most * spec_cols(&spec)) * sizeof *piece);
    status result = STATUS_OK;
    for (int64_t first = 0; first < all && result == STATUS_OK; first += most) {
        const int64_t rows = all - first < most ? all - first : most;
        result = s->read(s->context, &spec, first, rows, piece);
        if (result == STATUS_OK) result = param_set_rows(p, k, first, rows, piece);
    }
    free(piece);
    return result;
}

static status fill_one(const weight_source *s, model *m, param *p) {
    if (p->derived || hot_experts_has(m, p)) return STATUS_OK;
    const bool packs = model_use_packs(m->use) && p->is_matrix;
    return packs ? packed_fill(s, p, m->k, m->use) : weight_source_fill_param(s, p, m->k);
}

/* Embeddings and heads first: while they are made their codes are there twice, which is to be when little else is. */
status weight_source_fill(const weight_source *s, model *m) {
    for (int i = 0; i < m->param_count; i++)
        if (m->params[i]->layer < 0) TRY(fill_one(s, m, m->params[i]));
    for (int i = 0; i < m->param_count; i++)
        if (m->params[i]->layer >= 0) TRY(fill_one(s, m, m->params[i]));
    return STATUS_OK;
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

status weight_source_fingerprint(const weight_source *s, uint64_t *crc) {
    int count;
    param_spec *specs = stored_specs(&s->config, &count);
    status result = STATUS_OK;
    *crc = 0;
    for (int i = 0; i < count && result == STATUS_OK; i++) {
        const int64_t cols = spec_cols(&specs[i]), middle = spec_rows(&specs[i]) / 2;
        float *rows = xmalloc(2 * (size_t)cols * sizeof *rows);
        result = s->read(s->context, &specs[i], 0, 1, rows);
        if (result == STATUS_OK) result = s->read(s->context, &specs[i], middle, 1, rows + cols);
        if (result == STATUS_OK) *crc = crc64(*crc, rows, 2 * (size_t)cols * sizeof *rows);
        free(rows);
    }
    free(specs);
    return result;
}
