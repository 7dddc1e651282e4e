#include "store/tensor_file.h"

#include "base/memory.h"
#include "formats/storage.h"
#include <stdlib.h>
#include <string.h>

static safetensor *append_tensor(tensor_file *f, const char *prefix, const param *p) {
    f->tensors = xrealloc(f->tensors, (size_t)(f->count + 1) * sizeof *f->tensors);
    safetensor *t = &f->tensors[f->count++];
    *t = (safetensor){.name = xasprintf("%s%s", prefix, p->name)};
    return t;
}

void tensor_file_add(tensor_file *f, const kernels *k, const char *prefix, const param *p, const void *device,
                     dtype type) {
    safetensor *t = append_tensor(f, prefix, p);
    t->type = type;
    t->ndim = p->value.ndim;
    memcpy(t->shape, p->value.shape, sizeof t->shape);
    t->bytes = (size_t)param_count(p) * dtype_bytes(type);
    t->data = device;
    f->k = k;
}

void tensor_file_add_int(tensor_file *f, const char *prefix, const param *p, int32_t value) {
    safetensor *t = append_tensor(f, prefix, p);
    t->type = DTYPE_I32;
    t->ndim = 1;
    t->shape[0] = 1;
    t->bytes = sizeof value;
    int32_t *host = xmalloc(sizeof *host);
    *host = value;
    t->data = host;
}

/* What waits for the disk would otherwise be in memory a second time. */
static status write_pieces(void *context, const safetensor *t, file_writer *w) {
    enum { PIECE = 4 << 20 };
    const tensor_file *f = context;
    if (t->type == DTYPE_I32) {
        file_write(w, t->data, t->bytes);
        return STATUS_OK;
    }
    void *piece = xmalloc(t->bytes < PIECE ? t->bytes : PIECE);
    for (size_t at = 0; at < t->bytes; at += PIECE) {
        const size_t bytes = t->bytes - at < PIECE ? t->bytes - at : PIECE;
        f->k->download(piece, (const char *)t->data + at, bytes);
        file_write(w, piece, bytes);
    }
    free(piece);
    return STATUS_OK;
}

status tensor_file_write(tensor_file *f, const char *path, uint64_t *crc) {
    const status result = safetensors_stream(path, f->tensors, f->count, write_pieces, f, crc);
    for (int i = 0; i < f->count; i++) {
        free(f->tensors[i].name);
        if (f->tensors[i].type == DTYPE_I32) free((void *)f->tensors[i].data);
    }
    free(f->tensors);
    *f = (tensor_file){0};
    return result;
}

status tensor_file_read(const safetensors *s, const kernels *k, const char *prefix, const param *p, void *device,
                        dtype type) {
    char *name = xasprintf("%s%s", prefix, p->name);
    float *host = xmalloc(tensor_bytes(&p->value));
    status result = safetensors_read_f32(s, name, p->value.ndim, p->value.shape, host);
    const size_t bytes = (size_t)param_count(p) * dtype_bytes(type);
    void *stored = xmalloc(bytes);
    if (result == STATUS_OK)
        storage_write(type == DTYPE_BF16 ? STORAGE_BF16 : STORAGE_F32, host, param_count(p), stored);
    if (result == STATUS_OK) k->upload(device, stored, bytes);
    free(stored);
    free(host);
    free(name);
    return result;
}

/* The parameter's own values, wherever it keeps them. */
static status read_values(const safetensors *s, const kernels *k, param *p) {
    float *host = xmalloc(tensor_bytes(&p->value));
    status result = safetensors_read_f32(s, p->name, p->value.ndim, p->value.shape, host);
    if (result == STATUS_OK) result = param_set(p, k, host);
    free(host);
    return result;
}

status tensor_file_read_int(const safetensors *s, const char *prefix, const param *p, int32_t *value) {
    char *name = xasprintf("%s%s", prefix, p->name);
    status result = safetensors_read_i32(s, name, 1, (int64_t[]){1}, value);
    free(name);
    return result;
}

/* ---- a model's weights ---- */

status weights_save(const model *m, const char *path, uint64_t *crc) {
    tensor_file f = {0};
    for (int i = 0; i < m->param_count; i++)
        if (!m->params[i]->derived) tensor_file_add(&f, m->k, "", m->params[i], m->params[i]->value.data, DTYPE_F32);
    return tensor_file_write(&f, path, crc);
}

static status load_params(model *m, const safetensors *file) {
    for (int i = 0; i < m->param_count; i++)
        if (!m->params[i]->derived) TRY(read_values(file, m->k, m->params[i]));
    for (int i = 0; i < file->count; i++)
        if (file->tensors[i].type != DTYPE_I32 && !model_find(m, file->tensors[i].name))
            return fail("%s: the model has no parameter for tensor %s", file->path, file->tensors[i].name);
    return STATUS_OK;
}

status weights_load(model *m, const char *path) {
    safetensors file;
    TRY(safetensors_open(&file, path));
    status result = load_params(m, &file);
    safetensors_close(&file);
    return result;
}
