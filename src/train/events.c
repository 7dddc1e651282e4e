#include "train/events.h"
#include "base/memory.h"
#include "nn/plan.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- upcycle: MLPs become experts, and what accompanies them follows ---- */

static void follow(void *context, const param *new_param, const param *old_param) {
    const event_target *target = context;
    optimizer_replaced(target->o, new_param, old_param);
    if (target->e) average_replaced(target->e, new_param, old_param);
}

static char *layer_list(const event *e) {
    char *list = xstrdup("");
    for (int i = 0; i < MODEL_MAX_LAYERS; i++) {
        if (!e->layers[i]) continue;
        char *longer = xasprintf("%s%s%d", list, *list ? ", " : "", i);
        free(list);
        list = longer;
    }
    return list;
}

static status upcycle(const event *e, const event_target *target, char **description) {
    event_target context = *target;
    TRY(model_upcycle(target->m, e->layers, e->experts, e->top_k, target->seed, follow, &context));
    char *layers = layer_list(e);
    *description = xasprintf("layers %s to %d experts, top %d", layers, e->experts, e->top_k);
    free(layers);
    return STATUS_OK;
}

/* ---- loop: the blocks of a range run more than once ---- */

static status loop(const event *e, const event_target *target, char **description) {
    (void)e;
    TRY(model_set_looping(target->m, true));
    forward_path path = model_path(&target->m->config);
    char *text = xstrdup("path");
    for (int i = 0; i < path.length; i++) {
        char *longer = xasprintf("%s%s%d", text, i == path.encoder ? " | " : " ", path.layer[i]);
        free(text);
        text = longer;
    }
    *description = text;
    return STATUS_OK;
}

/* ---- qat: products see the matrices on the grid that packing will put them on ---- */

static status quantize(const event *e, const event_target *target) {
    target->m->qat_levels = (1 << (e->bits - 1)) - 1;
    return model_refresh(target->m);
}

static status qat(const event *e, const event_target *target, char **description) {
    TRY(quantize(e, target));
    *description = xasprintf("int%d, %d levels", e->bits, 2 * target->m->qat_levels + 1);
    return STATUS_OK;
}

/* ---- the table ---- */

static const struct event_row {
    status (*fire)(const event *e, const event_target *target, char **description);
    status (*restore)(const event *e, const event_target *target); /* NULL: config.json holds everything */
} event_table[] = {
    [EVENT_UPCYCLE] = {upcycle, NULL},
    [EVENT_LOOP] = {loop, NULL},
    [EVENT_QAT] = {qat, quantize},
};

status event_fire(const event *e, const event_target *target, char **description) {
    *description = NULL;
    return fail_in(event_table[e->kind].fire(e, target, description), "event %s", event_kind_name(e->kind));
}

status event_restore(const event *e, const event_target *target) {
    return event_table[e->kind].restore ? event_table[e->kind].restore(e, target) : STATUS_OK;
}
