/* Packing a model as its run's configuration says. */
#ifndef MOEC_TRAIN_PACK_H
#define MOEC_TRAIN_PACK_H

#include "train/config.h"

/* What all packings of one model share: what batches of the run's data say of its products. */
typedef struct pack_calibration {
    pass *p;
    hessians *h;
    sensitivities *s; /* NULL: not asked for */
    uint64_t key;     /* stands for the batches' tokens */
} pack_calibration;
/* Shows progress on stderr; pack_calibration_close it either way. ranks: who do it together, each with this model; NULL: this process. */
status pack_calibrate(pack_calibration *out, const run_config *c, model *m, const tokenizer *tok, bool sensitivity,
                      comm *ranks);
void pack_calibration_close(pack_calibration *c);

/* Calibrate on the run's data (where options->quant.gptq or an allocation asks for it) and write the artifact. Shows progress on stderr. The
 * report is filled as artifact_write fills it. */
status pack_model(const char *path, const run_config *c, model *m, const tokenizer *tok, const pack_options *options,
                  pack_report *report);

#endif
