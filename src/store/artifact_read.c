/* An artifact as a model and a tokenizer. */
#include "base/file.h"
#include "base/memory.h"
#include "nn/packed.h"
#include "store/artifact_format.h"
#include "store/score_filter.h"
#include "surgery/kept_experts.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the model ---- */

static status fill_floats(param *p, const tensor_entry *t, value_reader *v, const kernels *k, model_use use) {
    float *values = xmalloc((size_t)t->elements * sizeof *values);
    status s = value_read_floats(v, t, values);
    const bool packs = model_use_packs(use) && p->is_matrix;
    if (s == STATUS_OK) s = packs ? packed_set_values(p, k, use, values) : param_set(p, k, values);
    free(values);
    return s;
}

/* What has to be undone or corrected first is run as floats, or as what these are rounded to. */
static status fill_expanded(param *p, const quantized *q, const kernels *k, model_use use) {
    float *values = xmalloc((size_t)(q->rows * q->cols) * sizeof *values);
    quantized_expand(q, values);
    const bool packs = model_use_packs(use) && !p->value.data;
    const status s = packs ? packed_set_values(p, k, use, values) : param_set(p, k, values);
    free(values);
    return s;
}

/* A matrix without values of its own is run from its codes. */
static status fill_grid(param *p, const tensor_entry *t, value_reader *v, const kernels *k, model_use use) {
    quantized q;
    TRY(value_read_grid(v, t, &q));
    status s;
    if (p->value.data || q.rotation || q.offset || q.correction)
        s = fill_expanded(p, &q, k, use);
    else
        s = model_use_packs(use) ? packed_set_codes(p, k, use, &q) : param_set_quantized(p, k, &q);
    quantized_free(&q);
    return s;
}

static status fill_param(param *p, const tensor_entry *t, value_reader *v, const kernels *k, model_use use) {
    return entry_is_grid(t) ? fill_grid(p, t, v, k, use) : fill_floats(p, t, v, k, use);
}

/* Of a tensor with a row (or an element) for each expert those of the chosen ones. */
static status fill_chosen(param *p, const tensor_entry *t, value_reader *v, const kernels *k, const bool *chosen) {
    const int64_t experts = t->shape[0], width = t->elements / experts;
    float *values = xmalloc((size_t)t->elements * sizeof *values);
    quantized q = {0};
    status s = entry_is_grid(t) ? value_read_grid(v, t, &q) : value_read_floats(v, t, values);
    if (s == STATUS_OK && entry_is_grid(t)) {
        quantized_expand(&q, values);
        quantized_free(&q);
    }
    for (int64_t e = 0, kept = 0; e < experts && s == STATUS_OK; e++)
        if (chosen[e]) memmove(values + width * kept++, values + width * e, (size_t)width * sizeof *values);
    if (s == STATUS_OK) s = param_set(p, k, values);
    free(values);
    return s;
}

static status check_entry(const param_spec *spec, const tensor_entry *t, const char *where) {
    char name[PARAM_NAME_BYTES];
    param_spec_name(spec, name);
    bool same = strcmp(name, t->name) == 0 && spec->ndim == t->ndim;
    for (int i = 0; same && i < t->ndim; i++) same = spec->shape[i] == t->shape[i];
    if (same) return STATUS_OK;
    return fail("%s: expected tensor %s of %lld × %lld, found %s of %lld × %lld", where, name,
                (long long)spec_rows(spec), (long long)spec_cols(spec), t->name, (long long)t->rows,
                (long long)t->cols);
}

static param *next_stored(const model *m, int *next) {
    while (*next < m->param_count && m->params[*next]->derived) (*next)++; /* made from a seed, not in the file */
    return *next < m->param_count ? m->params[(*next)++] : NULL;
}

/* specs: of the whole model, in the file's order; m has those of the chosen experts (NULL: of all) among them. */
static status fill_model(model *m, const param_spec *specs, int count, const directory *d, value_reader *v,
                         const kernels *k, const bool *chosen) {
    int next = 0;
    if (d->count != count) return fail("%s: expected %d tensors for its config, found %d", v->where, count, d->count);
    for (int i = 0; i < count; i++) {
        const tensor_entry *t = &d->tensors[i];
        const param_role role = specs[i].role;
        TRY(check_entry(&specs[i], t, v->where));
        if (chosen && role_has_expert(role) && !chosen[specs[i].expert]) {
            value_skip(v, t);
            continue;
        }
        param *p = next_stored(m, &next);
        const bool by_expert = chosen && (role == ROLE_ROUTER || role == ROLE_ROUTER_BIAS);
        TRY(by_expert ? fill_chosen(p, t, v, k, chosen) : fill_param(p, t, v, k, m->use));
    }
    return STATUS_OK;
}

static status read_model(container *c, const directory *d, const kernels *k, model_use use, const bool *chosen,
                         model **out, int *context_tokens) {
    artifact_config config;
    model_config kept;
    value_reader v;
    model *m;
    int count;
    TRY(artifact_config_read(&config, c));
    TRY(directory_check_size(d, c, &config.model));
    kept = config.model;
    if (chosen) TRY(fail_in(keep_experts_config(&kept, &config.model, chosen), "%s", c->where));
    TRY(fail_in(model_create(&m, &kept, k, use), "%s", c->where));
    param_spec *specs = stored_specs(&config.model, &count);
    status s = value_reader_open(&v, c, d);
    if (s == STATUS_OK) s = fill_model(m, specs, count, d, &v, k, chosen);
    value_reader_close(&v);
    free(specs);
    if (s != STATUS_OK) {
        model_destroy(m);
        return s;
    }
    *out = m;
    if (context_tokens) *context_tokens = config.context_tokens;
    return STATUS_OK;
}

static status check_tensor(value_reader *v, const tensor_entry *t) {
    quantized q;
    if (!entry_is_grid(t)) return STATUS_OK; /* any bits are floats, and their sections' sizes were checked */
    TRY(value_read_grid(v, t, &q));
    quantized_free(&q);
    return STATUS_OK;
}

/* Without a device: config and every code are read and forgotten. */
static status check_values(container *c, const directory *d, int *context_tokens) {
    artifact_config config;
    value_reader v;
    TRY(artifact_config_read(&config, c));
    if (context_tokens) *context_tokens = config.context_tokens;
    status s = value_reader_open(&v, c, d);
    for (int i = 0; i < d->count && s == STATUS_OK; i++) s = check_tensor(&v, &d->tensors[i]);
    value_reader_close(&v);
    return s;
}

static status read_tokenizer(container *c, tokenizer **out) {
    const uint8_t *bytes;
    size_t count;
    TRY(container_section(c, SECTION_TOKENIZER, &bytes, &count));
    if (count == 0) return fail("%s: expected a tokenizer, found an artifact without one", c->where);
    uint8_t *model = xmalloc(count);
    memcpy(model, bytes, count);
    score_filter_undo(model, count);
    status s = tokenizer_parse(out, model, count, c->where);
    free(model);
    return s;
}

static status decode(const uint8_t *bytes, size_t count, const char *where, bool check_crc, const kernels *k,
                     model_use use, const bool *chosen, model **m, tokenizer **tok, int *context_tokens) {
    container c;
    directory d = {0};
    if (m) *m = NULL;
    if (tok) *tok = NULL;
    TRY(container_open(&c, bytes, count, where, check_crc));
    status s = directory_read(&d, &c);
    if (s == STATUS_OK)
        s = k && m ? read_model(&c, &d, k, use, chosen, m, context_tokens) : check_values(&c, &d, context_tokens);
    if (s == STATUS_OK && tok) s = read_tokenizer(&c, tok);
    if (s == STATUS_OK && tok && m && *m && tokenizer_vocab_size(*tok) > (*m)->config.vocab_size)
        s = fail("%s: expected at most %d pieces in its tokenizer, found %d", where, (*m)->config.vocab_size,
                 tokenizer_vocab_size(*tok));
    if (s != STATUS_OK && tok) {
        tokenizer_close(*tok);
        *tok = NULL;
    }
    if (s != STATUS_OK && m) {
        model_destroy(*m);
        *m = NULL;
    }
    directory_free(&d);
    container_close(&c);
    return s;
}

status artifact_decode(const uint8_t *bytes, size_t count, const char *where, bool check_crc, const kernels *k,
                       model_use use, model **m, tokenizer **tok, int *context_tokens) {
    return decode(bytes, count, where, check_crc, k, use, NULL, m, tok, context_tokens);
}

status artifact_parse(const uint8_t *bytes, size_t count, const char *where, const kernels *k, model_use use, model **m,
                      tokenizer **tok, int *context_tokens) {
    return artifact_decode(bytes, count, where, true, k, use, m, tok, context_tokens);
}

status artifact_read(const char *path, const kernels *k, model_use use, model **m, tokenizer **tok,
                     int *context_tokens) {
    return artifact_read_experts(path, k, use, NULL, m, tok, context_tokens);
}

status artifact_read_experts(const char *path, const kernels *k, model_use use, const bool *chosen, model **m,
                             tokenizer **tok, int *context_tokens) {
    file_map map;
    TRY(file_map_open(&map, path));
    status s = decode(map.bytes, map.count, path, true, k, use, chosen, m, tok, context_tokens);
    file_map_close(&map);
    return s;
}

status artifact_read_tokenizer(const char *path, tokenizer **tok) {
    file_map map;
    container c;
    TRY(file_map_open(&map, path));
    status s = container_open(&c, map.bytes, map.count, path, true);
    if (s == STATUS_OK) {
        s = read_tokenizer(&c, tok);
        container_close(&c);
    }
    file_map_close(&map);
    return s;
}

status artifact_read_outside(const char *path, model_config *config, tokenizer **tok, int *context_tokens) {
    file_map map;
    container c;
    artifact_config found;
    TRY(file_map_open(&map, path));
    status s = container_open(&c, map.bytes, map.count, path, true);
    if (s == STATUS_OK) {
        s = artifact_config_read(&found, &c);
        if (s == STATUS_OK) s = read_tokenizer(&c, tok);
        container_close(&c);
    }
    file_map_close(&map);
    TRY(s);
    *config = found.model;
    if (context_tokens) *context_tokens = found.context_tokens;
    return STATUS_OK;
}

bool artifact_is(const char *path) {
    char magic[4];
    int fd;
    if (file_open(path, O_RDONLY, &fd) != STATUS_OK) return false;
    const bool found = read(fd, magic, sizeof magic) == sizeof magic && memcmp(magic, ARTIFACT_MAGIC, 4) == 0;
    close(fd);
    return found;
}
