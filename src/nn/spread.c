#include "nn/spread.h"

#include "base/memory.h"
#include <stdlib.h>

/* ---- who has what ---- */

int spread_position(const comm_group *g, const model_config *c, int expert) {
    return expert < 0 || comm_group_is_one(g) ? -1 : expert / (c->moe.experts / g->count);
}

bool spread_sends_away(const comm_group *g, const model_config *c, int expert) {
    const int position = spread_position(g, c, expert);
    return position >= 0 && position != comm_group_position(g);
}

static bool has_mixture(const model_config *c) {
    bool any = false;
    for (int i = 0; i < c->num_layers; i++) any |= model_config_is_moe(c, i);
    return any;
}

status spread_check(const comm *ranks, int expert_ranks, const model_config *c) {
    const int E = c->moe.experts;
    if (expert_ranks <= 1) return STATUS_OK;
    if (ranks->ranks % expert_ranks != 0)
        return fail_usage("expert_ranks: expected a number that divides the %d rank%s, found %d", ranks->ranks,
                          ranks->ranks == 1 ? "" : "s", expert_ranks);
    if (!has_mixture(c))
        return fail_usage("expert_ranks: expected 1 for a model without experts, found %d", expert_ranks);
    if (expert_ranks > E || E % expert_ranks != 0)
        return fail_usage("expert_ranks: expected a number that divides the %d experts, found %d", E, expert_ranks);
    if (c->moe.gate == GATE_SOFT || c->moe.gate == GATE_STRAIGHT_THROUGH)
        return fail_usage("expert_ranks: expected 1 where every token goes to every expert (moe_gate %s), found %d",
                          c->moe.gate == GATE_SOFT ? "soft" : "straight_through", expert_ranks);
    return STATUS_OK;
}

bool spread_is_on(const model *m) {
    return !comm_group_is_one(&m->spread) && !m->guests.data;
}

/* ---- gradients of other ranks' micro-batches ---- */

static bool gets_others(const param *p) {
    return p->expert >= 0 && p->grad;
}

status spread_place_gradients(model *m) {
    const int others = m->spread.count - 1;
    int64_t count = 0;
    arena_destroy(&m->other_gradients);
    if (comm_group_is_one(&m->spread)) return STATUS_OK;
    for (int i = 0; i < m->param_count; i++)
        if (gets_others(m->params[i])) count += others * param_count(m->params[i]);
    TRY(arena_create(&m->other_gradients, m->k, count));
    int64_t at = 0;
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        p->more_grads = NULL;
        if (!gets_others(p)) continue;
        p->more_grads = m->other_gradients.data + at;
        at += others * param_count(p);
    }
    return STATUS_OK;
}

/* ---- all of them at one rank ---- */

static bool is_away_from(const model *m, const param *p, int root) {
    const int position = spread_position(&m->spread, &m->config, p->expert);
    return position >= 0 && position != root % m->spread.count;
}

/* A room at root for what is away; all ranks know whether there is one. */
static status make_room(const model *m, int root, arena *out) {
    int64_t count = 0;
    *out = (arena){0};
    for (int i = 0; i < m->param_count; i++)
        if (is_away_from(m, m->params[i], root)) count += param_count(m->params[i]);
    const status made = m->spread.ranks->rank == root ? arena_create(out, m->k, count) : STATUS_OK;
    return comm_agree(m->spread.ranks, made);
}

/* The ranks of root's own group send. */
static status send_away(const model *m, int root, float *(*own)(const void *context, int i), const void *context,
                        const arena *room) {
    const comm_group *g = &m->spread;
    const int first = root - root % g->count, rank = g->ranks->rank;
    comm_message *messages = xcalloc((size_t)m->param_count + 1, sizeof *messages);
    int count = 0;
    int64_t at = 0;
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        if (!is_away_from(m, p, root)) continue;
        const int holder = first + spread_position(g, &m->config, p->expert);
        const size_t bytes = tensor_bytes(&p->value);
        if (rank == root) messages[count++] = (comm_message){holder, room->data + at, bytes};
        if (rank == holder) messages[count++] = (comm_message){root, own(context, i), bytes};
        at += param_count(p);
    }
    const int sends = rank == root ? 0 : count, receives = count - sends;
    const status s = g->ranks->exchange(g->ranks, messages, sends, messages, receives);
    free(messages);
    return s;
}

status spread_gather(const model *m, int root, float *(*own)(const void *context, int i), const void *context,
                     arena *out) {
    *out = (arena){0};
    if (comm_group_is_one(&m->spread)) return STATUS_OK;
    TRY(make_room(m, root, out));
    const status s = send_away(m, root, own, context, out);
    if (s != STATUS_OK) arena_destroy(out);
    return s;
}

static float *own_value(const void *context, int i) {
    const model *m = context;
    return m->params[i]->value.data;
}

static void take_in(model *m) {
    int64_t at = 0;
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (!p->away) continue;
        p->value.data = m->guests.data + at;
        at += param_count(p);
    }
}

static status make_products(model *m) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->away && p->value.data) TRY(m->k->weight_create(&p->matrix, p->value.shape[0], p->value.shape[1], NULL));
    }
    return model_refresh(m);
}

status spread_collect(model *m, int root, bool to_run) {
    TRY(spread_gather(m, root, own_value, m, &m->guests));
    if (!m->guests.data) return STATUS_OK;
    take_in(m);
    return to_run ? make_products(m) : STATUS_OK;
}

void spread_release(model *m) {
    if (!m->guests.data) return;
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (!p->away) continue;
        m->k->weight_destroy(&p->matrix);
        p->value.data = NULL;
    }
    arena_destroy(&m->guests);
}
