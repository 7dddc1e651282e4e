#include "quant/calibrate.h"

#include "base/file.h"
#include "base/progress.h"
#include "text/loader.h"
#include <stdio.h>

/* Of what the targets stand for. */
static int64_t text_bytes(const tokenizer *tok, const batch *b) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < b->batch * b->length; i++)
        if (b->target_ids[i] >= 0) bytes += tokenizer_token_bytes(tok, b->target_ids[i], b->input_ids[i]);
    return bytes;
}

static status give(hessians *h, sensitivities *s, const tokenizer *tok, const batch *b, uint64_t *key) {
    if (interrupt_requested()) return STATUS_INTERRUPTED;
    hessians_add(h, b);
    *key = crc64(*key, b->input_ids, (size_t)(b->batch * b->length) * sizeof *b->input_ids);
    return s ? sensitivities_add(s, b, text_bytes(tok, b)) : STATUS_OK;
}

status calibrate(hessians *h, sensitivities *s, const model *m, const tokenizer *tok, const calibration_text *text,
                 uint64_t *key) {
    loader *l;
    uint64_t unused;
    if (!key) key = &unused;
    *key = 0;
    TRY(loader_open(&l, text->data->path, m->config.vocab_size, tokenizer_bos(tok), text->batch_rows, text->seq, true,
                    text->seed));
    status result = text->data->mix.count > 0 ? loader_mix(l, &text->data->mix) : STATUS_OK;
    progress shown = progress_start("sensitivity");
    for (int64_t i = 0; i < text->batches && result == STATUS_OK; i++) {
        char detail[96];
        batch b;
        result = loader_next(l, &b);
        if (result == STATUS_OK) result = give(h, s, tok, &b, key);
        snprintf(detail, sizeof detail, "%lld of %lld batches, forward and backward", (long long)i + 1,
                 (long long)text->batches);
        if (s) progress_show(&shown, (double)(i + 1) / (double)text->batches, detail);
    }
    if (s) progress_end(&shown, result == STATUS_OK ? "what an error of each product costs" : "stopped");
    loader_close(l);
    return result;
}
