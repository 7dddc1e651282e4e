#include "train/pack.h"

#include "quant/calibrate.h"
#include "store/pack_recipe.h"

void pack_calibration_close(pack_calibration *c) {
    sensitivities_destroy(c->s);
    hessians_destroy(c->h);
    pass_destroy(c->p);
    *c = (pack_calibration){0};
}

status pack_calibrate(pack_calibration *out, const run_config *c, model *m, const tokenizer *tok, bool sensitivity,
                      comm *ranks) {
    const calibration_text text = {.data = &c->data,
                                   .batches = c->pack.calibration_batches,
                                   .batch_rows = c->train.batch,
                                   .seq = c->train.seq,
                                   .seed = c->train.seed,
                                   .ranks = ranks};
    *out = (pack_calibration){0};
    if (!c->data.path) return fail_usage("data: expected shards to calibrate with, found none");
    TRY(pass_create(&out->p, m));
    out->h = hessians_create(out->p, HESSIANS_MEMORY);
    if (sensitivity) out->s = sensitivities_create(out->p);
    return calibrate(out->h, out->s, m, tok, &text, &out->key);
}

/* Whether what is asked for can be, before what takes long. */
static status check_plan(const model *m, const pack_options *o) {
    pack_plan plan;
    if (!o->allocation.on) return STATUS_OK;
    const status s = pack_plan_of(&plan, m, o);
    pack_plan_free(&plan);
    return s;
}

status pack_model(const char *path, const run_config *c, model *m, const tokenizer *tok, const pack_options *options,
                  pack_report *report) {
    pack_calibration calibration = {0};
    pack_options used = *options;
    *report = (pack_report){0};
    status s = check_plan(m, options);
    if (options->allocation.ranks) s = comm_agree(options->allocation.ranks, s);
    TRY(s);
    if (options->quant.gptq || options->allocation.on)
        s = pack_calibrate(&calibration, c, m, tok, options->allocation.on, options->allocation.ranks);
    used.allocation.sensitivities = calibration.s;
    used.allocation.calibration = calibration.key;
    if (s == STATUS_OK) s = artifact_write(path, m, tok, calibration.h, &used, report);
    if (options->allocation.ranks) s = comm_agree(options->allocation.ranks, s); /* rank 0 built and wrote alone */
    if (calibration.s) report->bpb_of_nat = sensitivities_bpb_of_nat(calibration.s);
    pack_calibration_close(&calibration);
    return s;
}
