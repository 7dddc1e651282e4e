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

bool param_state_is_here(const param_states *s, const param_state *state) {
    return state->arrays > 0 && (s->ranks ? state->owner == s->ranks->rank : !state->p->away);
}

static bool is_settled(const param_states *s) {
    if (s->count != s->m->param_count) return false;
    for (int i = 0; i < s->count; i++) {
        const param *p = s->m->params[i];
        const param_state *state = &s->items[i];
        if (state->p != p || state->arrays != s->arrays_of(s->context, p)) return false;
        if (!s->ranks && state->arrays && state->offset[0] != p->offset) return false;
    }
    return true;
}

enum { ALIGNMENT = 32 }; /* elements: a cache line of bf16 */

/* Behind what this rank has so far. */
static void place_here(const param_states *s, param_state *state, int64_t end[PARAM_STATE_ARRAYS]) {
    for (int a = 0; a < state->arrays && param_state_is_here(s, state); a++) {
        state->offset[a] = end[a];
        end[a] += (param_count(state->p) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}

static void place_like_value(param_state *state, int64_t end[PARAM_STATE_ARRAYS]) {
    const int64_t count = param_count(state->p);
    state->offset[0] = state->p->offset;
    state->offset[1] = end[1];
    if (state->p->away) return;
    if (state->arrays > 0 && state->p->offset + count > end[0]) end[0] = state->p->offset + count;
    if (state->arrays > 1) end[1] += count;
}

/* Places for the model's parameters as they are now, and arenas for them. owner: NULL without ranks. */
static status lay_out(param_states *next, const int *owner) {
    int64_t end[PARAM_STATE_ARRAYS] = {0};
    next->count = next->m->param_count;
    next->items = xcalloc((size_t)next->count + 1, sizeof *next->items);
    for (int i = 0; i < next->count; i++) {
        const param *p = next->m->params[i];
        param_state *state = &next->items[i];
        *state = (param_state){.p = p, .arrays = next->arrays_of(next->context, p), .fresh = true};
        state->owner = owner ? owner[i] : 0;
        if (next->ranks)
            place_here(next, state, end);
        else
            place_like_value(state, end);
    }
    const int64_t in_a_float = (int64_t)(sizeof(float) / dtype_bytes(next->type));
    for (int a = 0; a < PARAM_STATE_ARRAYS; a++)
        TRY(arena_create(&next->arrays[a], next->m->k, (end[a] + in_a_float - 1) / in_a_float));
    return STATUS_OK;
}

/* What comes from other ranks and goes to them. */
typedef struct moves {
    comm_message *in, *out;
    int ins, outs;
} moves;

static void move_array(moves *m, param_states *next, const param_state *to, const param_states *s,
                       const param_state *from, int array) {
    const size_t bytes = (size_t)param_count(to->p) * dtype_bytes(s->type);
    const bool was_here = param_state_is_here(s, from), is_here = param_state_is_here(next, to);
    if (was_here && is_here)
        s->m->k->copy(param_state_array(next, to, array), param_state_array(s, from, array), bytes);
    else if (!s->ranks) /* what goes away here is taken along where it is */
        return;
    else if (was_here)
        m->out[m->outs++] = (comm_message){to->owner, param_state_array(s, from, array), bytes};
    else if (is_here)
        m->in[m->ins++] = (comm_message){from->owner, param_state_array(next, to, array), bytes};
}

static void take_along(moves *m, param_states *next, param_state *to, const param_states *s) {
    const param_state *from = find(s, to->p);
    if (!from || from->arrays != to->arrays) return;
    for (int a = 0; a < to->arrays; a++) move_array(m, next, to, s, from, a);
    to->steps = from->steps;
    to->fresh = from->fresh;
}

static status take_all_along(param_states *next, const param_states *s) {
    const size_t most = (size_t)next->count * PARAM_STATE_ARRAYS + 1;
    moves m = {.in = xcalloc(most, sizeof *m.in), .out = xcalloc(most, sizeof *m.out)};
    for (int i = 0; i < next->count; i++) take_along(&m, next, &next->items[i], s);
    const status result = next->ranks ? next->ranks->exchange(next->ranks, m.out, m.outs, m.in, m.ins) : STATUS_OK;
    free(m.in);
    free(m.out);
    return result;
}

/* The states of s in a new layout; s stays as it is. */
static status move(param_states *next, const param_states *s, const int *owner) {
    *next = *s;
    next->items = NULL;
    for (int a = 0; a < PARAM_STATE_ARRAYS; a++) next->arrays[a] = (arena){0};
    status result = lay_out(next, owner);
    if (next->ranks) result = comm_agree(next->ranks, result);
    if (result == STATUS_OK) result = take_all_along(next, s);
    if (result == STATUS_OK) return STATUS_OK;
    param_states_free(next);
    return fail_in(result, "the states of parameters");
}

status param_states_settle(param_states *s) {
    if (is_settled(s)) return STATUS_OK;
    param_states next;
    int *owner = s->ranks ? xcalloc((size_t)s->m->param_count + 1, sizeof *owner) : NULL;
    if (owner) s->assign(s->context, s->m, s->ranks->ranks, owner);
    const status result = move(&next, s, owner);
    free(owner);
    TRY(result);
    param_states_free(s);
    *s = next;
    return STATUS_OK;
}

status param_states_collect(const param_states *s, int root, param_states *whole) {
    int *owner = xcalloc((size_t)s->m->param_count + 1, sizeof *owner);
    for (int i = 0; i < s->m->param_count; i++) owner[i] = root;
    const status result = move(whole, s, owner);
    free(owner);
    return result;
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
