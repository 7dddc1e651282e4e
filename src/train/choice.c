#include "train/choice.h"

#include "base/memory.h"
#include "base/progress.h"
#include "eval/bpb.h"
#include "nn/spread.h"
#include <math.h>
#include <stdlib.h>

static void add_batch(bpb_score *score, const batch *b, const float *nll, const tokenizer *tok) {
    for (int64_t i = 0; i < b->batch * b->length; i++) {
        score->nll += nll[i];
        score->bytes += tokenizer_token_bytes(tok, b->target_ids[i], b->input_ids[i]);
        score->tokens++;
    }
}

/* All rows that the loader kept, with the weights that the model has now. */
static status score_kept(pass *p, loader *data, const tokenizer *tok, bpb_score *score) {
    batch b;
    *score = (bpb_score){0};
    for (int64_t row = 0;; row += b.batch) {
        TRY(loader_kept(data, row, &b));
        if (b.batch == 0) return STATUS_OK;
        if (interrupt_requested()) return STATUS_INTERRUPTED;
        b.domain = NULL; /* whoever uses the model has no labels: routers choose */
        float *nll = xmalloc((size_t)(b.batch * b.length) * sizeof *nll);
        status s = pass_evaluate(p, &b, nll);
        if (s == STATUS_OK) add_batch(score, &b, nll, tok);
        free(nll);
        TRY(s);
    }
}

/* By rank 0, for all of them. */
static status score_by_one(comm *ranks, pass *p, loader *data, const tokenizer *tok, bpb_score *score) {
    model *m = pass_model(p);
    TRY(spread_collect(m, 0, true));
    const status scored = ranks->rank == 0 ? score_kept(p, data, tok, score) : STATUS_OK;
    spread_release(m);
    TRY(comm_agree(ranks, scored));
    return comm_broadcast(ranks, 0, score, sizeof *score);
}

static double bits_of(const bpb_score *score) {
    return isfinite(score->nll) ? bpb(score) : INFINITY;
}

status choose_weights(comm *ranks, pass *p, average *e, loader *data, const tokenizer *tok, weights_choice *choice) {
    bpb_score live, averaged;
    *choice = (weights_choice){0};
    TRY(score_by_one(ranks, p, data, tok, &live));
    if (live.bytes == 0) return STATUS_OK;
    TRY(average_swap(e, pass_model(p)));
    status s = score_by_one(ranks, p, data, tok, &averaged);
    status back = average_swap(e, pass_model(p));
    if (s != STATUS_OK || back != STATUS_OK) return s != STATUS_OK ? s : back;
    *choice = (weights_choice){.tokens = live.tokens, .live_bpb = bits_of(&live), .average_bpb = bits_of(&averaged)};
    return STATUS_OK;
}
