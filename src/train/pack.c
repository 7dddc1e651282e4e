#include "train/pack.h"

#include "quant/calibrate.h"

typedef struct calibration {
    pass *p;
    hessians *h;
    sensitivities *s;
} calibration;

static void calibration_close(calibration *c) {
    sensitivities_destroy(c->s);
    hessians_destroy(c->h);
    pass_destroy(c->p);
}

static status calibration_open(calibration *c, const run_config *config, model *m, const tokenizer *tok,
                               pack_options *options) {
    const calibration_text text = {.data = &config->data,
                                   .batches = config->pack.calibration_batches,
                                   .batch_rows = config->train.batch,
                                   .seq = config->train.seq,
                                   .seed = config->train.seed};
    if (!config->data.path) return fail_usage("data: expected shards to calibrate with, found none");
    TRY(pass_create(&c->p, m));
    c->h = hessians_create(c->p, HESSIANS_MEMORY);
    if (options->allocation.on) c->s = sensitivities_create(c->p);
    options->allocation.sensitivities = c->s;
    return calibrate(c->h, c->s, m, tok, &text, &options->allocation.calibration);
}

status pack_model(const char *path, const run_config *c, model *m, const tokenizer *tok, const pack_options *options,
                  pack_report *report) {
    calibration calibrated = {0};
    pack_options used = *options;
    *report = (pack_report){0};
    status s = STATUS_OK;
    if (options->quant.gptq || options->allocation.on) s = calibration_open(&calibrated, c, m, tok, &used);
    const double bpb_of_nat = calibrated.s ? sensitivities_bpb_of_nat(calibrated.s) : 0;
    if (s == STATUS_OK) s = artifact_write(path, m, tok, calibrated.h, &used, report);
    report->bpb_of_nat = bpb_of_nat;
    calibration_close(&calibrated);
    return s;
}
