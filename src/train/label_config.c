#include "train/label_config.h"

static const char *const routing_names[] = {"token", "document", NULL};
_Static_assert(sizeof(label_routing) == sizeof(int), "FIELD_CHOICE stores an int");

#define FIELD(type, key, member, least, most, choices, meaning)                                                        \
    CONFIG_FIELD(label_config, key, type, member, least, most, choices, meaning)

static const config_field fields[] = {
    FIELD(FIELD_CURVE, "label_weight", weight, 0, 100, NULL,
          "of the routers' cross-entropy against the expert that is named as a token's domain; 0: they are not taught"),
    FIELD(FIELD_SET, "label_layers", layers, 0, MODEL_MAX_LAYERS - 1, NULL, "whose routers are taught; []: all"),
    FIELD(FIELD_CHOICE, "label_routing", routing, 0, 0, routing_names,
          "token: routers choose; document: in training a document goes to its domain's expert alone"),
};

static const foreign_key foreign[] = {
    {"router_ce*", "label_weight", NULL},          {"routing_loss*", "label_weight", NULL},
    {"router_supervision*", "label_weight", NULL}, {"domain_loss*", "label_weight", NULL},
    {"supervised_routing*", "label_weight", NULL}, {"expert_names", "moe_expert_names", NULL},
};

const config_section label_section = {"labels", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};

label_config label_config_default(void) {
    return (label_config){.weight = curve_constant(0)};
}

bool labels_are_used(const label_config *c) {
    return !curve_is_zero(&c->weight) || c->routing == LABEL_BY_DOCUMENT;
}

static const char *what_asks(const label_config *c) {
    return curve_is_zero(&c->weight) ? "label_routing document" : "label_weight";
}

status label_config_fit(const label_config *c, const model_config *model) {
    if (!labels_are_used(c)) return STATUS_OK;
    if (!model_config_has_moe(model))
        return fail_usage(
            "%s: expected a model that has experts from its beginning (moe_layers, or init of a mixture), "
            "found a dense one",
            what_asks(c));
    for (int layer = 0; layer < MODEL_MAX_LAYERS; layer++)
        if (c->layers[layer] && !model_config_is_moe(model, layer))
            return fail_usage("label_layers: expected layers with experts, found %d", layer);
    if (c->routing == LABEL_BY_DOCUMENT && (model->moe.top_k != 1 || model->moe.gate == GATE_SOFT))
        return fail_usage("label_routing: document needs moe_top_k 1 and gates that choose, found moe_top_k %d%s",
                          model->moe.top_k, model->moe.gate == GATE_SOFT ? " and moe_gate soft" : "");
    /* The choice could not answer the bias, which would move at every step, and routers are left alone with it afterwards. */
    if (c->routing == LABEL_BY_DOCUMENT && model->moe.bias_rate > 0)
        return fail_usage(
            "label_routing: document needs moe_bias_rate 0, since labels choose and not the bias, found %g",
            (double)model->moe.bias_rate);
    if (c->routing == LABEL_BY_DOCUMENT && model->moe.z_weight > 0)
        return fail_usage("label_routing: document needs moe_z_weight 0, for labels leave a router one logit, found %g",
                          (double)model->moe.z_weight);
    return STATUS_OK;
}
