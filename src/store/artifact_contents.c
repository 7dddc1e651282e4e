#include "store/artifact_contents.h"

#include "base/file.h"
#include "store/artifact_format.h"
#include <math.h>
#include <string.h>

/* Walking the config's parameters and the directory together. */
typedef struct examination {
    artifact_contents *out;
    const container *c;
    const directory *d;
    value_reader v;
    double steps[COMPONENTS];           /* Σ over grid weights of their row's step, in the row's root mean square */
    component_share shares[COMPONENTS]; /* of the sections that all share */
    int next;                           /* tensor of the directory */
    status s;
} examination;

/* rms(q · scale) = rms(q) · scale, so a step is 1 / rms(q) of it; a row of zeros has none. */
static double steps_of(const quantized *q) {
    double sum = 0;
    for (int64_t r = 0; r < q->rows; r++) {
        double squares = 0;
        for (int64_t i = 0; i < q->cols; i++) squares += (double)q->q[r * q->cols + i] * q->q[r * q->cols + i];
        if (squares > 0) sum += (double)q->cols / sqrt(squares / (double)q->cols);
    }
    return sum;
}

static status add_grid(examination *e, contents_component *to, component part, const tensor_entry *t) {
    quantized q;
    TRY(value_read_grid(&e->v, t, &q));
    e->steps[part] += steps_of(&q);
    quantized_free(&q);
    e->shares[part].scales += (int64_t)entry_scales(t);
    to->bytes += (int64_t)(t->code_bytes + t->rank_bytes);
    to->grid_elements += t->elements;
    if (to->grids == 0 || t->bits < to->least_bits) to->least_bits = t->bits;
    if (t->bits > to->most_bits) to->most_bits = t->bits;
    to->grids++;
    return STATUS_OK;
}

static status add_tensor(examination *e, const param_spec *spec) {
    char name[PARAM_NAME_BYTES];
    param_spec_name(spec, name);
    if (e->next == e->d->count) return fail("%s: expected tensor %s, found no more tensors", e->c->where, name);
    const tensor_entry *t = &e->d->tensors[e->next++];
    if (strcmp(t->name, name) != 0 || t->elements != param_spec_count(spec))
        return fail("%s: expected tensor %s of %lld weights, found %s of %lld", e->c->where, name,
                    (long long)param_spec_count(spec), t->name, (long long)t->elements);
    const component part = role_component(spec->role);
    contents_component *to = &e->out->components[part];
    to->tensors++;
    to->elements += t->elements;
    if (entry_is_grid(t)) return add_grid(e, to, part, t);
    *(t->coding == CODING_FLOAT16 ? &e->shares[part].halves : &e->shares[part].floats) += t->elements;
    return STATUS_OK;
}

static void visit(void *context, const param_spec *spec) {
    examination *e = context;
    if (e->s == STATUS_OK && !role_is_derived(spec->role)) e->s = add_tensor(e, spec);
}

static int64_t part_of(const container *c, section_kind kind, int64_t values, size_t all) {
    return all ? llround((double)c->sections[kind].count * (double)values / (double)all) : 0;
}

static void add_shares(const examination *e) {
    artifact_contents *out = e->out;
    for (int i = 0; i < COMPONENTS; i++) {
        contents_component *to = &out->components[i];
        to->bytes += part_of(e->c, SECTION_SCALES, e->shares[i].scales, e->d->scales);
        to->bytes += part_of(e->c, SECTION_HALVES, e->shares[i].halves, e->d->halves);
        to->bytes += part_of(e->c, SECTION_FLOATS, e->shares[i].floats, e->d->floats);
        if (to->grid_elements) to->step = e->steps[i] / (double)to->grid_elements;
    }
    for (int kind = SECTION_SCALES; kind <= SECTION_CODES; kind++)
        out->weight_bytes += (int64_t)e->c->sections[kind].count;
    out->tokenizer_bytes = (int64_t)e->c->sections[SECTION_TOKENIZER].count;
    out->config_bytes = (int64_t)(e->c->sections[SECTION_CONFIG].count + e->c->sections[SECTION_TENSORS].count);
}

static status examine_tensors(artifact_contents *out, container *c) {
    directory d;
    status s = directory_read(&d, c);
    if (s == STATUS_OK) s = directory_check_size(&d, c, &out->model);
    examination e = {.out = out, .c = c, .d = &d};
    if (s == STATUS_OK) {
        e.s = value_reader_open(&e.v, c, e.d);
        model_specs_visit(&out->model, visit, &e);
        value_reader_close(&e.v);
        s = e.s;
    }
    if (s == STATUS_OK && e.next != d.count)
        s = fail("%s: expected %d tensors for its config, found %d", c->where, e.next, d.count);
    if (s == STATUS_OK) add_shares(&e);
    directory_free(&d);
    return s;
}

/* The config alone, or everything. */
static status examine(artifact_contents *out, container *c, bool everything) {
    artifact_config config;
    TRY(artifact_config_read(&config, c));
    *out = (artifact_contents){
        .model = config.model, .context_tokens = config.context_tokens, .file_bytes = (int64_t)c->file_bytes};
    memcpy(out->weights, config.weights, sizeof out->weights);
    return everything ? examine_tensors(out, c) : STATUS_OK;
}

status artifact_contents_decode(artifact_contents *out, const uint8_t *bytes, size_t count, const char *where,
                                bool check_crc, bool everything) {
    container c;
    *out = (artifact_contents){0};
    TRY(container_open(&c, bytes, count, where, check_crc));
    status s = examine(out, &c, everything);
    container_close(&c);
    return s;
}

static status examine_file(artifact_contents *out, const char *path, bool everything) {
    file_map map;
    TRY(file_map_open(&map, path));
    status s = artifact_contents_decode(out, map.bytes, map.count, path, true, everything);
    file_map_close(&map);
    return s;
}

status artifact_examine(artifact_contents *out, const char *path) {
    return examine_file(out, path, true);
}

status artifact_examine_config(artifact_contents *out, const char *path) {
    return examine_file(out, path, false);
}
