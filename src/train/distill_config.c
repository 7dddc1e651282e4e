#include "train/distill_config.h"

static const char *const divergence_names[] = {"forward", "reverse", NULL};
_Static_assert(sizeof(divergence_kind) == sizeof(int), "FIELD_CHOICE stores an int");

#define FIELD(type, member, least, most, choices, meaning)                                                             \
    CONFIG_FIELD(distill_config, #member, type, member, least, most, choices, meaning)
#define PLACE(member, meaning)                                                                                         \
    CONFIG_FIELD_CHANGE(distill_config, #member, FIELD_STRING, member, 0, 0, NULL, CHANGE_ANOTHER_PLACE, meaning)

static const config_field fields[] = {
    PLACE(teacher, "folder that `moec teach` filled for this data: what a teacher thinks of each token"),
    FIELD(FIELD_CURVE, teacher_weight, 0, 1000, NULL, "of the divergence from the teacher in the loss; 0: not asked"),
    FIELD(FIELD_CURVE, ce_weight, 0, 1000, NULL, "of the cross-entropy with the text in the loss"),
    CONFIG_FIELD(distill_config, "teacher_temperature", FIELD_DOUBLE, temperature, 0.1, 20, NULL,
                 "both are softened by it before they are compared; the divergence counts its square"),
    FIELD(FIELD_CHOICE, divergence, 0, 0, divergence_names, "KL(teacher, student) or, reverse, KL(student, teacher)"),
    PLACE(teacher_model, "run, checkpoint, artifact, Hugging Face folder or GGUF file whose hidden states are matched"),
    FIELD(FIELD_CURVE, hidden_weight, 0, 1e6, NULL, "of the normalised distance of hidden states in the loss"),
    FIELD(FIELD_SET, hidden_layers, 0, MODEL_MAX_LAYERS, NULL,
          "what these layers get is compared, num_layers: what the final norm gets; []: that alone"),
};

#define WEIGHTS "ce_weight counts the text, teacher_weight the teacher; they need not add up to 1"

/* torchtune's, DistillKit's, TRL's, Hugging Face's example's and others' names. */
static const foreign_key foreign[] = {
    {"distillation", "teacher", "a folder that `moec teach` fills"},
    {"kd", "teacher", "a folder that `moec teach` fills"},
    {"teacher_path", "teacher", "a folder that `moec teach` fills; teacher_model is for hidden states"},
    {"teacher_logits*", "teacher", "a folder that `moec teach` fills"},
    {"teacher_model_name*", "teacher", "a folder that `moec teach` fills of it; teacher_model is for hidden states"},
    {"teacher_checkpoint*", "teacher", "a folder that `moec teach` fills of it; teacher_model is for hidden states"},
    {"distillation_alpha", "teacher_weight", WEIGHTS},
    {"distillation_weight", "teacher_weight", WEIGHTS},
    {"distill_alpha", "teacher_weight", WEIGHTS},
    {"distill_weight", "teacher_weight", WEIGHTS},
    {"kd_alpha", "teacher_weight", WEIGHTS},
    {"kd_weight", "teacher_weight", WEIGHTS},
    {"kd_ratio", "teacher_weight", WEIGHTS},
    {"kl_weight", "teacher_weight", WEIGHTS},
    {"alpha_kd", "teacher_weight", WEIGHTS},
    {"alpha_kl", "teacher_weight", WEIGHTS},
    {"alpha_distil*", "teacher_weight", WEIGHTS},
    {"alpha_ce", "ce_weight", WEIGHTS},
    {"alpha_clm", "ce_weight", WEIGHTS},
    {"hard_label_weight", "ce_weight", WEIGHTS},
    {"soft_label_weight", "teacher_weight", WEIGHTS},
    {"distillation_temperature", "teacher_temperature", NULL},
    {"distill_temperature", "teacher_temperature", NULL},
    {"kd_temperature", "teacher_temperature", NULL},
    {"kl_type", "divergence", "forward or reverse"},
    {"kd_loss*", "divergence", "forward or reverse"},
    {"distillation_loss*", "divergence", "forward or reverse"},
    {"alpha_cos", "hidden_weight", "of the normalised squared distance"},
    {"alpha_mse", "hidden_weight", "of the normalised squared distance"},
    {"hidden_loss*", "hidden_weight", "of the normalised squared distance"},
    {"feature_weight", "hidden_weight", "of the normalised squared distance"},
    {"layer_mapping", "hidden_layers", "teacher and student have as many layers, each is compared with its own"},
};

const config_section distill_section = {"distill", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};

distill_config distill_config_default(void) {
    return (distill_config){.ce_weight = curve_constant(1), .temperature = 1};
}

static status check_hidden(const distill_config *c, int num_layers) {
    for (int layer = num_layers + 1; layer <= MODEL_MAX_LAYERS; layer++)
        if (c->hidden_layers[layer])
            return fail_usage("hidden_layers: expected numbers up to num_layers %d, found %d", num_layers, layer);
    if (curve_is_zero(&c->hidden_weight) || c->teacher_model) return STATUS_OK;
    return fail_usage("hidden_weight: expected a teacher_model whose hidden states are matched, found none");
}

status distill_config_check(const distill_config *c, int num_layers) {
    TRY(section_check(&distill_section, c));
    const bool asked = !curve_is_zero(&c->teacher_weight);
    if (asked && !c->teacher)
        return fail_usage("teacher_weight: expected a teacher, the folder that `moec teach` filled, found none");
    if (!asked && curve_is_zero(&c->hidden_weight) && curve_is_zero(&c->ce_weight))
        return fail_usage("ce_weight: expected more than 0 where teacher_weight is 0 and hidden_weight too, found 0: "
                          "nothing would be learned");
    if (!c->teacher && (c->temperature != 1 || c->divergence != DIVERGENCE_FORWARD))
        return fail_usage("%s: expected a teacher beside it, found none",
                          c->temperature != 1 ? "teacher_temperature" : "divergence");
    return check_hidden(c, num_layers);
}
