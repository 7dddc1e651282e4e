#include "train/average.h"
#include "base/memory.h"
#include "nn/spread.h"
#include "store/tensor_file.h"
#include "train/states.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SWAP_BYTES = 4 << 20 };
#define COUNT_PREFIX "average_steps."

struct average {
    const model *m;
    average_kind kind;
    double start; /* fraction of the training */
    double decay; /* ema */
    bool ramped;  /* ema from the start */
    int64_t every;
    bool begun;
    param_states states; /* array[0]: the average; steps: under SWA, the checkpoints in it. Empty before the start */
    arena guests;        /* of rank 0 between gathering and saving: those of experts that are away */
};

/* What is derived from a seed never changes. */
static int average_arrays(const void *context, const param *p) {
    (void)context;
    return p->derived ? 0 : 1;
}

static float *array_of(const average *a, const param_state *state) {
    return param_state_array(&a->states, state, 0);
}

static void copy_value(const average *a, const param_state *state) {
    if (!param_state_is_here(&a->states, state)) return;
    a->m->k->copy(array_of(a, state), state->p->value.data, tensor_bytes(&state->p->value));
}

/* A parameter that is new has no history: its average starts at its value. */
static status settle(average *a) {
    TRY(param_states_settle(&a->states));
    a->begun = true;
    for (int i = 0; i < a->states.count; i++) {
        param_state *state = &a->states.items[i];
        if (state->fresh && state->arrays) copy_value(a, state);
        state->fresh = false;
    }
    return STATUS_OK;
}

status average_create(average **out, const average_config *config, double start, const model *m) {
    *out = NULL;
    if (!average_is_kept(config)) return STATUS_OK;
    average *a = xcalloc(1, sizeof *a);
    a->m = m;
    a->kind = config->kind;
    a->start = start;
    a->decay = config->ema_decay;
    a->ramped = config->ema_start == 0;
    a->every = config->swa_every;
    a->states = (param_states){.m = m, .type = DTYPE_F32, .arrays_of = average_arrays};
    status result = a->kind == AVERAGE_EMA && a->ramped ? settle(a) : STATUS_OK;
    if (result == STATUS_OK)
        *out = a;
    else
        average_destroy(a);
    return result;
}

void average_destroy(average *a) {
    if (!a) return;
    param_states_free(&a->states);
    arena_destroy(&a->guests);
    free(a);
}

bool average_begun(const average *a) {
    return a && a->begun;
}

/* The mean of n + 1 checkpoints from that of n: t = 1 / (n + 1). The first is copied: a + (w − a) is w only nearly. */
static void take_checkpoint(const average *a, param_state *state) {
    if (state->steps++ == 0)
        copy_value(a, state);
    else if (param_state_is_here(&a->states, state))
        a->m->k->lerp(array_of(a, state), state->p->value.data, 1 / (float)state->steps, param_count(state->p));
}

/* Nothing to do at this step: the start is still to come, or SWA passes it over. */
static bool passes(const average *a, int64_t step, double fraction) {
    if (!a->begun && fraction < a->start) return true;
    return a->kind == AVERAGE_SWA && (step + 1) % a->every != 0;
}

status average_update(average *a, int64_t step, double fraction) {
    if (passes(a, step, fraction)) return STATUS_OK;
    TRY(settle(a));
    if (a->kind == AVERAGE_SWA) {
        for (int i = 0; i < a->states.count; i++)
            if (a->states.items[i].arrays) take_checkpoint(a, &a->states.items[i]);
        return STATUS_OK;
    }
    const double decay = a->ramped ? fmin(a->decay, (double)(step + 1) / (double)(step + 10)) : a->decay;
    const arena *mean = &a->states.arrays[0];
    a->m->k->lerp(mean->data, a->m->values.data, (float)(1 - decay), mean->count);
    return STATUS_OK;
}

void average_replaced(void *context, const param *new_param, const param *old_param) {
    average *a = context;
    if (a->begun) param_states_replaced(&a->states, new_param, old_param);
}

/* ---- swapping ---- */

/* Through a buffer of SWAP_BYTES: parameters keep pointers to their values, so it is the contents that change place. */
status average_swap(average *a, model *m) {
    TRY(settle(a));
    const kernels *k = m->k;
    void *buffer;
    char *mean = (char *)a->states.arrays[0].data, *live = (char *)m->values.data;
    const size_t bytes = (size_t)a->states.arrays[0].count * sizeof(float);
    TRY(k->alloc(&buffer, SWAP_BYTES));
    for (size_t at = 0; at < bytes; at += SWAP_BYTES) {
        const size_t part = bytes - at < SWAP_BYTES ? bytes - at : SWAP_BYTES;
        k->copy(buffer, mean + at, part);
        k->copy(mean + at, live + at, part);
        k->copy(live + at, buffer, part);
    }
    k->release(buffer);
    return model_refresh(m);
}

/* ---- files ---- */

static bool is_count(const char *tensor) {
    return strncmp(tensor, COUNT_PREFIX, strlen(COUNT_PREFIX)) == 0;
}

static float *own_array(const void *average, int i) {
    const struct average *a = average;
    return array_of(a, &a->states.items[i]);
}

status average_gather(average *a) {
    if (!average_begun(a)) return STATUS_OK;
    TRY(settle(a));
    arena_destroy(&a->guests);
    return spread_gather(a->m, 0, own_array, a, &a->guests);
}

status average_save(average *a, const char *path, uint64_t *crc) {
    TRY(settle(a));
    tensor_file f = {0};
    int64_t guest = 0;
    for (int i = 0; i < a->states.count; i++) {
        const param_state *state = &a->states.items[i];
        if (!state->arrays) continue;
        const bool here = param_state_is_here(&a->states, state);
        tensor_file_add(&f, a->m->k, "", state->p, here ? array_of(a, state) : a->guests.data + guest, DTYPE_F32);
        if (!here) guest += param_count(state->p);
        if (a->kind == AVERAGE_SWA) tensor_file_add_int(&f, COUNT_PREFIX, state->p, (int32_t)state->steps);
    }
    const status s = tensor_file_write(&f, path, crc);
    arena_destroy(&a->guests);
    return s;
}

static status check_kind(const average *a, const safetensors *file) {
    bool counted = false;
    for (int i = 0; i < file->count; i++) counted |= is_count(file->tensors[i].name);
    if (counted == (a->kind == AVERAGE_SWA)) return STATUS_OK;
    return fail_usage("%s: average: expected %s, as it was saved, found %s", file->path, counted ? "swa" : "ema",
                      counted ? "ema" : "swa");
}

static status load_state(const average *a, const safetensors *file, param_state *state) {
    if (param_state_is_here(&a->states, state))
        TRY(tensor_file_read(file, a->m->k, "", state->p, array_of(a, state), DTYPE_F32));
    if (a->kind != AVERAGE_SWA) return STATUS_OK;
    int32_t steps;
    TRY(tensor_file_read_int(file, COUNT_PREFIX, state->p, &steps));
    if (steps < 0)
        return fail("%s: " COUNT_PREFIX "%s: expected at least 0, found %d", file->path, state->p->name, steps);
    state->steps = steps;
    return STATUS_OK;
}

status average_load(average *a, const char *path) {
    TRY(settle(a));
    safetensors file;
    TRY(safetensors_open(&file, path));
    status result = check_kind(a, &file);
    for (int i = 0; i < a->states.count && result == STATUS_OK; i++)
        if (a->states.items[i].arrays) result = load_state(a, &file, &a->states.items[i]);
    safetensors_close(&file);
    return result;
}
