#include "train/states.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

static void state_free(const kernels *k, param_state *state) {
    for (int a = 0; a < state->arrays; a++) k->release(state->array[a]);
    *state = (param_state){0};
}

static status state_create(const param_states *s, param_state *state, const param *p) {
    size_t bytes = tensor_bytes(&p->value);
    *state = (param_state){.p = p, .fresh = true};
    for (int a = s->arrays_of(p); a > 0; a--) {
        void *array;
        TRY(s->k->alloc(&array, bytes));
        s->k->zero(array, bytes);
        state->array[state->arrays++] = array;
    }
    return STATUS_OK;
}

static param_state *state_find(const param_states *s, const param *p) {
    for (int i = 0; i < s->count; i++)
        if (s->items[i].p == p) return &s->items[i];
    return NULL;
}

static bool settled(const param_states *s, param *const *params, int count) {
    if (s->count != count) return false;
    for (int i = 0; i < count; i++)
        if (s->items[i].p != params[i]) return false;
    return true;
}

status param_states_settle(param_states *s, param *const *params, int count) {
    if (s->failed) return fail("out of memory for the states of new parameters");
    if (settled(s, params, count)) return STATUS_OK;
    param_states next = {.k = s->k, .arrays_of = s->arrays_of, .count = count};
    next.items = xcalloc((size_t)count, sizeof *next.items);
    for (int i = 0; i < count; i++) {
        param_state *known = state_find(s, params[i]);
        if (known) {
            next.items[i] = *known;
            *known = (param_state){0};
        } else if (state_create(s, &next.items[i], params[i]) != STATUS_OK) {
            param_states_free(&next);
            s->failed = true;
            return fail_in(STATUS_FAILED, "state of %s", params[i]->name);
        }
    }
    param_states_free(s);
    *s = next;
    return STATUS_OK;
}

/* Called while old_param is alive. A state that is still kept under new_param's address belonged to a parameter that an
 * earlier event removed. */
void param_states_replaced(param_states *s, const param *new_param, const param *old_param) {
    if (new_param == old_param) return;
    param_state *gone = state_find(s, new_param), fresh;
    if (gone) state_free(s->k, gone);
    if (state_create(s, &fresh, new_param) != STATUS_OK) {
        state_free(s->k, &fresh);
        s->failed = true;
        return;
    }
    const param_state *old = old_param ? state_find(s, old_param) : NULL;
    if (old && old->arrays == fresh.arrays && tensor_same_shape(&old_param->value, &new_param->value)) {
        for (int a = 0; a < fresh.arrays; a++)
            s->k->copy(fresh.array[a], old->array[a], tensor_bytes(&new_param->value));
        fresh.steps = old->steps;
        fresh.fresh = old->fresh;
    }
    s->items = xrealloc(s->items, (size_t)(s->count + 1) * sizeof *s->items);
    s->items[s->count++] = fresh;
}

void param_states_free(param_states *s) {
    for (int i = 0; i < s->count; i++) state_free(s->k, &s->items[i]);
    free(s->items);
    s->items = NULL;
    s->count = 0;
}
