#include "formats/pretrained.h"

#include "base/json.h"
#include "base/memory.h"
#include "formats/gguf_tokenizer.h"
#include <stdlib.h>
#include <string.h>

#define CONFIG "config.json"

struct pretrained {
    char *path;
    const family *family;
    const naming *names;
    model_config config;
    int context, window; /* window 0: none */
    bool is_gguf;
    gguf g;
    tensor_set folder; /* its tensors, else those of g */
};

static const tensor_set *tensors_of(const pretrained *p) {
    return p->is_gguf ? &p->g.tensors : &p->folder;
}

/* ---- the tensors of a parameter ---- */

/* The one among the part's spellings that is there; NULL: none. */
static const stored_tensor *find_part(const pretrained *p, const param_spec *spec, name_part part, bool *stacked) {
    named_tensor names[MOST_SPELLINGS];
    const int count = naming_spellings(p->names, spec, part, names);
    for (int i = 0; i < count; i++) {
        const stored_tensor *t = tensor_set_find(tensors_of(p), names[i].name);
        *stacked = names[i].stacked;
        if (t) return t;
    }
    return NULL;
}

/* How the files cut the parameter: whole where there is such a tensor, else as the naming has it. */
static int find_parts(const pretrained *p, const param_spec *spec, name_part parts[MOST_PARTS]) {
    bool stacked;
    parts[0] = PART_ALL;
    return find_part(p, spec, PART_ALL, &stacked) ? 1 : naming_parts(p->names, spec->role, parts);
}

/* Row r of the parameter (element r of a vector) stands where in its part's tensor. */
static int64_t place_of(const pretrained *p, const param_spec *spec, int64_t row) {
    const rotary_style mine = p->config.rotary.style, theirs = p->names->rotary;
    if (mine == theirs || !role_is_rotated(spec->role)) return row;
    const int head_dim = model_config_head_dim(&p->config);
    const int dims = p->config.rotary.dims ? p->config.rotary.dims : head_dim;
    const int64_t head = row / head_dim;
    return head * head_dim + rotary_channel(mine, theirs, dims, (int)(row % head_dim));
}

/* Rows that were read: a model that is loaded would else be in memory twice, as the file has it and as it is run. */
static void forget_rows(const pretrained *p, const stored_tensor *t, int64_t first, int64_t rows) {
    const size_t row = storage_bytes(t->type, stored_cols(t));
    const uint8_t *from = t->data + (size_t)first * row;
    if (p->is_gguf)
        file_map_forget(&p->g.map, from, (size_t)rows * row);
    else if (p->folder.forget)
        p->folder.forget(p->folder.owner, from, (size_t)rows * row);
}

/* Rows first … of a part, from its tensor. */
static void read_part(const pretrained *p, const param_spec *spec, const stored_tensor *t, bool stacked,
                      int64_t part_size, int64_t first, int64_t rows, float *out) {
    const int64_t cols = stored_cols(t), base = stacked ? spec->expert * part_size : 0;
    const bool moves = role_is_rotated(spec->role) && p->config.rotary.style != p->names->rotary;
    if (!moves) {
        stored_read(t, base + first, rows, out);
        forget_rows(p, t, base + first, rows);
        return;
    }
    for (int64_t r = 0; r < rows; r++) stored_read(t, base + place_of(p, spec, first + r), 1, out + r * cols);
    if (first + rows == part_size) forget_rows(p, t, base, part_size);
}

/* A vector's elements: the whole of it at once. */
static void read_vector(const pretrained *p, const param_spec *spec, const stored_tensor *t, int64_t size, float *out) {
    float *values = xmalloc((size_t)size * sizeof *values);
    stored_read(t, 0, stored_rows(t), values);
    for (int64_t i = 0; i < size; i++) out[i] = values[place_of(p, spec, i)];
    free(values);
}

static status read(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const pretrained *p = context;
    name_part parts[MOST_PARTS];
    const int count = find_parts(p, spec, parts);
    for (int i = 0; i < count; i++) {
        int64_t begin, size;
        bool stacked;
        part_rows(spec, parts[i], &begin, &size);
        const stored_tensor *t = find_part(p, spec, parts[i], &stacked);
        if (spec->ndim < 2) {
            read_vector(p, spec, t, size, out + begin);
            continue;
        }
        const int64_t from = first > begin ? first : begin;
        const int64_t to = first + rows < begin + size ? first + rows : begin + size;
        if (from < to)
            read_part(p, spec, t, stacked, size, from - begin, to - from, out + (from - first) * spec_cols(spec));
    }
    return STATUS_OK;
}

/* ---- the same as codes ---- */

/* Row r of a part as codes, in groups that are as wide as the tensor's or narrower. */
static void read_codes_row(const stored_tensor *t, int64_t row, quantized *q, int64_t to) {
    const int64_t cols = q->cols, groups = quantized_groups(q), own = storage_group(t->type), each = own / q->group;
    float *scale = q->scale + to * groups, *offset = q->offset ? q->offset + to * groups : NULL;
    for (int64_t g = 0; offset && g < groups; g++) offset[g] = 0;
    storage_read_codes(t->type, t->data + (size_t)row * storage_bytes(t->type, cols), cols, q->q + to * cols, scale,
                       storage_has_offset(t->type) ? offset : NULL);
    if (each == 1) return;
    for (int64_t g = groups - 1; g >= 0; g--) {
        scale[g] = scale[g / each];
        if (offset) offset[g] = offset[g / each];
    }
}

/* Groups and offsets that all parts can have; false where one is floats. */
static bool codes_form(const pretrained *p, const param_spec *spec, const name_part *parts, int count, int64_t *group,
                       bool *has_offset) {
    *group = 0;
    *has_offset = false;
    for (int i = 0; i < count; i++) {
        bool stacked;
        const storage type = find_part(p, spec, parts[i], &stacked)->type;
        const int64_t own = storage_group(type);
        if (own == 0) return false;
        *group = *group == 0 || own < *group ? own : *group;
        *has_offset = *has_offset || storage_has_offset(type);
    }
    return count > 0;
}

static status codes(void *context, const param_spec *spec, quantized *q) {
    const pretrained *p = context;
    name_part parts[MOST_PARTS];
    const int count = find_parts(p, spec, parts);
    int64_t group;
    bool has_offset, stacked = false;
    if (!codes_form(p, spec, parts, count, &group, &has_offset)) return STATUS_OK;
    *q = quantized_alloc(spec_rows(spec), spec_cols(spec), group, has_offset);
    for (int i = 0; i < count; i++) {
        int64_t begin, size;
        part_rows(spec, parts[i], &begin, &size);
        const stored_tensor *t = find_part(p, spec, parts[i], &stacked);
        const int64_t base = stacked ? spec->expert * size : 0;
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < size; r++) read_codes_row(t, base + place_of(p, spec, r), q, begin + r);
        forget_rows(p, t, base, size);
    }
    return STATUS_OK;
}

bool pretrained_has_codes(const pretrained *p) {
    const tensor_set *s = tensors_of(p);
    for (int i = 0; i < s->count; i++)
        if (storage_group(s->tensors[i].type) > 0) return true;
    return false;
}

weight_source pretrained_weights(const pretrained *p) {
    return (weight_source){.config = p->config, .read = read, .codes = codes, .context = (void *)p};
}

/* ---- checking ---- */

static status check_shape(const pretrained *p, const param_spec *spec, name_part part, const stored_tensor *t,
                          bool stacked) {
    int64_t first, size;
    char shape[128];
    part_rows(spec, part, &first, &size);
    const int64_t rows = (spec->ndim == 2 ? size : 1) * (stacked ? p->config.moe.experts : 1);
    const int64_t cols = spec->ndim == 2 ? spec_cols(spec) : size;
    const bool in_order = !stacked || t->ndim < 3 || t->shape[0] == p->config.moe.experts;
    if (stored_rows(t) == rows && stored_cols(t) == cols && in_order) return STATUS_OK;
    return fail("%s: tensor %s: expected %lld x %lld for its configuration%s, found %s", t->file, t->name,
                (long long)rows, (long long)cols, stacked ? ", expert after expert" : "",
                shape_text(shape, sizeof shape, t->ndim, t->shape));
}

typedef struct check {
    const pretrained *p;
    bool *used; /* by tensor */
    status result;
} check;

static status missing(const pretrained *p, const param_spec *spec, name_part part) {
    named_tensor names[MOST_SPELLINGS];
    char own[PARAM_NAME_BYTES];
    if (naming_spellings(p->names, spec, part, names) > 0)
        return fail("%s: expected a tensor %s for its configuration, found none", p->path, names[0].name);
    param_spec_name(spec, own);
    return fail("%s: %s has no place for %s", p->path, p->family->name, own);
}

static void check_param(void *context, const param_spec *spec) {
    check *c = context;
    name_part parts[MOST_PARTS];
    if (c->result != STATUS_OK) return;
    const int count = find_parts(c->p, spec, parts);
    if (count == 0) c->result = missing(c->p, spec, PART_ALL);
    for (int i = 0; i < count && c->result == STATUS_OK; i++) {
        bool stacked;
        const stored_tensor *t = find_part(c->p, spec, parts[i], &stacked);
        c->result = t ? check_shape(c->p, spec, parts[i], t, stacked) : missing(c->p, spec, parts[i]);
        if (t) c->used[t - tensors_of(c->p)->tensors] = true;
    }
}

/* Tables that follow from the configuration, and a head that is the embedding. */
static bool may_be_left(const pretrained *p, const char *name) {
    const char *dot = strrchr(name, '.');
    if (dot && strcmp(dot, ".inv_freq") == 0) return true;
    if (strcmp(name, "rope_freqs.weight") == 0) return true;
    return p->config.head.tied && strcmp(name, "lm_head.weight") == 0;
}

static status check_tensors(const pretrained *p) {
    const tensor_set *s = tensors_of(p);
    check c = {.p = p, .used = xcalloc((size_t)s->count + 1, sizeof *c.used)};
    model_specs_visit(&p->config, check_param, &c);
    for (int i = 0; i < s->count && c.result == STATUS_OK; i++)
        if (!c.used[i] && !may_be_left(p, s->tensors[i].name))
            c.result = fail("%s: tensor %s: a %s of its configuration has none of that name", s->tensors[i].file,
                            s->tensors[i].name, p->family->name);
    free(c.used);
    return c.result;
}

/* ---- opening ---- */

static bool has_model_type(const char *config) {
    cJSON *json;
    if (!path_exists(config) || json_read_file(config, &json) != STATUS_OK) return false;
    const bool found = cJSON_HasObjectItem(json, "model_type") || cJSON_HasObjectItem(json, "architectures");
    cJSON_Delete(json);
    return found;
}

bool pretrained_is(const char *path) {
    if (!path_is_folder(path)) return gguf_is(path);
    char *config = path_join(path, CONFIG);
    const bool found = has_model_type(config);
    free(config);
    return found;
}

static status open_folder(pretrained *p) {
    char *config = path_join(p->path, CONFIG);
    cJSON *json = NULL;
    status s = json_read_file(config, &json);
    if (s == STATUS_OK) s = hf_config_read(json, config, &p->family, &p->config, &p->context, &p->window);
    if (s == STATUS_OK) s = tensor_set_open_safetensors(&p->folder, p->path);
    /* Configurations that do not say it: the head is tied where there is none. */
    if (s == STATUS_OK && !cJSON_HasObjectItem(json, "tie_word_embeddings"))
        p->config.head.tied = !tensor_set_find(&p->folder, "lm_head.weight");
    if (s == STATUS_OK) p->names = p->family->hf_names;
    cJSON_Delete(json);
    free(config);
    return s;
}

static status open_gguf(pretrained *p) {
    TRY(gguf_open(&p->g, p->path));
    p->is_gguf = true;
    TRY(gguf_config_read(&p->g, &p->family, &p->config, &p->context, &p->window));
    p->names = p->family->gguf_names;
    return STATUS_OK;
}

status pretrained_open(pretrained **out, const char *path) {
    pretrained *p = xcalloc(1, sizeof *p);
    p->path = xstrdup(path);
    status s = path_is_folder(path) ? open_folder(p) : open_gguf(p);
    if (s == STATUS_OK) s = check_tensors(p);
    if (s == STATUS_OK)
        *out = p;
    else
        pretrained_close(p);
    return s;
}

void pretrained_close(pretrained *p) {
    if (!p) return;
    tensor_set_close(&p->folder);
    if (p->is_gguf) gguf_close(&p->g);
    free(p->path);
    free(p);
}

const family *pretrained_family(const pretrained *p) {
    return p->family;
}
const model_config *pretrained_config(const pretrained *p) {
    return &p->config;
}
int pretrained_context(const pretrained *p) {
    return p->window > 0 && p->window < p->context ? p->window : p->context;
}

status pretrained_check_length(const pretrained *p, int64_t tokens) {
    if (p->window == 0 || tokens <= p->window) return STATUS_OK;
    return fail("%s: sliding_window: its attention looks back %d tokens, and moec's always to the beginning: expected "
                "contexts of at most so many, found %lld",
                p->path, p->window, (long long)tokens);
}
const gguf *pretrained_gguf(const pretrained *p) {
    return p->is_gguf ? &p->g : NULL;
}

int64_t pretrained_bytes(const pretrained *p) {
    const tensor_set *s = tensors_of(p);
    int64_t bytes = 0;
    for (int i = 0; i < s->count; i++)
        bytes += (int64_t)storage_bytes(s->tensors[i].type, stored_rows(&s->tensors[i]) * stored_cols(&s->tensors[i]));
    return bytes;
}

status pretrained_open_tokenizer(const pretrained *p, tokenizer **tok) {
    *tok = NULL;
    if (p->is_gguf) {
        TRY(gguf_read_tokenizer(tok, &p->g));
        file_map_forget(&p->g.map, p->g.map.bytes, p->g.map.count); /* its vocabulary is megabytes */
        return STATUS_OK;
    }
    if (!path_holds(p->path, "tokenizer.json") && !path_holds(p->path, "tokenizer.model")) return STATUS_OK;
    return tokenizer_open(tok, p->path);
}
