/* Generating: the same forward pass over some new tokens of some sequences, with what earlier tokens left behind. */
#include "base/memory.h"
#include "nn/pass_state.h"
#include <stdlib.h>
#include <string.h>

/* Everything of a token is a row of its own in each of these. */
struct kv_cache {
    const model *m;
    int64_t sequences, capacity;
    cache_type type;
    int64_t *lengths; /* [sequences] */
    stem_cache stem;
    int count; /* passes of the forward path */
    pass_cache *passes;
};

/* ---- the rows ---- */

/* Every array of the cache and the bytes of its rows; calls visit(…, array, bytes). */
typedef void (*cache_visitor)(void *context, void **rows, size_t bytes);
static void visit_rows(kv_cache *c, cache_visitor visit, void *context) {
    const model_parts *s = c->m->parts;
    const dtype act = c->m->k->act;
    if (c->m->config.stem.smear) visit(context, &c->stem.smear, (size_t)c->m->config.model_dim * dtype_bytes(act));
    for (int i = 0; i < c->count; i++) {
        const layer_plan *plan = &s->blocks[s->path.layer[i]].plan;
        attention_cache *a = &c->passes[i].attention;
        const size_t row = cache_row_bytes(c->type, act, plan->attention.kv_heads, plan->attention.head_dim);
        a->type = c->type;
        visit(context, &a->k, row);
        visit(context, &a->v, row);
        if (plan->smear_width > 0) visit(context, &c->passes[i].smear, (size_t)plan->smear_width * dtype_bytes(act));
    }
}

typedef struct creation {
    const kv_cache *c;
    status s;
} creation;

static void create_rows(void *context, void **rows, size_t bytes) {
    creation *made = context;
    const size_t count = (size_t)(made->c->sequences * made->c->capacity);
    if (made->s == STATUS_OK) made->s = made->c->m->k->alloc_sparse(rows, count * bytes);
}

static void release_rows(void *context, void **rows, size_t bytes) {
    const kv_cache *c = context;
    (void)bytes;
    c->m->k->release(*rows);
}

status kv_cache_create(kv_cache **out, const model *m, int64_t sequences, int64_t capacity) {
    const int passes = m->parts->path.length;
    kv_cache *c = xcalloc(1, sizeof *c);
    *c = (kv_cache){.m = m, .sequences = sequences, .capacity = capacity, .count = passes};
    /* of activations in bf16 that is the same, and copied as it is */
    c->type = m->cache == CACHE_BF16 && m->k->act == DTYPE_BF16 ? CACHE_ACT : m->cache;
    c->lengths = xcalloc((size_t)sequences, sizeof *c->lengths);
    c->passes = xcalloc((size_t)passes, sizeof *c->passes);
    c->stem.ids = xmalloc((size_t)(sequences * capacity) * sizeof *c->stem.ids);
    creation made = {c, STATUS_OK};
    visit_rows(c, create_rows, &made);
    if (made.s == STATUS_OK)
        *out = c;
    else
        kv_cache_destroy(c);
    return made.s;
}

void kv_cache_destroy(kv_cache *c) {
    if (!c) return;
    visit_rows(c, release_rows, c);
    free(c->stem.ids);
    free(c->passes);
    free(c->lengths);
    free(c);
}

int64_t kv_cache_capacity(const kv_cache *c) {
    return c->capacity;
}

int64_t kv_cache_length(const kv_cache *c, int64_t sequence) {
    return c->lengths[sequence];
}

const int32_t *kv_cache_tokens(const kv_cache *c, int64_t sequence) {
    return c->stem.ids + sequence * c->capacity;
}

void kv_cache_cut(kv_cache *c, int64_t sequence, int64_t length) {
    c->lengths[sequence] = length;
}

typedef struct copying {
    const kv_cache *c;
    int64_t to, from, length;
} copying;

static void copy_rows(void *context, void **rows, size_t bytes) {
    const copying *a = context;
    const size_t sequence = (size_t)a->c->capacity * bytes;
    a->c->m->k->copy((char *)*rows + (size_t)a->to * sequence, (const char *)*rows + (size_t)a->from * sequence,
                     (size_t)a->length * bytes);
}

void kv_cache_copy(kv_cache *c, int64_t to, int64_t from, int64_t length) {
    if (to != from) {
        copying a = {c, to, from, length};
        visit_rows(c, copy_rows, &a);
        memcpy(c->stem.ids + to * c->capacity, c->stem.ids + from * c->capacity, (size_t)length * sizeof *c->stem.ids);
    }
    c->lengths[to] = length;
}

static void add_bytes(void *context, void **rows, size_t bytes) {
    (void)rows;
    *(size_t *)context += bytes;
}

int64_t kv_cache_token_bytes(const kv_cache *c) {
    size_t bytes = sizeof *c->stem.ids;
    visit_rows((kv_cache *)c, add_bytes, &bytes);
    return (int64_t)bytes;
}

/* ---- decoding ---- */

/* What the spans say, in the arrays that a pass takes; host memory of one allocation. */
typedef struct span_input {
    int64_t *starts, *sequences, *lengths; /* [spans + 1], [spans], [spans] */
    const expert_control **experts;        /* [spans] */
    bool *one_by_one;                      /* [spans] */
    layout_past past;
    int64_t longest, wanted; /* tokens of a span; rows of logits */
    bool even;               /* all spans have as many tokens */
} span_input;

static void take_spans(span_input *in, const kv_cache *c, const decode_span *spans, int64_t count) {
    in->starts = xmalloc((size_t)(3 * count + 1) * sizeof *in->starts);
    in->sequences = in->starts + count + 1;
    in->lengths = in->sequences + count;
    in->experts = xmalloc((size_t)count * sizeof *in->experts);
    in->one_by_one = xmalloc((size_t)count * sizeof *in->one_by_one);
    in->starts[0] = 0;
    in->even = true;
    for (int64_t i = 0; i < count; i++) {
        in->starts[i + 1] = in->starts[i] + spans[i].count;
        in->sequences[i] = spans[i].sequence;
        in->lengths[i] = c->lengths[spans[i].sequence];
        in->experts[i] = spans[i].experts;
        in->one_by_one[i] = spans[i].one_by_one;
        in->longest = spans[i].count > in->longest ? spans[i].count : in->longest;
        in->wanted += spans[i].logits;
        in->even = in->even && spans[i].count == spans[0].count;
    }
    in->past = (layout_past){
        .capacity = c->capacity, .sequences = in->sequences, .lengths = in->lengths, .one_by_one = in->one_by_one};
}

static void free_spans(span_input *in) {
    free(in->starts);
    free(in->experts);
    free(in->one_by_one);
}

static status check_room(const kv_cache *c, const decode_span *spans, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (c->lengths[spans[i].sequence] + spans[i].count > c->capacity)
            return fail("the key/value cache holds %lld tokens: %lld more do not fit behind %lld",
                        (long long)c->capacity, (long long)spans[i].count, (long long)c->lengths[spans[i].sequence]);
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
        memcpy(c->stem.ids + spans[i].sequence * c->capacity + in->lengths[i], ids + in->starts[i],
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
    TRY(check_room(c, spans, span_count));
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
