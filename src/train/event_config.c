#include "train/event_config.h"
#include "config/records.h"
#include <string.h>

static const char *const kind_names[] = {"upcycle", "loop", "qat", NULL};
_Static_assert(sizeof(event_kind) == sizeof(int), "FIELD_CHOICE stores an int");

/* ---- the keys of an event, and which kind has which ---- */

#define FIELD(type, key, member, least, most, choices, meaning)                                                        \
    CONFIG_FIELD(event, key, type, member, least, most, choices, meaning)

enum { KEY_AT, KEY_BELOW_LR, KEY_DO, KEY_LAYERS, KEY_EXPERTS, KEY_TOP_K, KEY_BITS, KEYS };

static const config_field event_fields[KEYS] = {
    [KEY_AT] = FIELD(FIELD_DOUBLE, "at", at, 0, 1, NULL, "part of the training"),
    [KEY_BELOW_LR] =
        FIELD(FIELD_DOUBLE, "below_lr", below_lr, 1e-9, 1, NULL, "when the rate's factor is below this, instead of at"),
    [KEY_DO] = FIELD(FIELD_CHOICE, "do", kind, 0, 0, kind_names, "what happens"),
    [KEY_LAYERS] = FIELD(FIELD_SET, "layers", layers, 0, MODEL_MAX_LAYERS - 1, NULL, "MLPs that become experts"),
    [KEY_EXPERTS] = FIELD(FIELD_INT, "experts", experts, 2, MODEL_MAX_EXPERTS, NULL, "copies of each MLP"),
    [KEY_TOP_K] = FIELD(FIELD_INT, "top_k", top_k, 1, MODEL_MAX_EXPERTS, NULL, "experts a token goes to"),
    [KEY_BITS] = FIELD(FIELD_INT, "bits", bits, 2, 8, NULL, "of the grid that products see"),
};

static const record_kind kinds[] = {
    [EVENT_UPCYCLE] = {.one_of = 1 << KEY_AT, .needs = 1 << KEY_LAYERS, .may = 1 << KEY_EXPERTS | 1 << KEY_TOP_K},
    [EVENT_LOOP] = {.one_of = 1 << KEY_AT},
    [EVENT_QAT] = {.one_of = 1 << KEY_AT | 1 << KEY_BELOW_LR, .may = 1 << KEY_BITS},
};

static const event fresh = {.experts = 2, .top_k = 1, .bits = 6};

static const record_list event_records = {
    .one = "event",
    .example = "{at: 0.3, do: loop}",
    .forms = "{at: PART, do: upcycle, layers: [4, 5], experts: 2, top_k: 1}, {at: PART, do: loop},\n"
             "  {at: PART, do: qat, bits: 6} and {below_lr: FACTOR, do: qat}",
    .fields = event_fields,
    .field_count = KEYS,
    .tag = KEY_DO,
    .kinds = kinds,
    .fresh = &fresh,
    .bytes = sizeof(event),
    .most = MAX_EVENTS,
    .count_offset = offsetof(event_list, count) - offsetof(event_list, items),
};

static const config_field fields[] = {{.key = "events",
                                       .type = FIELD_RECORDS,
                                       .offset = offsetof(event_list, items),
                                       .meaning = "what happens during training",
                                       .records = &event_records}};

const config_section events_section = {"events", TABLE_AND_COUNT(fields), NULL, 0};

const char *event_kind_name(event_kind kind) {
    return kind_names[kind];
}

event_list event_list_default(void) {
    return (event_list){
        .items = {{.at = 0.30,
                   .kind = EVENT_UPCYCLE,
                   .layers = {[4] = true, [5] = true},
                   .experts = 2,
                   .top_k = 1,
                   .bits = 6},
                  {.at = 0.35, .kind = EVENT_LOOP, .experts = 2, .top_k = 1, .bits = 6},
                  {.below_lr = 0.15, .kind = EVENT_QAT, .experts = 2, .top_k = 1, .bits = 6}},
        .count = 3,
    };
}

/* ---- what they do to the model's configuration ---- */

static void apply(const event *e, model_config *m) {
    if (e->kind == EVENT_LOOP) m->loop.on = true;
    if (e->kind != EVENT_UPCYCLE) return;
    for (int i = 0; i < MODEL_MAX_LAYERS; i++) m->moe.layers[i] |= e->layers[i];
    m->moe.experts = e->experts;
    m->moe.top_k = e->top_k;
}

bool event_does_the_same(const event *a, const event *b) {
    if (a->kind != b->kind) return false;
    return a->kind != EVENT_UPCYCLE ||
           (a->experts == b->experts && a->top_k == b->top_k && memcmp(a->layers, b->layers, sizeof a->layers) == 0);
}

model_config model_after_events(const event_list *events, const model_config *now) {
    model_config after = *now;
    for (int i = 0; i < events->count; i++) apply(&events->items[i], &after);
    return after;
}

/* ---- the rules ---- */

static int highest_layer(const bool *layers) {
    int highest = -1;
    for (int i = 0; i < MODEL_MAX_LAYERS; i++)
        if (layers[i]) highest = i;
    return highest;
}

/* An upcycle event, given the model as earlier events left it. */
static status check_upcycle(const event *e, int number, const model_config *m) {
    int highest = highest_layer(e->layers);
    if (highest < 0) return fail_usage("events[%d].layers: expected at least one layer, found []", number);
    if (highest >= m->num_layers)
        return fail_usage("events[%d].layers: expected layers below num_layers %d, found %d", number, m->num_layers,
                          highest);
    if (!model_config_experts_are_copies(m))
        return fail_usage(
            "events[%d].do: upcycle copies whole MLPs: expected experts of their %d hidden units "
            "(moe_expert_hidden, moe_expert_mult), no shared ones (moe_shared_hidden, moe_shared_mult) and "
            "moe_split false, found %d and %d shared",
            number, model_config_hidden(m), model_config_expert_hidden(m), model_config_shared_hidden(m));
    for (int i = 0; i < m->num_layers; i++)
        if (e->layers[i] && m->random_up.layers[i])
            return fail_usage("events[%d].layers: expected layers without random_up_layers, found %d", number, i);
    if (e->top_k > e->experts)
        return fail_usage("events[%d].top_k: expected at most experts %d, found %d", number, e->experts, e->top_k);
    for (int i = 0; i < m->num_layers; i++) {
        bool moe = model_config_is_moe(m, i);
        if (moe && e->layers[i])
            return fail_usage("events[%d].layers: expected layers without experts, found %d", number, i);
        /* One number of experts and one top_k hold for all mixture layers of a model. */
        if (moe && (m->moe.experts != e->experts || m->moe.top_k != e->top_k))
            return fail_usage("events[%d].experts: expected layer %d's %d with top_k %d, found %d with top_k %d",
                              number, i, m->moe.experts, m->moe.top_k, e->experts, e->top_k);
    }
    return STATUS_OK;
}

status event_list_check(const event_list *events, const model_config *model) {
    TRY(section_check(&events_section, events));
    model_config m = *model;
    for (int i = 0; i < events->count; i++) {
        const event *e = &events->items[i];
        if (e->kind == EVENT_UPCYCLE) TRY(check_upcycle(e, i, &m));
        if (e->kind == EVENT_LOOP && m.loop.extra_passes == 0)
            return fail_usage("events[%d].do: loop expected num_loops of at least 1, found 0", i);
        apply(e, &m);
    }
    return model_config_check(&m);
}
