/* Sensitivities that several ranks collect together. */
#include "base/memory.h"
#include "quant/sensitivity_parts.h"
#include "quant/zeroed.h"
#include <stdlib.h>
#include <string.h>

/* What a rank has of one parameter, in front of its squares and reads. */
typedef struct seen_header {
    bool squares, reads;
    double read_square;
    int64_t read_count;
} seen_header;

/* Rows' squares as floats, and of what is looked up how often each was. */
static size_t bytes_of(const param *p) {
    const size_t rows = (size_t)tensor_rows(&p->value);
    return sizeof(seen_header) + rows * sizeof(int64_t) + (rows * sizeof(float) + 7) / 8 * 8;
}

static void write_seen(const kernels *k, const param *p, const seen *one, uint8_t *to) {
    const size_t rows = (size_t)tensor_rows(&p->value);
    seen_header h;
    memset(&h, 0, sizeof h);
    h.squares = one->squares != NULL;
    h.reads = one->reads != NULL;
    h.read_square = one->read_square;
    h.read_count = one->read_count;
    memcpy(to, &h, sizeof h);
    to += sizeof h;
    if (one->reads) memcpy(to, one->reads, rows * sizeof *one->reads);
    if (one->squares) k->download(to + rows * sizeof *one->reads, one->squares, rows * sizeof *one->squares);
}

static status read_seen(const kernels *k, const param *p, seen *one, const uint8_t *from) {
    const int64_t rows = tensor_rows(&p->value);
    const size_t reads = (size_t)rows * sizeof *one->reads;
    seen_header h;
    memcpy(&h, from, sizeof h);
    from += sizeof h;
    *one = (seen){.read_square = h.read_square, .read_count = h.read_count};
    if (h.squares) TRY(zeroed_floats(k, &one->squares, rows));
    if (h.squares) k->upload(one->squares, from + reads, (size_t)rows * sizeof *one->squares);
    if (h.reads) one->reads = memcpy(xmalloc(reads), from, reads);
    return STATUS_OK;
}

/* What a rank's batch said becomes `now`, and is added. */
static status take_in(sensitivities *s, const uint8_t *from) {
    status result = STATUS_OK;
    for (int i = 0; i < s->m->param_count && result == STATUS_OK; i++) {
        const param *p = s->m->params[i];
        result = read_seen(s->m->k, p, &s->now[i], from);
        from += bytes_of(p);
    }
    return result == STATUS_OK ? sensitivities_add_now(s) : result;
}

/* Everyone's `now`, one behind the other. */
static status gather_now(sensitivities *s, comm *ranks, size_t bytes, uint8_t *all) {
    uint8_t *mine = xcalloc(bytes + 1, 1), *at = mine;
    for (int i = 0; i < s->m->param_count; i++) {
        write_seen(s->m->k, s->m->params[i], &s->now[i], at);
        at += bytes_of(s->m->params[i]);
    }
    sensitivities_forget(s, s->now);
    const status result = comm_gather(ranks, mine, all, bytes);
    free(mine);
    return result;
}

static status add_counts(sensitivities *s, comm *ranks, int64_t tokens, int64_t bytes) {
    const int64_t mine[] = {tokens, bytes};
    int64_t *all = xcalloc(2 * (size_t)ranks->ranks, sizeof *all);
    const status result = comm_gather(ranks, mine, all, sizeof mine);
    for (int r = 0; r < ranks->ranks; r++) {
        s->tokens += all[2 * r];
        s->bytes += all[2 * r + 1];
    }
    free(all);
    return result;
}

status sensitivities_add_round(sensitivities *s, comm *ranks, const batch *own, int64_t bytes) {
    size_t count = 0;
    if (ranks->ranks == 1) return own ? sensitivities_add(s, own, bytes) : STATUS_OK;
    for (int i = 0; i < s->m->param_count; i++) count += bytes_of(s->m->params[i]);
    TRY(comm_agree(ranks, own ? sensitivities_run_batch(s, own) : STATUS_OK));
    uint8_t *all = xmalloc(count * (size_t)ranks->ranks + 1);
    status result = gather_now(s, ranks, count, all);
    if (result == STATUS_OK) result = add_counts(s, ranks, own ? own->batch * own->length : 0, own ? bytes : 0);
    for (int r = 0; r < ranks->ranks && result == STATUS_OK; r++) result = take_in(s, all + (size_t)r * count);
    free(all);
    return comm_agree(ranks, result);
}
