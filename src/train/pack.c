#include "train/pack.h"

#include "quant/calibrate.h"

status pack_model(const char *path, const run_config *c, model *m, const tokenizer *tok, const pack_options *options,
                  pack_report *report) {
    pass *p = NULL;
    hessians *h = NULL;
    *report = (pack_report){0};
    status s = STATUS_OK;
    if (options->quant.gptq) {
        if (!c->data.path) return fail_usage("data: expected shards to calibrate with, found none");
        TRY(pass_create(&p, m));
        h = hessians_create(p, HESSIANS_MEMORY);
        s = hessians_calibrate(h, m, tok, &c->data, c->train.batch, c->train.seq, c->train.seed,
                               c->pack.calibration_batches);
    }
    if (s == STATUS_OK) s = artifact_write(path, m, tok, h, options, report);
    hessians_destroy(h);
    pass_destroy(p);
    return s;
}
