#include "cli/run_form.h"

#include "cli/cli.h"
#include "store/open.h"

status run_form_parse(int *argc, char **argv, run_form *f) {
    f->use = MODEL_RUN_STORED;
    TRY(cli_run_bits(argc, argv, &f->use));
    f->device = cli_option(argc, argv, "--device");
    f->dtype = cli_option(argc, argv, "--dtype");
    return STATUS_OK;
}

/* A token at a time waits for the weights: floats are halved by bf16, however fast its products are; beside codes
 * activations weigh little and stay exact. */
status run_form_open(const run_form *f, const char *model, const kernels **k) {
    const char *dtype = f->dtype;
    const int weights = f->use & ~MODEL_RUN_INPUTS_8;
    bool codes = weights == MODEL_RUN_8 || weights == MODEL_RUN_4;
    if (!dtype && weights == MODEL_RUN_STORED) TRY(open_stores_codes(model, &codes));
    if (!dtype) dtype = codes ? "f32" : "smallest";
    return device_open(f->device ? f->device : "cpu", dtype, k);
}
