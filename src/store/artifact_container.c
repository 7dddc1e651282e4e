/* The container of an artifact, and the directory of its tensors: every length is checked before it is used. */
#include "base/file.h"
#include "base/memory.h"
#include "store/artifact_format.h"
#include <stdlib.h>
#include <string.h>

void container_close(container *c) {
    for (int i = 1; i <= SECTION_COUNT; i++) free(c->sections[i].unpacked);
}

static status check_header(const uint8_t *bytes, size_t count, const char *where, bool check_crc) {
    byte_reader r = {.next = bytes, .left = count};
    const uint8_t *magic = reader_take(&r, 4);
    if (!magic || memcmp(magic, ARTIFACT_MAGIC, 4) != 0)
        return fail("%s: expected an artifact (magic \"%s\"), found something else", where, ARTIFACT_MAGIC);
    const uint64_t version = reader_number(&r, 4), file_bytes = reader_number(&r, 8);
    if (!r.overrun && (version < ARTIFACT_OLDEST_VERSION || version > ARTIFACT_VERSION))
        return fail("%s: expected artifact version %d to %d, found version %llu%s", where, ARTIFACT_OLDEST_VERSION,
                    ARTIFACT_VERSION, (unsigned long long)version,
                    version > ARTIFACT_VERSION ? ": a newer moec wrote it" : "");
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
    const uint64_t found = reader_number(r, 4), coding = reader_number(r, 4), at = reader_number(r, 8);
    const uint64_t count = reader_number(r, 8), raw = reader_number(r, 8);
    const char *name = section_name(kind);
    if (found != (uint64_t)kind)
        return fail("%s: expected section %d (%s), found kind %llu", c->where, kind, name, (unsigned long long)found);
    if (at != *offset || count > end - *offset)
        return fail("%s: section %s: expected %llu and up to %llu bytes from there, found offset %llu and %llu bytes",
                    c->where, name, (unsigned long long)*offset, (unsigned long long)(end - *offset),
                    (unsigned long long)at, (unsigned long long)count);
    const uint64_t codings = c->version == 1 || kind != SECTION_SCALES ? SECTION_SCALE_CODED : SECTION_CODINGS;
    if (coding >= codings || (coding ? raw / MAX_LZMA_RATIO > count : raw != count))
        return fail("%s: section %s: %llu bytes cannot hold %llu (coding %llu)", c->where, name,
                    (unsigned long long)count, (unsigned long long)raw, (unsigned long long)coding);
    if (raw > most_raw_bytes(kind))
        return fail("%s: section %s: expected at most %llu bytes, found %llu", c->where, name,
                    (unsigned long long)most_raw_bytes(kind), (unsigned long long)raw);
    c->sections[kind] = (stored_section){bytes + at, (size_t)count, (size_t)raw, (section_coding)coding, NULL};
    *offset += count;
    return STATUS_OK;
}

status container_open(container *c, const uint8_t *bytes, size_t count, const char *where, bool check_crc) {
    *c = (container){.where = where, .file_bytes = count};
    TRY(check_header(bytes, count, where, check_crc));
    byte_reader r = {.next = bytes + 16, .left = count - 16};
    c->version = bytes[4]; /* checked */
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

status container_section(container *c, section_kind kind, const uint8_t **bytes, size_t *count) {
    stored_section *s = &c->sections[kind];
    *count = s->raw_bytes;
    *bytes = s->bytes;
    if (s->coding != SECTION_LZMA) return STATUS_OK;
    if (!s->unpacked)
        TRY(fail_in(lzma_unpack(s->bytes, s->count, s->raw_bytes, &s->unpacked), "%s: section %s", c->where,
                    section_name(kind)));
    *bytes = s->unpacked;
    return STATUS_OK;
}

/* ---- the directory ---- */

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

/* What its grid has; nothing else has any of it. */
static status read_grid_shape(tensor_entry *t, const char *where, uint64_t flags, uint64_t group, uint64_t seed,
                              int version) {
    const bool grid = entry_is_grid(t), trellis = t->coding == CODING_BINARY && trellis_of(t->trellis);
    const uint64_t possible = !grid         ? 0
                              : version > 3 ? ENTRY_FLAGS - 1
                              : version > 2 ? ENTRY_LOW_RANK - 1
                                            : ENTRY_COLUMNS;
    const bool lacks_seed = (flags & ENTRY_ROTATION) && seed == 0;
    if ((t->trellis && !trellis) || (flags & ~possible) || lacks_seed ||
        (group && (!grid || (uint64_t)t->cols % group != 0)))
        return fail("%s: tensor %s: found a trellis of %d states, groups of %llu columns of %lld, a grid with flags "
                    "%llu%s, which do "
                    "not exist",
                    where, t->name, t->trellis, (unsigned long long)group, (long long)t->cols,
                    (unsigned long long)flags, lacks_seed ? " and seed 0" : "");
    t->group = group ? (int64_t)group : t->cols;
    t->input_scales = flags & ENTRY_COLUMNS;
    t->offsets = flags & ENTRY_OFFSETS;
    t->rotation = (uint32_t)seed;
    return STATUS_OK;
}

/* An earlier grid of the same shape without a twin of its own. */
static status read_twin(tensor_entry *t, const directory *d, const char *where, int index, uint64_t back) {
    const tensor_entry *twin = back <= (uint64_t)index ? &d->tensors[index - (int)back] : NULL;
    if (!twin || t->coding != CODING_BINARY || !entry_is_grid(twin) || twin->twin >= 0 || twin->rows != t->rows ||
        twin->cols != t->cols || twin->group != t->group)
        return fail("%s: tensor %s: expected a twin of its shape, found %llu tensors before it none that can be one",
                    where, t->name, (unsigned long long)back);
    t->twin = index - (int)back;
    return STATUS_OK;
}

/* Its factors have no more numbers than the matrix, which bounds them by the file; its rank bounds the time. */
static status check_correction(const tensor_entry *t, const char *where) {
    const int64_t factors = entry_factors(t);
    const bool coded = t->rank_coding == CODING_BINARY, plain = t->rank_coding == CODING_PLAIN;
    const bool fits = coded ? t->rank_bytes >= 3 && t->rank_bytes < (size_t)factors : t->rank_bytes == (size_t)factors;
    if (t->rank >= 1 && t->rank <= QUANTIZED_MOST_RANK && factors <= t->elements && t->rank_bits >= 2 &&
        t->rank_bits <= 8 && (coded || plain) && fits)
        return STATUS_OK;
    return fail("%s: tensor %s: expected a correction of a rank up to %d whose factors have at most %lld numbers, "
                "found rank %d, %d bits, "
                "coding %d, %zu bytes",
                where, t->name, QUANTIZED_MOST_RANK, (long long)t->elements, t->rank, t->rank_bits, t->rank_coding,
                t->rank_bytes);
}

static void read_correction(tensor_entry *t, byte_reader *r) {
    t->rank = (int)reader_number(r, 2);
    t->rank_bits = (int)reader_number(r, 1);
    t->rank_coding = (int)reader_number(r, 1);
    t->rank_bytes = (size_t)reader_number(r, 8);
}

/* Coded: fewer than one a weight, or the writer would not have done it. */
static status read_code_bytes(tensor_entry *t, byte_reader *r, const char *where) {
    const uint64_t bytes = reader_number(r, 8), most = entry_is_grid(t) ? (uint64_t)t->elements : 0;
    const uint64_t least = t->coding == CODING_RANGE ? 2 : t->coding == CODING_BINARY ? 3 : 0;
    if (r->overrun) return fail("%s: tensor %s: the directory ends within it", where, t->name);
    if (least ? bytes < least || bytes >= most : bytes != most)
        return least ? fail("%s: tensor %s: expected %llu to under %llu bytes of codes, found %llu", where, t->name,
                            (unsigned long long)least, (unsigned long long)most, (unsigned long long)bytes)
                     : fail("%s: tensor %s: expected %llu bytes of codes, found %llu", where, t->name,
                            (unsigned long long)most, (unsigned long long)bytes);
    t->code_bytes = (size_t)bytes;
    return STATUS_OK;
}

/* The next one of d, whose first `index` ones are read. */
static status read_tensor_entry(tensor_entry *t, byte_reader *r, const container *c, const directory *d, int index) {
    const char *where = c->where;
    TRY(read_name(t, r, where, index));
    t->coding = (int)reader_number(r, 1);
    t->bits = (int)reader_number(r, 1);
    t->ndim = (int)reader_number(r, 1);
    t->trellis = (int)reader_number(r, 1);
    t->twin = -1;
    if (t->coding >= (c->version == 1 ? CODING_BINARY : CODING_COUNT) || t->ndim < 0 || t->ndim > TENSOR_MAX_DIMS ||
        (entry_is_grid(t) ? t->bits < 2 || t->bits > 8 : t->bits != 0))
        return fail("%s: tensor %s: found coding %d, %d bits, %d dimensions, which do not exist", where, t->name,
                    t->coding, t->bits, t->ndim);
    const uint64_t flags = c->version == 1 ? 0 : reader_number(r, 1);
    const uint64_t group = c->version == 1 ? 0 : reader_number(r, 4), back = c->version == 1 ? 0 : reader_number(r, 4);
    const uint64_t seed = c->version > 2 && (flags & ENTRY_ROTATION) ? reader_number(r, 4) : 0;
    const bool corrected = c->version > 3 && (flags & ENTRY_LOW_RANK);
    if (corrected) read_correction(t, r);
    TRY(read_shape(t, r, where, (uint64_t)c->file_bytes * MAX_PER_FILE_BYTE));
    TRY(read_grid_shape(t, where, flags, group, seed, c->version));
    if (corrected) TRY(check_correction(t, where));
    if (back) TRY(read_twin(t, d, where, index, back));
    return read_code_bytes(t, r, where);
}

static void directory_add(directory *d, tensor_entry *t) {
    t->scale = d->scales;
    t->code = d->codes;
    d->elements += (uint64_t)t->elements;
    d->codes += t->code_bytes + t->rank_bytes;
    if (t->coding == CODING_FLOAT32) d->floats += (size_t)t->elements;
    if (t->coding == CODING_FLOAT16) d->halves += (size_t)t->elements;
    if (entry_is_grid(t)) d->scales += entry_scales(t);
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

status directory_read(directory *d, container *c) {
    *d = (directory){0};
    const uint8_t *bytes;
    size_t left;
    TRY(container_section(c, SECTION_TENSORS, &bytes, &left));
    byte_reader r = {.next = bytes, .left = left};
    const uint64_t count = reader_number(&r, 4), most = (uint64_t)c->file_bytes * MAX_PER_FILE_BYTE;
    if (count > MAX_TENSORS || count > left / 16)
        return fail("%s: expected fewer tensors in a directory of %zu bytes, found %llu", c->where, left,
                    (unsigned long long)count);
    d->tensors = xcalloc((size_t)count + 1, sizeof *d->tensors);
    d->count = (int)count;
    for (int i = 0; i < d->count; i++) {
        TRY(read_tensor_entry(&d->tensors[i], &r, c, d, i));
        directory_add(d, &d->tensors[i]);
        if (d->elements > most)
            return fail("%s: tensor %s: expected at most %llu weights in a file of %zu bytes, found more", c->where,
                        d->tensors[i].name, (unsigned long long)most, c->file_bytes);
    }
    if (r.left) return fail("%s: %zu bytes are left over in the directory", c->where, r.left);
    return check_sums(c, d);
}

status directory_check_size(const directory *d, const container *c, const model_config *model) {
    const int64_t expected = model_budget_count(model).total;
    if ((uint64_t)expected != d->elements)
        return fail("%s: expected %lld weights for its config, found %llu", c->where, (long long)expected,
                    (unsigned long long)d->elements);
    if (d->elements > memory_of_machine() / sizeof(float))
        return fail("%s: its %llu weights need more memory than this machine's %llu bytes", c->where,
                    (unsigned long long)d->elements, (unsigned long long)memory_of_machine());
    /* Frozen weights are made, not stored: their work has to be in proportion to what is. */
    const double flops = model_derive_flops(model), most = DERIVE_FLOPS + DERIVE_PER_FILE_BYTE * (double)c->file_bytes;
    if (flops <= most) return STATUS_OK;
    return fail(
        "%s: random_up_layers: expected frozen weights that are made in at most %.2g operations in a file of %zu "
        "bytes, found %.2g",
        c->where, most, c->file_bytes, flops);
}

void directory_free(directory *d) {
    free(d->tensors);
    *d = (directory){0};
}

/* ---- the config ---- */

static status read_config(artifact_config *config, const cJSON *root, const char *where) {
    const cJSON *context = cJSON_GetObjectItemCaseSensitive(root, "context_tokens");
    const cJSON *weights = cJSON_GetObjectItemCaseSensitive(root, "weights");
    if (!root) return fail("%s: section config: expected JSON, found something else", where);
    if (!cJSON_IsNumber(context) || !(context->valuedouble >= 1 && context->valuedouble <= INT32_MAX))
        return fail("%s: section config: context_tokens: expected at least one token", where);
    config->context_tokens = (int)context->valuedouble;
    if (cJSON_IsString(weights) && strlen(weights->valuestring) < sizeof config->weights)
        strcpy(config->weights, weights->valuestring);
    TRY(model_config_from_json(&config->model, cJSON_GetObjectItemCaseSensitive(root, "model"), where));
    return fail_in(model_config_check(&config->model), "%s", where);
}

status artifact_config_read(artifact_config *config, container *c) {
    const uint8_t *bytes;
    size_t count;
    *config = (artifact_config){0};
    TRY(container_section(c, SECTION_CONFIG, &bytes, &count));
    cJSON *root = cJSON_ParseWithLength((const char *)bytes, count);
    status s = read_config(config, root, c->where);
    cJSON_Delete(root);
    return s;
}
