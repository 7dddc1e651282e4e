/* What all ranks do together, written with exchanges: each message goes straight from the rank that has it to those that need it,
 * so a rank that is waited for is known by its number. */
#include "base/memory.h"
#include "comm/parts.h"
#include <stdlib.h>
#include <string.h>

void message_list_add(message_list *l, int rank, const void *data, size_t bytes) {
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 64;
        l->items = xrealloc(l->items, (size_t)l->capacity * sizeof *l->items);
    }
    l->items[l->count++] = (comm_message){.rank = rank, .data = (void *)data, .bytes = bytes};
}

status comm_gather(comm *c, const void *mine, void *all, size_t bytes) {
    char *places = all;
    memcpy(places + (size_t)c->rank * bytes, mine, bytes);
    message_list out = {0}, in = {0};
    for (int r = 0; r < c->ranks; r++) {
        if (r == c->rank) continue;
        message_list_add(&out, r, mine, bytes);
        message_list_add(&in, r, places + (size_t)r * bytes, bytes);
    }
    const status s = c->ranks > 1 ? c->exchange(c, out.items, out.count, in.items, in.count) : STATUS_OK;
    free(out.items);
    free(in.items);
    return s;
}

static bool has_room(const comm_part *p, int rank) {
    return p->every <= 1 || rank % p->every == p->owner % p->every;
}

status comm_share(comm *c, const comm_part *parts, int count) {
    message_list out = {0}, in = {0};
    if (c->ranks == 1) return STATUS_OK;
    for (int i = 0; i < count; i++) {
        const comm_part *p = &parts[i];
        if (p->owner != c->rank && has_room(p, c->rank)) message_list_add(&in, p->owner, p->data, p->bytes);
        for (int r = 0; r < c->ranks && p->owner == c->rank; r++)
            if (r != c->rank && has_room(p, r)) message_list_add(&out, r, p->data, p->bytes);
    }
    const status s = c->exchange(c, out.items, out.count, in.items, in.count);
    free(out.items);
    free(in.items);
    return s;
}

status comm_broadcast(comm *c, int root, void *data, size_t bytes) {
    const comm_part all = {.owner = root, .data = data, .bytes = bytes};
    return comm_share(c, &all, 1);
}

/* ---- one outcome for all ---- */

typedef struct outcome {
    status s;
    char message[2048];
} outcome;

status comm_alike(comm *c, status mine) {
    c->agreed = mine != STATUS_OK;
    return mine;
}

void comm_settled(comm *c) {
    c->agreed = false;
}

/* What every rank found is a few bytes; the message, which is long, goes only where one is needed. */
status comm_agree(comm *c, status mine) {
    if (c->ranks == 1) return mine;
    if (c->lost) { /* the others wait for nobody either: no second time-out behind the first */
        c->agreed = false;
        return mine != STATUS_OK ? mine : STATUS_FAILED;
    }
    outcome lowest = {.s = mine};
    status *all = xcalloc((size_t)c->ranks, sizeof *all);
    const status gathered = comm_gather(c, &mine, all, sizeof mine);
    int first = 0;
    while (first < c->ranks && all[first] == STATUS_OK) first++;
    free(all);
    TRY(gathered);
    c->agreed = false; /* not before all have the message */
    if (first == c->ranks) return STATUS_OK;
    if (first == c->rank) strncpy(lowest.message, error_message(), sizeof lowest.message - 1);
    TRY(comm_broadcast(c, first, &lowest, sizeof lowest));
    c->agreed = true;
    fail("%s", lowest.message);
    return first > 0 ? fail_in(lowest.s, "rank %d", first) : lowest.s;
}
