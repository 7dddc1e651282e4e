#include "comm/group.h"
#include "base/memory.h"
#include "comm/parts.h"
#include <stdlib.h>
#include <string.h>

/* What is on its way within a group is counted by itself, beside the whole. */
static status exchange(comm *c, const message_list *out, const message_list *in) {
    const double waited = c->waited;
    const int64_t sent = c->sent;
    const status s = c->exchange(c, out->items, out->count, in->items, in->count);
    c->traded_seconds += c->waited - waited;
    c->traded += c->sent - sent;
    return s;
}

/* Every position's messages. own: where the part for oneself begins in send and in receive. */
static status trade(const comm_group *g, const char *send, const int64_t *send_bytes, char *receive,
                    const int64_t *receive_bytes, int64_t own[2]) {
    message_list out = {0}, in = {0};
    int64_t from = 0, to = 0;
    const int position = comm_group_position(g);
    for (int p = 0; p < g->count; p++) {
        const int rank = comm_group_rank(g, p);
        if (p == position) {
            own[0] = from;
            own[1] = to;
        } else {
            message_list_add(&out, rank, send + from, (size_t)send_bytes[p]);
            message_list_add(&in, rank, receive + to, (size_t)receive_bytes[p]);
        }
        from += send_bytes[p];
        to += receive_bytes[p];
    }
    const status s = exchange(g->ranks, &out, &in);
    free(out.items);
    free(in.items);
    return s;
}

status comm_trade_counts(const comm_group *g, const int32_t *mine, int32_t *theirs, int each) {
    int64_t own[2], *bytes = xcalloc((size_t)g->count, sizeof *bytes);
    const size_t row = (size_t)each * sizeof *mine;
    for (int p = 0; p < g->count; p++) bytes[p] = (int64_t)row;
    const status s = trade(g, (const char *)mine, bytes, (char *)theirs, bytes, own);
    memcpy((char *)theirs + own[1], (const char *)mine + own[0], row);
    free(bytes);
    return s;
}

status comm_trade(const comm_group *g, const kernels *k, const void *send, const int64_t *send_bytes, void *receive,
                  const int64_t *receive_bytes) {
    int64_t own[2];
    TRY(trade(g, send, send_bytes, receive, receive_bytes, own));
    k->copy((char *)receive + own[1], (const char *)send + own[0], (size_t)send_bytes[comm_group_position(g)]);
    return STATUS_OK;
}
