#include "train/pack.h"

#include "quant/calibrate.h"

pack_options pack_options_of(const run_config *c) {
    pack_options options = pack_options_default();
    options.quant.bits = (int)c->pack_bits;
    options.quant.embed_bits = (int)c->embed_bits;
    options.quant.prune_fraction = c->prune_fraction;
    options.quant.damp = c->gptq_damp;
    options.budget_bytes = c->budget_bytes;
    options.context_tokens = (int)c->seq;
    return options;
}

status pack_model(const char *path, const run_config *c, model *m, const tokenizer *tok, const pack_options *options,
                  pack_report *report) {
    hessians *h = NULL;
    *report = (pack_report){0};
    TRY(artifact_check_weights(m));
    status s = STATUS_OK;
    if (options->quant.gptq) {
        if (!c->data) return fail_usage("data: expected shards to calibrate with, found none");
        TRY(hessians_create(&h, m->k));
        s = hessians_calibrate(h, m, tok, c->data, c->batch, c->seq, c->seed, c->calibration_batches);
    }
    if (s == STATUS_OK) s = artifact_write(path, m, tok, h, options, report);
    hessians_destroy(h);
    return s;
}
