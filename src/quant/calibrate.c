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

/* The batches of a round, one for each rank. */
typedef struct round_batches {
    int count;
    batch own; /* this rank's, copied: a loader's is gone with the next. Without columns: there is none for this rank */
    int64_t bytes;
} round_batches;

/* All ranks read all batches: Hessians keep them, and the text's number is of all. */
static status read_round(round_batches *r, loader *l, hessians *h, const tokenizer *tok, comm *ranks, int64_t left,
                         uint64_t *key) {
    const int64_t count = left < ranks->ranks ? left : ranks->ranks;
    batch_free(&r->own);
    if (interrupt_requested()) return STATUS_INTERRUPTED;
    for (r->count = 0; r->count < count; r->count++) {
        batch b;
        TRY(loader_next(l, &b));
        hessians_add(h, &b);
        *key = crc64(*key, b.input_ids, (size_t)(b.batch * b.length) * sizeof *b.input_ids);
        if (r->count != ranks->rank) continue;
        r->own = batch_copy(&b);
        r->bytes = text_bytes(tok, &b);
    }
    return STATUS_OK;
}

static status give_rounds(loader *l, hessians *h, sensitivities *s, const tokenizer *tok, const calibration_text *text,
                          comm *ranks, uint64_t *key) {
    round_batches r = {0};
    progress shown = progress_start("sensitivity");
    status result = STATUS_OK;
    for (int64_t i = 0; i < text->batches && result == STATUS_OK; i += r.count) {
        char detail[96];
        result = comm_agree(ranks, read_round(&r, l, h, tok, ranks, text->batches - i, key));
        if (result == STATUS_OK && s)
            result = sensitivities_add_round(s, ranks, r.own.batch > 0 ? &r.own : NULL, r.bytes);
        snprintf(detail, sizeof detail, "%lld of %lld batches, forward and backward", (long long)(i + r.count),
                 (long long)text->batches);
        if (s) progress_show(&shown, (double)(i + r.count) / (double)text->batches, detail);
    }
    if (s) progress_end(&shown, result == STATUS_OK ? "what an error of each product costs" : "stopped");
    batch_free(&r.own);
    return result;
}

status calibrate(hessians *h, sensitivities *s, const model *m, const tokenizer *tok, const calibration_text *text,
                 uint64_t *key) {
    comm *ranks = text->ranks ? text->ranks : comm_alone();
    loader *l;
    uint64_t unused;
    if (!key) key = &unused;
    *key = 0;
    TRY(comm_agree(ranks, loader_open(&l, text->data->path, m->config.vocab_size, tokenizer_bos(tok), text->batch_rows,
                                      text->seq, true, text->seed)));
    status result = comm_agree(ranks, text->data->mix.count > 0 ? loader_mix(l, &text->data->mix) : STATUS_OK);
    hessians_share(h, ranks);
    if (result == STATUS_OK) result = give_rounds(l, h, s, tok, text, ranks, key);
    loader_close(l);
    return result;
}
