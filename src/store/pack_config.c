#include "store/pack_config.h"

#include "config/compare.h"

/* None of these has to do with training. */
#define FIELD(type, key, member, least, most, meaning)                                                                 \
    CONFIG_FIELD_CHANGE(pack_config, key, type, member, least, most, NULL, CHANGE_HARMLESS, meaning)

static const config_field fields[] = {
    FIELD(FIELD_BYTES, "budget_bytes", budget_bytes, 0, 1e15, "the artifact must not be larger; 0: any size"),
    FIELD(FIELD_INT, "pack_bits", bits, 2, 8, "of matrices in blocks"),
    FIELD(FIELD_INT, "embed_bits", embed_bits, 0, 8, "of embeddings and the head, 2 to 8; 0: as pack_bits"),
    FIELD(FIELD_INT64, "calibration_batches", calibration_batches, 1, 1e6, "batches that GPTQ's Hessians see"),
    FIELD(FIELD_DOUBLE, "gptq_damp", gptq_damp, 1e-6, 1,
          "damping, as a part of the Hessian's mean diagonal; below 0.001 float32 rounds as much"),
    FIELD(FIELD_DOUBLE, "prune_fraction", prune_fraction, 0, 0.99,
          "of each matrix in blocks: its smallest weights become 0"),
    FIELD(FIELD_INT64, "keep_float_elements", keep_float_elements, 0, 1e15,
          "matrices of at most so many weights stay floats"),
    FIELD(FIELD_DOUBLE, "scale_floor", scale_floor, 0, 1e6,
          "no step of a uniform grid is below it, whatever its row's weights are; 0: none"),
    FIELD(FIELD_BOOL, "plain_clip", plain_clip, 0, 1,
          "scales of uniform grids by the plain error of rounding, not by what GPTQ leaves"),
    FIELD(FIELD_BOOL, "plain_tables", plain_tables, 0, 1,
          "embeddings and head on uniform grids are rounded, without their inputs' second moments"),
    FIELD(FIELD_BOOL, "pool_experts", pool_experts, 0, 1,
          "an expert's Hessian is that of all tokens, not of those that are routed to it"),
};

static const foreign_key foreign[] = {
    {"bits", "pack_bits", NULL},
    {"wbits", "pack_bits", NULL},
    {"quant_bits", "pack_bits", NULL},
    {"quantiz*", "pack_bits", "of the file that `moec pack` writes"},
    {"bnb_*", "pack_bits", "of the file that `moec pack` writes"},
    {"load_in_*", "pack_bits", "of the file that `moec pack` writes"},
    {"nsamples", "calibration_batches", NULL},
    {"num_calibration_samples", "calibration_batches", "batches, not sequences"},
    {"calibration_samples", "calibration_batches", "batches, not sequences"},
    {"damp_percent", "gptq_damp", NULL},
    {"percdamp", "gptq_damp", NULL},
    {"sparsity", "prune_fraction", NULL},
    {"prune", "prune_fraction", NULL},
    {"gptq", NULL, "`moec pack` does it; --round packs without"},
};

const config_section pack_section = {"pack", TABLE_AND_COUNT(fields), TABLE_AND_COUNT(foreign)};

pack_config pack_config_default(void) {
    return (pack_config){.budget_bytes = 16000000,
                         .bits = 6,
                         .embed_bits = 8,
                         .calibration_batches = 16,
                         .gptq_damp = 0.01,
                         .keep_float_elements = quant_options_default.keep_float_elements};
}

status pack_config_check(const pack_config *c) {
    TRY(section_check(&pack_section, c));
    if (c->embed_bits == 1) return fail_usage("embed_bits: expected 0 or 2 to 8, found 1");
    return STATUS_OK;
}

pack_options pack_options_of(const pack_config *c, int64_t context_tokens) {
    pack_options options = pack_options_default();
    options.quant.bits = c->bits;
    options.quant.embed_bits = c->embed_bits;
    options.quant.prune_fraction = c->prune_fraction;
    options.quant.damp = c->gptq_damp;
    options.quant.keep_float_elements = c->keep_float_elements;
    options.quant.least_scale = c->scale_floor;
    options.quant.plain_clip = c->plain_clip;
    options.quant.plain_tables = c->plain_tables;
    options.quant.pool_experts = c->pool_experts;
    options.budget_bytes = c->budget_bytes;
    options.context_tokens = (int)context_tokens;
    return options;
}

char *pack_config_overruled(const pack_config *c, const quant_options *by) {
    static const config_part part = {&pack_section, 0};
    static const config_schema schema = {&part, 1};
    pack_config is = *c;
    is.bits = by->bits;
    is.embed_bits = by->embed_bits;
    is.prune_fraction = by->prune_fraction;
    is.gptq_damp = by->damp;
    is.keep_float_elements = by->keep_float_elements;
    is.scale_floor = by->least_scale;
    is.plain_clip = by->plain_clip;
    is.plain_tables = by->plain_tables;
    is.pool_experts = by->pool_experts;
    config_differences d = config_compare(&schema, c, &is);
    char *text = config_differences_text(&d, true); /* no key of this section is of another kind */
    config_differences_free(&d);
    return text;
}
