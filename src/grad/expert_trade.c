#include "grad/expert_trade.h"

#include "base/memory.h"
#include <stdlib.h>

/* Rows of groups whose sizes are known: of the E / X experts of each rank, and where all of them begin. */
static void add_up(const int32_t *counts, int32_t *start, int64_t *rows, int64_t X, int64_t each) {
    start[0] = 0;
    for (int64_t p = 0; p < X; p++) {
        rows[p] = 0;
        for (int64_t e = 0; e < each; e++) {
            const int64_t i = p * each + e;
            start[i + 1] = start[i] + counts[i];
            rows[p] += counts[i];
        }
    }
}

/* A group's rows up to the next group's are one product's (group in kernel_list.h): those of nobody go along. */
static bool trade_counts(tape *t, expert_trade *trade, const int32_t *own_start, int64_t E, int32_t *start) {
    const int64_t X = trade->ranks->count, each = E / X;
    int32_t *mine = xmalloc((size_t)E * sizeof *mine), *theirs = xmalloc((size_t)E * sizeof *theirs);
    for (int64_t e = 0; e < E; e++) mine[e] = own_start[e + 1] - own_start[e];
    const status s = comm_trade_counts(trade->ranks, mine, theirs, (int)each);
    if (s == STATUS_OK) {
        add_up(mine, start, trade->own_rows, X, each);
        add_up(theirs, start, trade->at_rows, X, each);
        trade->here = start[E];
    } else {
        tape_fail(t, s);
    }
    free(mine);
    free(theirs);
    return s == STATUS_OK;
}

bool expert_trade_counts(tape *t, expert_trade *trade, const comm_group *ranks, const int32_t *start, int64_t E,
                         expert_groups *g) {
    const kernels *k = tape_kernels(t);
    const size_t X = (size_t)ranks->count, bytes = (size_t)(E + 1) * sizeof *start;
    *trade = (expert_trade){.ranks = ranks,
                            .own_rows = tape_host_alloc(t, X * sizeof *trade->own_rows),
                            .at_rows = tape_host_alloc(t, X * sizeof *trade->at_rows)};
    g->start = tape_alloc(t, bytes);
    if (!g->start) return false;
    int32_t *host = xmalloc(bytes), *theirs = xmalloc(bytes);
    k->download(host, start, bytes);
    const bool done = trade_counts(t, trade, host, E, theirs);
    if (done) k->upload(g->start, theirs, bytes);
    g->most_rows = trade->here;
    free(host);
    free(theirs);
    return done;
}

static bool send(tape *t, const expert_trade *trade, void *to, const int64_t *to_rows, const void *from,
                 const int64_t *from_rows, int64_t d) {
    const int X = trade->ranks->count;
    int64_t *out = xmalloc((size_t)X * sizeof *out), *in = xmalloc((size_t)X * sizeof *in);
    for (int p = 0; p < X; p++) {
        out[p] = (int64_t)act_bytes(t, from_rows[p] * d);
        in[p] = (int64_t)act_bytes(t, to_rows[p] * d);
    }
    const status s = comm_trade(trade->ranks, tape_kernels(t), from, out, to, in);
    if (s != STATUS_OK) tape_fail(t, s);
    free(out);
    free(in);
    return s == STATUS_OK;
}

bool expert_trade_there(tape *t, const expert_trade *trade, void *here, const void *own, int64_t d) {
    return send(t, trade, here, trade->at_rows, own, trade->own_rows, d);
}

bool expert_trade_back(tape *t, const expert_trade *trade, void *own, const void *here, int64_t d) {
    return send(t, trade, own, trade->own_rows, here, trade->at_rows, d);
}
