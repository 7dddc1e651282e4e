#include "quant/calibrate.h"
#include "base/progress.h"
#include "text/loader.h"
#include <stdio.h>

status hessians_calibrate(hessians *h, model *m, const tokenizer *tok, const char *data, int64_t batch_rows,
                          int64_t seq, uint64_t seed, int64_t batches) {
    loader *l;
    TRY(loader_open(&l, data, m->config.vocab_size, tokenizer_bos(tok), batch_rows, seq, true, seed));
    progress p = progress_start("calibrate");
    status s = STATUS_OK;
    for (int64_t i = 0; i < batches && s == STATUS_OK; i++) {
        batch b;
        char detail[64];
        if (interrupt_requested()) s = STATUS_INTERRUPTED;
        if (s == STATUS_OK) s = loader_next(l, &b);
        if (s == STATUS_OK) s = hessians_add(h, m, &b);
        snprintf(detail, sizeof detail, "%lld of %lld batches", (long long)(i + 1), (long long)batches);
        progress_show(&p, (double)(i + 1) / (double)batches, detail);
    }
    progress_end(&p, s == STATUS_OK ? "inputs of every product collected" : "stopped");
    loader_close(l);
    return s;
}
