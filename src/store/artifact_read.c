#include "base/file.h"
#include "base/memory.h"
#include "store/artifact_format.h"
#include "store/score_filter.h"
#include "store/weight_codec.h"
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the container ---- */

typedef struct stored_section {
    const uint8_t *bytes; /* in the file */
    size_t count, raw_bytes;
    bool lzma;
    uint8_t *unpacked; /* NULL until asked for */
} stored_section;

typedef struct container {
    const char *where;
    size_t file_bytes;
    stored_section sections[SECTION_COUNT + 1]; /* by kind */
} container;

static void container_free(container *c) {
    for (int i = 1; i <= SECTION_COUNT; i++) free(c->sections[i].unpacked);
}

static status check_header(const uint8_t *bytes, size_t count, const char *where, bool check_crc) {
    byte_reader r = {.next = bytes, .left = count};
    const uint8_t *magic = reader_take(&r, 4);
    if (!magic || memcmp(magic, ARTIFACT_MAGIC, 4) != 0)
        return fail("%s: expected an artifact (magic \"%s\"), found something else", where, ARTIFACT_MAGIC);
    const uint64_t version = reader_number(&r, 4), file_bytes = reader_number(&r, 8);
    if (!r.overrun && version != ARTIFACT_VERSION)
        return fail("%s: expected artifact version %d, found version %llu%s", where, ARTIFACT_VERSION,
                    (unsigned long long)version, version > ARTIFACT_VERSION ? ": a newer moec wrote it" : "");
    const size_t least = HEADER_BYTES + SECTION_COUNT * SECTION_ENTRY_BYTES + CHECKSUM_BYTES;
    if (count < least) return fail("%s: truncated: expected at least %zu bytes, found %zu", where, least, count);
    if (file_bytes != count)
        return fail("%s: truncated or damaged: expected %llu bytes, found %zu", where, (unsigned long long)file_bytes,
                    count);
    byte_reader tail = {.next = bytes + count - CHECKSUM_BYTES, .left = CHECKSUM_BYTES};
    const uint64_t expected = reader_number(&tail, 8);
    if (!check_crc) return STATUS_OK;
    const uint64_t found = crc64(0, bytes, count - CHECKSUM_BYTES);
    if (found != expected)
        return fail("%s: damaged: expected checksum %016llx, found %016llx", where, (unsigned long long)expected,
                    (unsigned long long)found);
    return STATUS_OK;
}

/* What is unpacked before anything else bounds it. */
static uint64_t most_raw_bytes(int kind) {
    switch (kind) {
    case SECTION_CONFIG:
        return MAX_CONFIG_BYTES;
    case SECTION_TOKENIZER:
        return TOKENIZER_MAX_BYTES;
    case SECTION_TENSORS:
        return (uint64_t)MAX_TENSORS * MAX_ENTRY_BYTES;
    default:
        return INT64_MAX; /* as long as the tensors need */
    }
}

static status read_section_entry(container *c, byte_reader *r, const uint8_t *bytes, int kind, uint64_t *offset,
                                 uint64_t end) {
    const uint64_t found = reader_number(r, 4), lzma = reader_number(r, 4), at = reader_number(r, 8);
    const uint64_t count = reader_number(r, 8), raw = reader_number(r, 8);
    const char *name = section_name(kind);
    if (found != (uint64_t)kind)
        return fail("%s: expected section %d (%s), found kind %llu", c->where, kind, name, (unsigned long long)found);
    if (at != *offset || count > end - *offset)
        return fail("%s: section %s: expected %llu and up to %llu bytes from there, found offset %llu and %llu bytes",
                    c->where, name, (unsigned long long)*offset, (unsigned long long)(end - *offset),
                    (unsigned long long)at, (unsigned long long)count);
    if (lzma > 1 || (lzma ? raw / MAX_LZMA_RATIO > count : raw != count))
        return fail("%s: section %s: %llu bytes cannot hold %llu (coding %llu)", c->where, name,
                    (unsigned long long)count, (unsigned long long)raw, (unsigned long long)lzma);
    if (raw > most_raw_bytes(kind))
        return fail("%s: section %s: expected at most %llu bytes, found %llu", c->where, name,
                    (unsigned long long)most_raw_bytes(kind), (unsigned long long)raw);
    c->sections[kind] = (stored_section){bytes + at, (size_t)count, (size_t)raw, lzma == 1, NULL};
    *offset += count;
    return STATUS_OK;
}

static status read_container(container *c, const uint8_t *bytes, size_t count, const char *where, bool check_crc) {
    *c = (container){.where = where, .file_bytes = count};
    TRY(check_header(bytes, count, where, check_crc));
    byte_reader r = {.next = bytes + 16, .left = count - 16};
    const uint64_t sections = reader_number(&r, 4);
    reader_number(&r, 4);
    if (sections != SECTION_COUNT)
        return fail("%s: expected %d sections, found %llu", where, SECTION_COUNT, (unsigned long long)sections);
    const uint64_t end = count - CHECKSUM_BYTES;
    uint64_t offset = HEADER_BYTES + SECTION_COUNT * SECTION_ENTRY_BYTES;
    for (int kind = 1; kind <= SECTION_COUNT; kind++) TRY(read_section_entry(c, &r, bytes, kind, &offset, end));
    if (offset != end)
        return fail("%s: expected sections of %llu bytes, found %llu", where, (unsigned long long)end,
                    (unsigned long long)offset);
    return STATUS_OK;
}

/* The section's unpacked bytes; they live as long as the container. */
static status section_read(container *c, section_kind kind, const uint8_t **bytes, size_t *count) {
    stored_section *s = &c->sections[kind];
    *count = s->raw_bytes;
    *bytes = s->bytes;
    if (!s->lzma) return STATUS_OK;
    if (!s->unpacked)
        TRY(fail_in(lzma_unpack(s->bytes, s->count, s->raw_bytes, &s->unpacked), "%s: section %s", c->where,
                    section_name(kind)));
    *bytes = s->unpacked;
    return STATUS_OK;
}

/* ---- the directory ---- */

typedef struct tensor_entry {
    char name[MAX_NAME + 1];
    int coding, bits, ndim;
    int64_t shape[TENSOR_MAX_DIMS];
    int64_t elements, rows, cols;
    size_t code_bytes;
} tensor_entry;

typedef struct directory {
    tensor_entry *tensors;
    int count;
    size_t scales, halves, floats, codes; /* what the sections must hold */
    uint64_t elements;
} directory;

static bool is_grid(const tensor_entry *t) {
    return t->coding == CODING_PLAIN || t->coding == CODING_RANGE;
}

static status read_name(tensor_entry *t, byte_reader *r, const char *where, int index) {
    const size_t length = reader_number(r, 2);
    const uint8_t *name = length >= 1 && length <= MAX_NAME ? reader_take(r, length) : NULL;
    if (!name || memchr(name, 0, length))
        return fail("%s: tensor %d: expected a name of 1 to %d bytes, found %zu", where, index, MAX_NAME, length);
    memcpy(t->name, name, length);
    return STATUS_OK;
}

/* rows · cols, with every product checked against `most`. */
static status read_shape(tensor_entry *t, byte_reader *r, const char *where, uint64_t most) {
    t->elements = t->cols = 1;
    for (int i = 0; i < t->ndim; i++) {
        const uint64_t size = reader_number(r, 8);
        if (size < 1 || size > most / (uint64_t)t->elements)
            return fail("%s: tensor %s: expected at most %llu elements in such a file, found dimension %d of %llu",
                        where, t->name, (unsigned long long)most, i, (unsigned long long)size);
        t->shape[i] = t->cols = (int64_t)size;
        t->elements *= (int64_t)size;
    }
    t->rows = t->elements / t->cols;
    return STATUS_OK;
}

static status read_tensor_entry(tensor_entry *t, byte_reader *r, const char *where, int index, uint64_t most) {
    TRY(read_name(t, r, where, index));
    t->coding = (int)reader_number(r, 1);
    t->bits = (int)reader_number(r, 1);
    t->ndim = (int)reader_number(r, 1);
    reader_number(r, 1);
    if (t->coding >= CODING_COUNT || t->ndim < 0 || t->ndim > TENSOR_MAX_DIMS ||
        (is_grid(t) ? t->bits < 2 || t->bits > 8 : t->bits != 0))
        return fail("%s: tensor %s: found coding %d, %d bits, %d dimensions, which do not exist", where, t->name,
                    t->coding, t->bits, t->ndim);
    TRY(read_shape(t, r, where, most));
    const uint64_t bytes = reader_number(r, 8), elements = (uint64_t)t->elements;
    if (r->overrun) return fail("%s: tensor %s: the directory ends within it", where, t->name);
    const uint64_t expected = is_grid(t) ? elements : 0; /* range-coded: fewer, or the writer would not have done it */
    if (t->coding == CODING_RANGE ? bytes < 2 || bytes >= expected : bytes != expected)
        return fail("%s: tensor %s: expected %s%llu bytes of codes, found %llu", where, t->name,
                    t->coding == CODING_RANGE ? "2 to under " : "", (unsigned long long)expected,
                    (unsigned long long)bytes);
    t->code_bytes = (size_t)bytes;
    return STATUS_OK;
}

static void directory_add(directory *d, const tensor_entry *t) {
    d->elements += (uint64_t)t->elements;
    d->codes += t->code_bytes;
    if (t->coding == CODING_FLOAT32) d->floats += (size_t)t->elements;
    if (t->coding == CODING_FLOAT16) d->halves += (size_t)t->elements;
    if (is_grid(t)) d->scales += (size_t)t->rows;
}

static status check_sums(const container *c, const directory *d) {
    const struct {
        section_kind kind;
        size_t bytes;
    } expected[] = {{SECTION_SCALES, 2 * d->scales},
                    {SECTION_HALVES, 2 * d->halves},
                    {SECTION_FLOATS, 4 * d->floats},
                    {SECTION_CODES, d->codes}};
    for (size_t i = 0; i < 4; i++)
        if (c->sections[expected[i].kind].raw_bytes != expected[i].bytes)
            return fail("%s: section %s: expected %zu bytes for its tensors, found %zu", c->where,
                        section_name(expected[i].kind), expected[i].bytes, c->sections[expected[i].kind].raw_bytes);
    return STATUS_OK;
}

static status read_directory(directory *d, container *c) {
    const uint8_t *bytes;
    size_t left;
    TRY(section_read(c, SECTION_TENSORS, &bytes, &left));
    byte_reader r = {.next = bytes, .left = left};
    const uint64_t count = reader_number(&r, 4), most = (uint64_t)c->file_bytes * MAX_PER_FILE_BYTE;
    if (count > MAX_TENSORS || count > left / 16)
        return fail("%s: expected fewer tensors in a directory of %zu bytes, found %llu", c->where, left,
                    (unsigned long long)count);
    d->tensors = xcalloc((size_t)count + 1, sizeof *d->tensors);
    d->count = (int)count;
    for (int i = 0; i < d->count; i++) {
        TRY(read_tensor_entry(&d->tensors[i], &r, c->where, i, most));
        directory_add(d, &d->tensors[i]);
        if (d->elements > most)
            return fail("%s: tensor %s: expected at most %llu weights in a file of %zu bytes, found more", c->where,
                        d->tensors[i].name, (unsigned long long)most, c->file_bytes);
    }
    if (r.left) return fail("%s: %zu bytes are left over in the directory", c->where, r.left);
    return check_sums(c, d);
}

/* ---- values ---- */

/* Where the next tensor's values stand in each section. */
typedef struct value_reader {
    const char *where;
    uint16_t *scales, *halves;
    float *floats;
    const uint8_t *codes;
    size_t scale, half, single, code; /* used so far */
} value_reader;

static status read_planes(container *c, section_kind kind, int width, void **values) {
    const uint8_t *bytes;
    size_t count;
    TRY(section_read(c, kind, &bytes, &count));
    *values = xmalloc(count + 1);
    planes_join(*values, bytes, count / (size_t)width, width);
    return STATUS_OK;
}

static status value_reader_open(value_reader *v, container *c) {
    size_t count;
    *v = (value_reader){.where = c->where};
    TRY(read_planes(c, SECTION_SCALES, 2, (void **)&v->scales));
    TRY(read_planes(c, SECTION_HALVES, 2, (void **)&v->halves));
    TRY(read_planes(c, SECTION_FLOATS, 4, (void **)&v->floats));
    return section_read(c, SECTION_CODES, &v->codes, &count);
}

static void value_reader_close(value_reader *v) {
    free(v->scales);
    free(v->halves);
    free(v->floats);
}

static status read_scales(quantized *q, value_reader *v, const tensor_entry *t) {
    for (int64_t r = 0; r < q->rows; r++) {
        const uint32_t bits = (uint32_t)v->scales[v->scale++] << 16;
        memcpy(&q->scale[r], &bits, sizeof bits);
        if (!isfinite(q->scale[r]) || q->scale[r] < 0)
            return fail("%s: tensor %s: row %lld: expected a finite scale, found %g", v->where, t->name, (long long)r,
                        (double)q->scale[r]);
    }
    return STATUS_OK;
}

static status read_codes(quantized *q, value_reader *v, const tensor_entry *t) {
    const uint8_t *codes = v->codes + v->code;
    v->code += t->code_bytes;
    if (t->coding == CODING_RANGE) {
        int64_t coded = 0;
        for (int64_t r = 0; r < q->rows; r++) coded += q->scale[r] > 0 ? q->cols : 0;
        if ((uint64_t)coded > (uint64_t)t->code_bytes * MAX_PER_CODE_BYTE)
            return fail("%s: tensor %s: %zu bytes of codes cannot hold %lld weights", v->where, t->name, t->code_bytes,
                        (long long)coded);
        return fail_in(weights_decode(q, codes, t->code_bytes), "%s: tensor %s", v->where, t->name);
    }
    memcpy(q->q, codes, t->code_bytes);
    for (size_t i = 0; i < t->code_bytes; i++)
        if (q->q[i] < -q->levels || q->q[i] > q->levels)
            return fail("%s: tensor %s: expected codes up to %d, found %d", v->where, t->name, q->levels, q->q[i]);
    return STATUS_OK;
}

static status read_floats(value_reader *v, const tensor_entry *t, float *out) {
    if (t->coding == CODING_FLOAT32) {
        memcpy(out, v->floats + v->single, (size_t)t->elements * sizeof *out);
        v->single += (size_t)t->elements;
        return STATUS_OK;
    }
    for (int64_t i = 0; i < t->elements; i++) out[i] = half_to_float(v->halves[v->half++]);
    return STATUS_OK;
}

/* Allocates q. */
static status read_grid(value_reader *v, const tensor_entry *t, quantized *q) {
    TRY(quantized_create(q, t->rows, t->cols, t->bits));
    status s = read_scales(q, v, t);
    if (s == STATUS_OK) s = read_codes(q, v, t);
    if (s != STATUS_OK) quantized_free(q);
    return s;
}

/* ---- the model ---- */

static status read_config(container *c, model_config *config, int *context_tokens) {
    const uint8_t *bytes;
    size_t count;
    int64_t context = 0;
    TRY(section_read(c, SECTION_CONFIG, &bytes, &count));
    cJSON *root = cJSON_ParseWithLength((const char *)bytes, count);
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(root, "context_tokens");
    status s = STATUS_OK;
    if (!root)
        s = fail("%s: section config: expected JSON, found something else", c->where);
    else if (!cJSON_IsNumber(entry) || !(entry->valuedouble >= 1 && entry->valuedouble <= INT32_MAX))
        s = fail("%s: section config: context_tokens: expected at least one token", c->where);
    else {
        context = (int64_t)entry->valuedouble;
        s = model_config_from_json(config, cJSON_GetObjectItemCaseSensitive(root, "model"), c->where);
    }
    cJSON_Delete(root);
    TRY(s);
    if (context_tokens) *context_tokens = (int)context;
    return fail_in(model_config_check(config), "%s", c->where);
}

/* Before anything is allocated for the model, so that a small hostile file cannot claim much memory. */
static status check_size(const container *c, const directory *d, const model_config *config) {
    const int64_t expected = model_budget_count(config).total;
    if ((uint64_t)expected != d->elements)
        return fail("%s: expected %lld weights for its config, found %llu", c->where, (long long)expected,
                    (unsigned long long)d->elements);
    if (d->elements <= memory_of_machine() / sizeof(float)) return STATUS_OK;
    return fail("%s: its %llu weights need more memory than this machine's %llu bytes", c->where,
                (unsigned long long)d->elements, (unsigned long long)memory_of_machine());
}

static status fill_floats(param *p, const tensor_entry *t, value_reader *v, const kernels *k) {
    float *values = xmalloc((size_t)t->elements * sizeof *values);
    status s = read_floats(v, t, values);
    if (s == STATUS_OK) s = param_set(p, k, values);
    free(values);
    return s;
}

/* A matrix without values of its own is run from its codes. */
static status fill_grid(param *p, const tensor_entry *t, value_reader *v, const kernels *k) {
    quantized q;
    TRY(read_grid(v, t, &q));
    status s = STATUS_OK;
    if (!p->value.data) {
        s = param_set_quantized(p, k, &q);
    } else {
        float *values = xmalloc((size_t)t->elements * sizeof *values);
        quantized_expand(&q, values);
        s = param_set(p, k, values);
        free(values);
    }
    quantized_free(&q);
    return s;
}

static status fill_param(param *p, const tensor_entry *t, value_reader *v, const kernels *k) {
    bool same = strcmp(p->name, t->name) == 0 && p->value.ndim == t->ndim;
    for (int i = 0; same && i < t->ndim; i++) same = p->value.shape[i] == t->shape[i];
    if (!same)
        return fail("%s: expected tensor %s of %lld × %lld, found %s of %lld × %lld", v->where, p->name,
                    (long long)tensor_rows(&p->value), (long long)tensor_cols(&p->value), t->name, (long long)t->rows,
                    (long long)t->cols);
    return is_grid(t) ? fill_grid(p, t, v, k) : fill_floats(p, t, v, k);
}

static status fill_model(model *m, const directory *d, value_reader *v, const kernels *k) {
    int stored = 0; /* what is derived from a seed is not in the file */
    for (int i = 0; i < m->param_count; i++) stored += !m->params[i]->derived;
    if (d->count != stored) return fail("%s: expected %d tensors for its config, found %d", v->where, stored, d->count);
    for (int i = 0, next = 0; i < m->param_count; i++)
        if (!m->params[i]->derived) TRY(fill_param(m->params[i], &d->tensors[next++], v, k));
    return STATUS_OK;
}

static status read_model(container *c, const directory *d, const kernels *k, model_use use, model **out,
                         int *context_tokens) {
    model_config config;
    value_reader v;
    model *m;
    TRY(read_config(c, &config, context_tokens));
    TRY(check_size(c, d, &config));
    TRY(fail_in(model_create(&m, &config, k, use), "%s", c->where));
    status s = value_reader_open(&v, c);
    if (s == STATUS_OK) s = fill_model(m, d, &v, k);
    value_reader_close(&v);
    if (s == STATUS_OK)
        *out = m;
    else
        model_destroy(m);
    return s;
}

static status check_tensor(value_reader *v, const tensor_entry *t) {
    quantized q;
    if (!is_grid(t)) return STATUS_OK; /* any bits are floats, and their sections' sizes were checked */
    TRY(read_grid(v, t, &q));
    quantized_free(&q);
    return STATUS_OK;
}

/* Without a device: config and every code are read and forgotten. */
static status check_values(container *c, const directory *d, int *context_tokens) {
    model_config config;
    value_reader v;
    TRY(read_config(c, &config, context_tokens));
    status s = value_reader_open(&v, c);
    for (int i = 0; i < d->count && s == STATUS_OK; i++) s = check_tensor(&v, &d->tensors[i]);
    value_reader_close(&v);
    return s;
}

static status read_tokenizer(container *c, tokenizer **out) {
    const uint8_t *bytes;
    size_t count;
    TRY(section_read(c, SECTION_TOKENIZER, &bytes, &count));
    if (count == 0) return fail("%s: expected a tokenizer, found an artifact without one", c->where);
    uint8_t *model = xmalloc(count);
    memcpy(model, bytes, count);
    score_filter_undo(model, count);
    status s = tokenizer_parse(out, model, count, c->where);
    free(model);
    return s;
}

status artifact_decode(const uint8_t *bytes, size_t count, const char *where, bool check_crc, const kernels *k,
                       model_use use, model **m, tokenizer **tok, int *context_tokens) {
    container c;
    directory d = {0};
    if (m) *m = NULL;
    if (tok) *tok = NULL;
    TRY(read_container(&c, bytes, count, where, check_crc));
    status s = read_directory(&d, &c);
    if (s == STATUS_OK)
        s = k && m ? read_model(&c, &d, k, use, m, context_tokens) : check_values(&c, &d, context_tokens);
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
    free(d.tensors);
    container_free(&c);
    return s;
}

status artifact_parse(const uint8_t *bytes, size_t count, const char *where, const kernels *k, model_use use, model **m,
                      tokenizer **tok, int *context_tokens) {
    return artifact_decode(bytes, count, where, true, k, use, m, tok, context_tokens);
}

status artifact_read(const char *path, const kernels *k, model_use use, model **m, tokenizer **tok,
                     int *context_tokens) {
    file_map map;
    TRY(file_map_open(&map, path));
    status s = artifact_decode(map.bytes, map.count, path, true, k, use, m, tok, context_tokens);
    file_map_close(&map);
    return s;
}

status artifact_read_tokenizer(const char *path, tokenizer **tok) {
    file_map map;
    container c;
    TRY(file_map_open(&map, path));
    status s = read_container(&c, map.bytes, map.count, path, true);
    if (s == STATUS_OK) {
        s = read_tokenizer(&c, tok);
        container_free(&c);
    }
    file_map_close(&map);
    return s;
}

bool artifact_is(const char *path) {
    char magic[4];
    int fd;
    if (file_open(path, O_RDONLY, &fd) != STATUS_OK) return false;
    const bool found = read(fd, magic, sizeof magic) == sizeof magic && memcmp(magic, ARTIFACT_MAGIC, 4) == 0;
    close(fd);
    return found;
}
