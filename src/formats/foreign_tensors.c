#include "formats/foreign_tensors.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

/* ---- which there are ---- */

typedef struct list {
    const model_config *config;
    const naming *naming;
    foreign_tensor *tensors;
    int count;
    status result;
} list;

static void add_part(list *l, const param_spec *spec, name_part part) {
    named_tensor names[MOST_SPELLINGS];
    int64_t first, rows;
    naming_spellings(l->naming, spec, part, names);
    if (names[0].stacked && spec->expert > 0) return; /* it came with the first expert */
    part_rows(spec, part, &first, &rows);
    l->tensors = xrealloc(l->tensors, (size_t)(l->count + 1) * sizeof *l->tensors);
    foreign_tensor *t = &l->tensors[l->count++];
    *t = (foreign_tensor){.spec = *spec, .part = part, .experts = names[0].stacked ? l->config->moe.experts : 0};
    strcpy(t->name, names[0].name);
    if (names[0].stacked) t->shape[t->ndim++] = l->config->moe.experts;
    if (spec->ndim > 0) t->shape[t->ndim++] = rows;
    if (spec->ndim == 2) t->shape[t->ndim++] = spec_cols(spec);
}

static void add(void *context, const param_spec *spec) {
    list *l = context;
    name_part parts[MOST_PARTS];
    char own[PARAM_NAME_BYTES];
    if (l->result != STATUS_OK || role_is_derived(spec->role)) return;
    const int count = naming_parts(l->naming, spec->role, parts);
    param_spec_name(spec, own);
    if (count == 0) l->result = fail("%s has no name for %s", l->naming->name, own);
    for (int i = 0; i < count; i++) add_part(l, spec, parts[i]);
}

status foreign_tensors(const model_config *c, const naming *n, foreign_tensor **tensors, int *count) {
    list l = {.config = c, .naming = n, .tensors = xmalloc(sizeof *l.tensors)};
    model_specs_visit(c, add, &l);
    *tensors = l.tensors;
    *count = l.count;
    return l.result;
}

int64_t foreign_count(const foreign_tensor *t) {
    int64_t count = 1;
    for (int i = 0; i < t->ndim; i++) count *= t->shape[i];
    return count;
}

/* ---- their values ---- */

/* Rows come in the model's convention and go in the naming's, head by head. */
typedef struct rotation {
    bool moves;
    rotary_style from, to;
    int head_dim, dims;
} rotation;

static rotation rotation_of(const foreign_tensor *t, const model_config *c, const naming *n) {
    const int head_dim = model_config_head_dim(c);
    return (rotation){.moves = role_is_rotated(t->spec.role) && c->rotary.style != n->rotary,
                      .from = c->rotary.style,
                      .to = n->rotary,
                      .head_dim = head_dim,
                      .dims = c->rotary.dims ? c->rotary.dims : head_dim};
}

/* `rows` whole heads of `cols` columns, from `in` to `out`. */
static void rotate(const rotation *r, const float *in, int64_t rows, int64_t cols, float *out) {
    for (int64_t row = 0; row < rows; row++) {
        const int64_t head = row / r->head_dim * r->head_dim;
        const int64_t to = head + rotary_channel(r->from, r->to, r->dims, (int)(row % r->head_dim));
        memcpy(out + to * cols, in + row * cols, (size_t)cols * sizeof *out);
    }
}

/* A vector is one row of its elements, which are what rotates in it. */
static status read_vector(const foreign_tensor *t, const weight_source *w, const rotation *r, foreign_sink sink,
                          void *context) {
    const int64_t all = spec_cols(&t->spec);
    int64_t first, count;
    part_rows(&t->spec, t->part, &first, &count);
    float *values = xmalloc(2 * (size_t)all * sizeof *values), *moved = values + all;
    status s = w->read(w->context, &t->spec, 0, 1, values);
    if (r->moves) rotate(r, values, all, 1, moved);
    if (s == STATUS_OK)
        s = sink(context, (r->moves ? moved : values) + (t->spec.ndim ? first : 0), t->spec.ndim ? count : 1);
    free(values);
    return s;
}

static status read_matrix(const param_spec *spec, name_part part, const weight_source *w, const rotation *r,
                          foreign_sink sink, void *context) {
    const int64_t cols = spec_cols(spec);
    int64_t begin, count, piece = spec_piece(spec);
    part_rows(spec, part, &begin, &count);
    if (r->moves) piece = (piece / r->head_dim > 0 ? piece / r->head_dim : 1) * r->head_dim;
    if (piece > count) piece = count;
    float *values = xmalloc(2 * (size_t)(piece * cols) * sizeof *values), *moved = values + piece * cols;
    status s = STATUS_OK;
    for (int64_t at = 0; at < count && s == STATUS_OK; at += piece) {
        const int64_t rows = count - at < piece ? count - at : piece;
        s = w->read(w->context, spec, begin + at, rows, values);
        if (r->moves) rotate(r, values, rows, cols, moved);
        if (s == STATUS_OK) s = sink(context, r->moves ? moved : values, rows * cols);
    }
    free(values);
    return s;
}

status foreign_read(const foreign_tensor *t, const weight_source *w, const naming *n, foreign_sink sink,
                    void *context) {
    const rotation r = rotation_of(t, &w->config, n);
    if (t->spec.ndim < 2) return read_vector(t, w, &r, sink, context);
    param_spec spec = t->spec;
    for (int e = 0; e < (t->experts ? t->experts : 1); e++) {
        if (t->experts) spec.expert = e;
        TRY(read_matrix(&spec, t->part, w, &r, sink, context));
    }
    return STATUS_OK;
}

status foreign_put(void *writer, const float *values, int64_t count) {
    foreign_writer *w = writer;
    const size_t bytes = storage_bytes(w->type, count);
    if (bytes > w->room) {
        w->bytes = xrealloc(w->bytes, bytes);
        w->room = bytes;
    }
    if (interrupt_requested()) return STATUS_INTERRUPTED;
    storage_write(w->type, values, count, w->bytes);
    file_write(w->file, w->bytes, bytes);
    w->done += count;
    progress_show(&w->shown, (double)w->done / (double)w->all, "tensors");
    return STATUS_OK;
}
