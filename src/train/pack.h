/* Packing a model as its run's configuration says. */
#ifndef MOEC_TRAIN_PACK_H
#define MOEC_TRAIN_PACK_H

#include "train/config.h"

/* Calibrate on the run's data (where options->quant.gptq asks for it) and write the artifact. Shows progress on stderr. The
 * report is filled as artifact_write fills it. */
status pack_model(const char *path, const run_config *c, model *m, const tokenizer *tok, const pack_options *options,
                  pack_report *report);

#endif
