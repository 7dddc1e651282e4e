/* Generating: the same forward pass over some new tokens of some sequences, with what earlier tokens left behind. */
#include "base/memory.h"
#include "nn/pass_state.h"
#include <stdlib.h>
#include <string.h>

/* What the spans say, in the arrays that a pass takes; host memory. */
typedef struct span_input {
    int64_t *starts, *lengths;      /* [spans + 1], [spans] */
    cache_table *tables;            /* [spans] */
    const int32_t **earlier;        /* [spans] */
    const expert_control **experts; /* [spans] */
    bool *one_by_one;               /* [spans] */
    layout_past past;
    int64_t longest, wanted; /* tokens of a span; rows of logits */
    bool even;               /* all spans have as many tokens */
} span_input;

static void take_spans(span_input *in, const kv_cache *c, const decode_span *spans, int64_t count) {
    in->starts = xmalloc((size_t)(2 * count + 1) * sizeof *in->starts);
    in->lengths = in->starts + count + 1;
    in->tables = xmalloc((size_t)count * sizeof *in->tables);
    in->earlier = xmalloc((size_t)count * sizeof *in->earlier);
    in->experts = xmalloc((size_t)count * sizeof *in->experts);
    in->one_by_one = xmalloc((size_t)count * sizeof *in->one_by_one);
    in->starts[0] = 0;
    in->even = true;
    for (int64_t i = 0; i < count; i++) {
        in->starts[i + 1] = in->starts[i] + spans[i].count;
        in->tables[i] = kv_cache_table(c, spans[i].sequence);
        in->earlier[i] = kv_cache_tokens(c, spans[i].sequence);
        in->lengths[i] = c->lengths[spans[i].sequence];
        in->experts[i] = spans[i].experts;
        in->one_by_one[i] = spans[i].one_by_one;
        in->longest = spans[i].count > in->longest ? spans[i].count : in->longest;
        in->wanted += spans[i].logits;
        in->even = in->even && spans[i].count == spans[0].count;
    }
    in->past = (layout_past){.tables = in->tables, .lengths = in->lengths, .one_by_one = in->one_by_one};
}

static void free_spans(span_input *in) {
    free(in->starts);
    free(in->tables);
    free(in->earlier);
    free(in->experts);
    free(in->one_by_one);
}

/* Within the capacity, and in blocks of its own. */
static status make_room(kv_cache *c, const decode_span *spans, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (c->lengths[spans[i].sequence] + spans[i].count > c->capacity)
            return fail("the key/value cache holds %lld tokens: %lld more do not fit behind %lld",
                        (long long)c->capacity, (long long)spans[i].count, (long long)c->lengths[spans[i].sequence]);
        if (!kv_cache_reserve(c, spans[i].sequence, spans[i].count))
            return fail("the key/value cache: expected %lld free blocks of %lld tokens, found %lld",
                        (long long)kv_cache_missing(c, spans[i].sequence, spans[i].count), (long long)c->block,
                        (long long)c->free);
    }
    return STATUS_OK;
}

/* Rows of x [N, d] whose logits are wanted, [wanted, d]. */
static var *wanted_rows(pass *p, const var *x, const decode_span *spans, int64_t count, const span_input *in) {
    const int64_t d = tensor_cols(&x->value);
    const size_t row = (size_t)d * dtype_bytes(p->m->k->act);
    var *y = tape_var(p->tape, 2, (int64_t[]){in->wanted, d});
    char *to = y ? y->value.data : NULL;
    for (int64_t i = 0; to && i < count; i++) {
        const char *end = (const char *)x->value.data + (size_t)in->starts[i + 1] * row;
        p->m->k->copy(to, end - (size_t)spans[i].logits * row, (size_t)spans[i].logits * row);
        to += (size_t)spans[i].logits * row;
    }
    return y;
}

/* The tokens are there from now on. */
static void lengthen(kv_cache *c, const decode_span *spans, int64_t count, const span_input *in, const int32_t *ids) {
    for (int64_t i = 0; i < count; i++) {
        memcpy(c->ids + spans[i].sequence * c->capacity + in->lengths[i], ids + in->starts[i],
               (size_t)spans[i].count * sizeof *ids);
        c->lengths[spans[i].sequence] += spans[i].count;
    }
}

static status run_spans(pass *p, kv_cache *c, const decode_span *spans, int64_t count, const span_input *s,
                        const int32_t *ids, float *logits) {
    const pass_input in = {.batch = count,
                           .length = s->longest,
                           .starts = s->even ? NULL : s->starts,
                           .ids = ids,
                           .past = &s->past,
                           .earlier = s->earlier,
                           .stem = &c->stem,
                           .passes = c->passes,
                           .experts = s->experts,
                           .loss_weight = 1,
                           .until_layer = -1};
    pass_begin(p, false, false);
    var *x = pass_forward(p, &in);
    TRY(tape_status(p->tape));
    if (s->wanted > 0)
        TRY(op_logits(p->tape, wanted_rows(p, x, spans, count, s), &p->m->parts->head, p->m->config.head.softcap,
                      logits));
    lengthen(c, spans, count, s, ids);
    return STATUS_OK;
}

status pass_decode_spans(pass *p, kv_cache *c, const decode_span *spans, int64_t span_count, const int32_t *ids,
                         float *logits) {
    span_input in = {0};
    TRY(make_room(c, spans, span_count));
    take_spans(&in, c, spans, span_count);
    const status s = run_spans(p, c, spans, span_count, &in, ids, logits);
    free_spans(&in);
    return s;
}

status pass_decode(pass *p, kv_cache *c, const int32_t *ids, int64_t count, float *logits) {
    decode_span *spans = xmalloc((size_t)c->sequences * sizeof *spans);
    for (int64_t b = 0; b < c->sequences; b++) spans[b] = (decode_span){.sequence = b, .count = count, .logits = 1};
    const status s = pass_decode_spans(p, c, spans, c->sequences, ids, logits);
    free(spans);
    return s;
}
