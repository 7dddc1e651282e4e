#include "train/states.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

void *param_state_array(const param_states *s, const param_state *state, int array) {
    return (char *)s->arrays[array].data + (size_t)state->offset[array] * dtype_bytes(s->type);
}

static param_state *find(const param_states *s, const param *p) {
    for (int i = 0; i < s->count; i++)
        if (s->items[i].p == p) return &s->items[i];
    return NULL;
}

static bool is_settled(const param_states *s) {
    if (s->count != s->m->param_count) return false;
    for (int i = 0; i < s->count; i++) {
        const param *p = s->m->params[i];
        const param_state *state = &s->items[i];
        if (state->p != p || state->arrays != s->arrays_of(s->context, p)) return false;
        if (state->arrays && state->offset[0] != p->offset) return false;
    }
    return true;
}

/* Places for the model's parameters as they are now, and arenas for them. */
static status lay_out(param_states *next) {
    int64_t end[PARAM_STATE_ARRAYS] = {0};
    next->count = next->m->param_count;
    next->items = xcalloc((size_t)next->count + 1, sizeof *next->items);
    for (int i = 0; i < next->count; i++) {
        const param *p = next->m->params[i];
        param_state *state = &next->items[i];
        *state = (param_state){.p = p, .arrays = next->arrays_of(next->context, p), .fresh = true};
        state->offset[0] = p->offset;
        state->offset[1] = end[1];
        if (state->arrays > 0) end[0] = p->offset + param_count(p) > end[0] ? p->offset + param_count(p) : end[0];
        if (state->arrays > 1) end[1] += param_count(p);
    }
    const int64_t in_a_float = (int64_t)(sizeof(float) / dtype_bytes(next->type));
    for (int a = 0; a < PARAM_STATE_ARRAYS; a++)
        TRY(arena_create(&next->arrays[a], next->m->k, (end[a] + in_a_float - 1) / in_a_float));
    return STATUS_OK;
}

static void take_along(param_states *next, param_state *to, const param_states *s) {
    const param_state *from = find(s, to->p);
    if (!from || from->arrays != to->arrays) return;
    for (int a = 0; a < to->arrays; a++)
        s->m->k->copy(param_state_array(next, to, a), param_state_array(s, from, a),
                      (size_t)param_count(to->p) * dtype_bytes(s->type));
    to->steps = from->steps;
    to->fresh = from->fresh;
}

status param_states_settle(param_states *s) {
    if (is_settled(s)) return STATUS_OK;
    param_states next = {.m = s->m, .type = s->type, .arrays_of = s->arrays_of, .context = s->context};
    status result = lay_out(&next);
    if (result != STATUS_OK) {
        param_states_free(&next);
        return fail_in(result, "the states of parameters");
    }
    for (int i = 0; i < next.count; i++) take_along(&next, &next.items[i], s);
    param_states_free(s);
    *s = next;
    return STATUS_OK;
}

/* Called while old_param is alive; until the next settling the new state is where the old one is. A state that is still kept
 * under new_param's address belonged to a parameter that an earlier event removed. */
void param_states_replaced(param_states *s, const param *new_param, const param *old_param) {
    if (new_param == old_param) return;
    param_state *gone = find(s, new_param);
    if (gone) gone->p = NULL;
    const param_state *old = old_param ? find(s, old_param) : NULL;
    if (!old || !tensor_same_shape(&old_param->value, &new_param->value)) return;
    param_state follows = *old;
    follows.p = new_param;
    s->items = xrealloc(s->items, (size_t)(s->count + 1) * sizeof *s->items);
    s->items[s->count++] = follows;
}

void param_states_free(param_states *s) {
    for (int a = 0; a < PARAM_STATE_ARRAYS; a++) arena_destroy(&s->arrays[a]);
    free(s->items);
    s->items = NULL;
    s->count = 0;
}
