#include "quant/calibrate.h"

#include "text/loader.h"

status hessians_calibrate(hessians *h, const model *m, const tokenizer *tok, const data_config *data,
                          int64_t batch_rows, int64_t seq, uint64_t seed, int64_t batches) {
    loader *l;
    TRY(loader_open(&l, data->path, m->config.vocab_size, tokenizer_bos(tok), batch_rows, seq, true, seed));
    status s = data->mix.count > 0 ? loader_mix(l, &data->mix) : STATUS_OK;
    for (int64_t i = 0; i < batches && s == STATUS_OK; i++) {
        batch b;
        s = loader_next(l, &b);
        if (s == STATUS_OK) hessians_add(h, &b);
    }
    loader_close(l);
    return s;
}
