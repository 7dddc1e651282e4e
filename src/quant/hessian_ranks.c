/* Hessians that several ranks collect together. */
#include "base/memory.h"
#include "quant/hessian_parts.h"
#include <math.h>
#include <stdlib.h>

/* The owners' sums to all, and what was seen where. */
static status hand_out(hessians *h) {
    const int count = h->input_count;
    comm_part *parts = xcalloc((size_t)count + 1, sizeof *parts);
    int64_t *mine = xcalloc((size_t)count + 1, sizeof *mine);
    int64_t *all = xcalloc((size_t)(count + 1) * (size_t)h->ranks->ranks, sizeof *all);
    for (int i = 0; i < count; i++) {
        const input *in = &h->inputs[i];
        parts[i] = (comm_part){
            .owner = hessians_owner(h, i), .data = in->batch, .bytes = (size_t)(in->cols * in->cols) * sizeof(float)};
        mine[i] = in->seen ? in->rows : -1;
    }
    status s = comm_share(h->ranks, parts, count);
    if (s == STATUS_OK) s = comm_gather(h->ranks, mine, all, (size_t)count * sizeof *mine);
    for (int i = 0; i < count; i++) {
        input *in = &h->inputs[i];
        in->seen = false;
        in->rows = 0;
        for (int rank = 0; rank < h->ranks->ranks; rank++) {
            const int64_t rows = all[rank * count + i];
            in->seen |= rows >= 0;
            in->rows += rows > 0 ? rows : 0;
        }
    }
    free(parts);
    free(mine);
    free(all);
    return s;
}

static void list_stretches(const hessians *h, comm_stretch *stretches) {
    for (int i = 0; i < h->input_count; i++) {
        const input *in = &h->inputs[i];
        stretches[i] = (comm_stretch){
            .owner = hessians_owner(h, i), .data = in->batch, .count = in->cols * in->cols, .sum = in->sum, .group = 1};
    }
}

/* Their batches in turn: the sums are the owners', then everyone's. */
status hessians_run_together(hessians *h) {
    comm_stretch *stretches = xcalloc((size_t)h->input_count + 1, sizeof *stretches);
    comm_reduction *r = comm_reduction_create(h->ranks, h->m->k);
    list_stretches(h, stretches);
    status s = comm_agree(h->ranks, comm_reduction_plan(r, stretches, h->input_count));
    if (s == STATUS_OK) s = hessians_run(h, r);
    comm_reduction_destroy(r);
    free(stretches);
    if (s == STATUS_OK) s = hand_out(h);
    for (int i = 0; i < h->input_count; i++) {
        h->m->k->release(h->inputs[i].sum);
        h->inputs[i].sum = NULL;
    }
    return s;
}

/* ---- who asks, and who follows ---- */

/* What rank 0 tells those who follow: a layer, or that there are no more. */
enum { NO_MORE = -2 };

/* Rank 0 may be at its own work for hours; where it dies the launcher ends all. */
static status hear(comm *ranks, int *layer) {
    const double timeout = ranks->timeout;
    ranks->timeout = INFINITY;
    const status s = comm_broadcast(ranks, 0, layer, sizeof *layer);
    ranks->timeout = timeout;
    return s;
}

status hessians_follow(hessians *h) {
    while (h && !h->parted) {
        int layer = NO_MORE;
        TRY(hear(h->ranks, &layer));
        if (layer == NO_MORE) break;
        TRY(hessians_collect(h, layer));
    }
    return STATUS_OK;
}

status hessians_dismiss(hessians *h, status s) {
    int layer = NO_MORE;
    if (!h || h->parted || h->ranks->ranks == 1) return s;
    const status told = comm_broadcast(h->ranks, 0, &layer, sizeof layer);
    return s != STATUS_OK ? s : told;
}

/* On rank 0 of several, whom the others follow. */
status hessians_ask(hessians *h, int layer) {
    if (h->ranks->rank > 0) return fail("the Hessians of layer %d: expected them to be held, found none", layer);
    TRY(comm_broadcast(h->ranks, 0, &layer, sizeof layer));
    return hessians_collect(h, layer);
}
