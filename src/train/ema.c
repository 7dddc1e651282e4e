/* Exponential moving average of a model's parameters, in float32: in bf16 the updates of a decay of 0.9965 are below the
 * resolution and are lost. */
#include "base/memory.h"
#include "train/optimizer.h"
#include "train/states.h"
#include <math.h>
#include <stdlib.h>

enum { SWAP_BYTES = 4 << 20 };

struct ema {
    const model *m;
    double decay;
    param_states states; /* array[0]: the average */
};

/* What is derived from a seed never changes. */
static int average_arrays(const param *p) {
    return p->derived ? 0 : 1;
}

/* A parameter that is new has no history: its average starts at its value. */
static status settle(ema *e) {
    TRY(param_states_settle(&e->states, e->m->params, e->m->param_count));
    for (int i = 0; i < e->states.count; i++) {
        param_state *state = &e->states.items[i];
        if (state->fresh && state->arrays) e->m->k->copy(state->array[0], state->p->value.data, tensor_bytes(&state->p->value));
        state->fresh = false;
    }
    return STATUS_OK;
}

status ema_create(ema **out, const model *m, double decay) {
    ema *e = xcalloc(1, sizeof *e);
    e->m = m;
    e->decay = decay;
    e->states = (param_states){.k = m->k, .arrays_of = average_arrays};
    status result = settle(e);
    if (result != STATUS_OK) {
        ema_destroy(e);
        e = NULL;
    }
    *out = e;
    return result;
}

void ema_destroy(ema *e) {
    if (!e) return;
    param_states_free(&e->states);
    free(e);
}

status ema_update(ema *e, int64_t step) {
    TRY(settle(e));
    double decay = fmin(e->decay, (double)(step + 1) / (double)(step + 10));
    for (int i = 0; i < e->states.count; i++) {
        param_state *state = &e->states.items[i];
        if (state->arrays)
            e->m->k->lerp(state->array[0], state->p->value.data, (float)(1 - decay), param_count(state->p));
    }
    return STATUS_OK;
}

void ema_replaced(void *context, const param *new_param, const param *old_param) {
    ema *e = context;
    param_states_replaced(&e->states, new_param, old_param);
}

/* a ⇄ b through a buffer of SWAP_BYTES: products may keep pointers to the values, so it is the contents that change
 * place. */
static void swap_contents(const kernels *k, char *a, char *b, char *buffer, size_t bytes) {
    for (size_t at = 0; at < bytes; at += SWAP_BYTES) {
        size_t part = bytes - at < SWAP_BYTES ? bytes - at : SWAP_BYTES;
        k->copy(buffer, a + at, part);
        k->copy(a + at, b + at, part);
        k->copy(b + at, buffer, part);
    }
}

status ema_swap(ema *e, model *m) {
    TRY(settle(e));
    void *buffer;
    TRY(m->k->alloc(&buffer, SWAP_BYTES));
    for (int i = 0; i < m->param_count; i++)
        if (e->states.items[i].arrays) swap_contents(m->k, m->params[i]->value.data, (char *)e->states.items[i].array[0], buffer,
                      tensor_bytes(&m->params[i]->value));
    m->k->release(buffer);
    return model_refresh(m);
}

status ema_save(ema *e, const char *path, uint64_t *crc) {
    TRY(settle(e));
    tensor_file f = {0};
    for (int i = 0; i < e->states.count; i++)
        if (e->states.items[i].arrays) tensor_file_add(&f, e->m->k, "", e->states.items[i].p, e->states.items[i].array[0]);
    return tensor_file_write(&f, path, crc);
}

status ema_load(ema *e, const char *path) {
    TRY(settle(e));
    safetensors file;
    TRY(safetensors_open(&file, path));
    status result = STATUS_OK;
    for (int i = 0; i < e->states.count && result == STATUS_OK; i++)
        if (e->states.items[i].arrays) result = tensor_file_read(&file, e->m->k, "", e->states.items[i].p, e->states.items[i].array[0]);
    safetensors_close(&file);
    return result;
}
